//! A log in memory, with faults from a seed.
//!
//! Two stores opened on clones of one log are two processes on one bus. Time is tokio's, so a paused clock makes every
//! delay free and, with one seed, every run the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Class;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log::{Bounds, ChunkName, Chunks, Ends, Entry, Log, LogError, Pointer, Stream, Tail};

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Longest time that anything takes; the time is drawn evenly from zero to this.
    pub delay: Duration,
    /// Chance that an append is carried out but its acknowledgement is lost.
    pub lost_ack: f64,
    /// Chance that an append does not arrive, and no acknowledgement comes.
    pub lost_append: f64,
    /// Chance that an append arrives a second time, up to [`Faults::late`] later, past the log's own recognition of
    /// duplicates.
    pub duplicate: f64,
    /// How late a duplicate may come.
    pub late: Duration,
    /// Chance, for each message handed to a reader, that its tail breaks instead.
    pub broken_tail: f64,
    /// Chance that any other request is not answered.
    pub lost_request: f64,
}

/// A way to the log, with faults of its own. Clones are the same way.
#[derive(Clone)]
pub struct MemoryLog {
    log: Arc<Shared>,
    faults: Arc<Mutex<Faults>>,
}

struct Shared {
    started: Instant,
    kept: Mutex<Kept>,
    /// Counts what readers may have to look at: appends, and crashes.
    news: watch::Sender<News>,
}

#[derive(Clone, Copy, Default)]
struct News {
    appends: u64,
    crashes: u64,
    down: bool,
}

struct Kept {
    random: StdRng,
    streams: BTreeMap<Stream, Messages>,
    chunks: BTreeMap<ChunkName, (u64, Bytes)>,
    pointers: HashMap<Stream, Pointer>,
    writes: u64,
}

struct Messages {
    /// Sequence of the first message that is kept.
    first: u64,
    entries: Vec<Entry>,
    ids: HashMap<String, u64>,
}

struct MemoryTail {
    way: MemoryLog,
    stream: Stream,
    classes: Vec<Class>,
    next: u64,
    crashes: u64,
}

struct MemoryChunks {
    way: MemoryLog,
    next: ChunkName,
}

/// The log's clock starts here, in milliseconds since 1970: the first of January 2024.
pub const EPOCH: u64 = 1_704_067_200_000;

/// Time after which an append without acknowledgement is given up.
const ACK_WAIT: Duration = Duration::from_secs(2);

// === impl MemoryLog ===

impl MemoryLog {
    /// An empty log.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::starting_at(seed, faults, 1)
    }

    /// An empty log whose first message will get this sequence.
    pub fn starting_at(seed: u64, faults: Faults, first: u64) -> Self {
        let messages = || Messages { first, entries: Vec::new(), ids: HashMap::new() };
        let streams = [(Stream::State, messages()), (Stream::Events, messages())];
        let log = Arc::new(Shared {
            started: Instant::now(),
            kept: Mutex::new(Kept {
                random: StdRng::seed_from_u64(seed),
                streams: streams.into(),
                chunks: BTreeMap::new(),
                pointers: HashMap::new(),
                writes: 0,
            }),
            news: watch::Sender::new(News::default()),
        });
        MemoryLog { log, faults: Arc::new(Mutex::new(faults)) }
    }

    /// Another way to the same log: another process's.
    pub fn with_faults(&self, faults: Faults) -> Self {
        MemoryLog { log: self.log.clone(), faults: Arc::new(Mutex::new(faults)) }
    }

    /// From now on, these faults on this way.
    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// The log goes away: nothing is answered and every tail breaks. What it holds stays.
    pub fn crash(&self) {
        self.log.news.send_modify(|news| {
            news.crashes += 1;
            news.down = true;
        });
    }

    /// The log is back.
    pub fn restart(&self) {
        self.log.news.send_modify(|news| news.down = false);
    }

    /// Appends bytes as they are, without faults.
    pub fn append_raw(&self, class: Class, payload: Bytes) -> u64 {
        self.log.store(class, None, payload)
    }

    fn faults(&self) -> Faults {
        *self.faults.lock()
    }

    fn happens(&self, chance: f64) -> bool {
        chance > 0.0 && self.log.kept.lock().random.random_bool(chance)
    }

    async fn take_time(&self) {
        self.wait_up_to(self.faults().delay).await;
    }

    async fn wait_up_to(&self, longest: Duration) {
        if !longest.is_zero() {
            let time = self.log.kept.lock().random.random_range(Duration::ZERO..=longest);
            tokio::time::sleep(time).await;
        }
    }

    /// A request that takes time and may fail.
    async fn request(&self) -> Result<(), LogError> {
        self.take_time().await;
        self.log.reachable()?;
        match self.happens(self.faults().lost_request) {
            true => Err(LogError::Unreachable("no answer".into())),
            false => Ok(()),
        }
    }

    async fn no_ack(&self) -> Result<u64, LogError> {
        tokio::time::sleep(ACK_WAIT).await;
        Err(LogError::Unreachable("no acknowledgement".into()))
    }

    fn store_again(&self, class: Class, payload: Bytes) {
        let way = self.clone();
        tokio::spawn(async move {
            way.wait_up_to(way.faults().late).await;
            way.log.store(class, None, payload);
        });
    }
}

impl Log for MemoryLog {
    fn append<'a>(
        &'a self,
        class: Class,
        id: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        async move {
            self.take_time().await;
            self.log.reachable()?;
            if self.happens(self.faults().lost_append) {
                return self.no_ack().await;
            }
            let sequence = self.log.store(class, Some(id), payload.clone());
            if self.happens(self.faults().duplicate) {
                self.store_again(class, payload);
            }
            if self.happens(self.faults().lost_ack) {
                return self.no_ack().await;
            }
            self.take_time().await;
            self.log.reachable()?;
            Ok(sequence)
        }
        .boxed()
    }

    fn read<'a>(&'a self, classes: &'a [Class], from: u64) -> BoxFuture<'a, Result<Box<dyn Tail>, LogError>> {
        async move {
            self.request().await?;
            let stream = stream_of(classes);
            let crashes = self.log.news.borrow().crashes;
            let (way, classes) = (self.clone(), classes.to_vec());
            Ok(Box::new(MemoryTail { way, stream, classes, next: from, crashes }) as Box<dyn Tail>)
        }
        .boxed()
    }

    fn bounds(&self, stream: Stream) -> BoxFuture<'_, Result<Bounds, LogError>> {
        async move {
            self.request().await?;
            Ok(self.log.kept.lock().streams[&stream].bounds())
        }
        .boxed()
    }

    fn ends<'a>(&'a self, classes: &'a [Class]) -> BoxFuture<'a, Result<Ends, LogError>> {
        async move {
            self.request().await?;
            let kept = self.log.kept.lock();
            let messages = &kept.streams[&stream_of(classes)];
            let newest = messages.entries.iter().rfind(|entry| classes.contains(&entry.class));
            Ok(Ends { stream: messages.bounds().last, classes: newest.map_or(0, |entry| entry.sequence) })
        }
        .boxed()
    }

    fn purge(&self, stream: Stream, before: u64) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.request().await?;
            let mut kept = self.log.kept.lock();
            let messages = kept.messages(stream);
            let count = before.saturating_sub(messages.first).min(messages.entries.len() as u64);
            messages.entries.drain(..count as usize);
            messages.first += count;
            Ok(())
        }
        .boxed()
    }

    fn pointer(&self, stream: Stream) -> BoxFuture<'_, Result<Option<Pointer>, LogError>> {
        async move {
            self.request().await?;
            Ok(self.log.kept.lock().pointers.get(&stream).cloned())
        }
        .boxed()
    }

    fn point(&self, stream: Stream, value: Bytes, replaces: u64) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.request().await?;
            {
                let mut kept = self.log.kept.lock();
                let version = kept.pointers.get(&stream).map_or(0, |pointer| pointer.version);
                if version != replaces {
                    return Err(LogError::Overtaken(format!("the pointer is at {version}, not {replaces}")));
                }
                kept.writes += 1;
                let version = kept.writes;
                kept.pointers.insert(stream, Pointer { value, version });
            }
            self.request().await
        }
        .boxed()
    }

    fn write_chunk(&self, name: ChunkName, chunk: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.request().await?;
            let mut kept = self.log.kept.lock();
            kept.writes += 1;
            let written = kept.writes;
            kept.chunks.insert(name, (written, chunk));
            Ok(())
        }
        .boxed()
    }

    fn read_chunks(&self, first: ChunkName, _count: u64) -> BoxFuture<'_, Result<Box<dyn Chunks>, LogError>> {
        async move {
            self.request().await?;
            Ok(Box::new(MemoryChunks { way: self.clone(), next: first }) as Box<dyn Chunks>)
        }
        .boxed()
    }

    fn drop_chunks(&self, newest: ChunkName, failed: bool) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.request().await?;
            let mut kept = self.log.kept.lock();
            let own = |name: &ChunkName| name.checkpoint == newest.checkpoint;
            let first =
                kept.chunks.iter().filter(|(name, _)| own(name)).map(|(_, (written, _))| *written).min();
            kept.chunks.retain(|name, (written, _)| {
                let older = first.is_some_and(|first| *written < first);
                name.stream != newest.stream || if failed { !own(name) } else { !older }
            });
            Ok(())
        }
        .boxed()
    }

    fn now(&self) -> u64 {
        self.log.now()
    }

    fn max_message(&self) -> usize {
        8 << 20
    }
}

/// The stream of some classes that are all of one.
fn stream_of(classes: &[Class]) -> Stream {
    classes.first().map_or(Stream::State, |class| Stream::of(*class))
}

// === impl Shared ===

impl Shared {
    fn now(&self) -> u64 {
        EPOCH + self.started.elapsed().as_millis() as u64
    }

    fn reachable(&self) -> Result<(), LogError> {
        match self.news.borrow().down {
            true => Err(LogError::Unreachable("the log is away".into())),
            false => Ok(()),
        }
    }

    fn store(&self, class: Class, id: Option<&str>, payload: Bytes) -> u64 {
        let time = self.now();
        let sequence = {
            let mut kept = self.kept.lock();
            let messages = kept.messages(Stream::of(class));
            if let Some(known) = id.and_then(|id| messages.ids.get(id)) {
                return *known;
            }
            let sequence = messages.bounds().last + 1;
            messages.entries.push(Entry { sequence, time, class, payload });
            if let Some(id) = id {
                messages.ids.insert(id.to_owned(), sequence);
            }
            sequence
        };
        self.news.send_modify(|news| news.appends += 1);
        sequence
    }
}

impl Kept {
    fn messages(&mut self, stream: Stream) -> &mut Messages {
        self.streams.get_mut(&stream).expect("both streams are made with the log")
    }
}

impl Messages {
    fn bounds(&self) -> Bounds {
        let last = self.first + self.entries.len() as u64 - 1;
        let bytes = self.entries.iter().map(|entry| entry.payload.len() as u64).sum();
        Bounds { first: self.first, last, bytes }
    }

    fn first_from(&self, from: u64, classes: &[Class]) -> Option<&Entry> {
        let skip = from.saturating_sub(self.first) as usize;
        self.entries.iter().skip(skip).find(|entry| classes.contains(&entry.class))
    }
}

// === impl MemoryTail ===

impl MemoryTail {
    fn intact(&self) -> Result<(), LogError> {
        match self.way.log.news.borrow().crashes == self.crashes {
            true => Ok(()),
            false => Err(LogError::Unreachable("the log went away".into())),
        }
    }

    /// The next message that is there; takes its place only when it is handed out.
    fn ready(&self) -> Result<Option<Entry>, LogError> {
        self.intact()?;
        let kept = self.way.log.kept.lock();
        let messages = &kept.streams[&self.stream];
        if self.next < messages.first {
            return Err(LogError::Unreachable("purged before it was read".into()));
        }
        Ok(messages.first_from(self.next, &self.classes).cloned())
    }
}

impl Tail for MemoryTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Entry, LogError>> {
        async move {
            let mut news = self.way.log.news.subscribe();
            loop {
                news.borrow_and_update();
                if self.ready()?.is_some() {
                    self.way.take_time().await;
                    let Some(entry) = self.ready()? else { continue };
                    if self.way.happens(self.way.faults().broken_tail) {
                        return Err(LogError::Unreachable("the tail broke".into()));
                    }
                    self.next = entry.sequence + 1;
                    return Ok(entry);
                }
                news.changed().await.expect("the sender lives as long as the log");
            }
        }
        .boxed()
    }
}

// === impl MemoryChunks ===

impl Chunks for MemoryChunks {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, LogError>> {
        async move {
            self.way.request().await?;
            let chunk = self.way.log.kept.lock().chunks.get(&self.next).map(|(_, chunk)| chunk.clone());
            let chunk = chunk.ok_or_else(|| LogError::Overtaken(format!("{:?} is gone", self.next)))?;
            self.next.index += 1;
            Ok(chunk)
        }
        .boxed()
    }
}
