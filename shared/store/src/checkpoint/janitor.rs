//! The task that keeps a log short: it writes checkpoints, purges behind them, and lets events age out of a log that
//! nobody writes to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::{Class, Revision};

use crate::history::Batch;
use crate::item::{Change, Item};
use crate::log::{ChunkName, Log, LogError, Stream};
use crate::metrics;
use crate::ordered::Slice;
use crate::partition::Shared;
use crate::txn::{Frame, class_of};

use super::form::{ClassEntry, Manifest, Part};

/// How often the log's length is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// A log shorter than this, or than the objects themselves, is not worth a checkpoint: a reader goes through this much in
/// a fraction of a second, and through a million operations in a few.
const SHORT_BYTES: u64 = 64 << 20;
const SHORT_MESSAGES: u64 = 50_000;

/// Bytes of values in one chunk, and the part of a message's limit that this may be at most: a larger chunk would not
/// be faster, and one that does not get smaller by compression must fit too.
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_PART: usize = 4;

/// Times in one chunk: about a megabyte.
const TIMES: usize = 100_000;

/// History that goes along, in changes and bytes: some minutes of a small cluster, a moment of a large one.
const HISTORY_CHANGES: usize = 20_000;
const HISTORY_BYTES: usize = 16 << 20;

/// How often a log in which something is too old gets a tick.
const TICK_EVERY: u64 = 10;

/// Keeps one stream's log short.
pub(crate) struct Janitor {
    partition: Shared,
    log: Arc<dyn Log>,
    /// Its name as a writer of ticks, and the source of checkpoint names.
    writer: u64,
    ticks: u64,
    /// Part of the threshold that this one adds, in 1/256: with it, one of several janitors is first.
    patience: u64,
}

/// The state of one moment, read without the lock.
struct Moment {
    items: Slice,
    history: Vec<Arc<Batch>>,
    floor: Revision,
    writers: Vec<(Class, u64, u64, u64)>,
    times: Vec<(u64, u64)>,
    newest: BTreeMap<Class, u64>,
    sequence: u64,
    time: u64,
}

/// Writes the chunks of one class.
struct Chunks<'a> {
    log: &'a dyn Log,
    /// Bytes of values that fit into one.
    limit: usize,
    next: ChunkName,
    /// Objects for the next one, and their bytes.
    items: Vec<Item>,
    bytes: usize,
    /// Memory for one before it is compressed.
    plain: Vec<u8>,
}

// === impl Janitor ===

impl Janitor {
    /// `seed` is a random number.
    pub fn new(partition: Shared, log: Arc<dyn Log>, seed: u64) -> Self {
        Janitor { partition, log, writer: seed, ticks: 0, patience: seed % 64 }
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        let mut looked_at = 0;
        for round in 0_u64.. {
            tokio::time::sleep(PERIOD).await;
            if round.is_multiple_of(TICK_EVERY) {
                self.tick().await;
            }
            let passed = self.partition.passed_bytes();
            if passed - looked_at < SHORT_BYTES / 16 && !round.is_multiple_of(60) {
                continue;
            }
            looked_at = passed;
            if let Err(error) = self.look().await {
                tracing::warn!(stream = self.partition.stream.name(), %error, "no checkpoint");
            }
        }
    }

    /// Writes a checkpoint if the log has become long.
    async fn look(&self) -> Result<(), LogError> {
        let bounds = self.log.bounds(self.partition.stream).await?;
        metrics::LOG_BYTES.with_label_values(&[self.partition.stream.name()]).set(bounds.bytes as i64);
        let live = self.partition.read().state.bytes;
        let long = |limit: u64| limit + limit * self.patience / 256;
        let messages = (bounds.last + 1).saturating_sub(bounds.first);
        if bounds.bytes >= long(SHORT_BYTES.max(live)) || messages >= long(SHORT_MESSAGES) {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// Writes a checkpoint and purges the log behind it, unless somebody else is ahead.
    pub(crate) async fn checkpoint(&self) -> Result<(), LogError> {
        let stream = self.partition.stream;
        let pointer = self.log.pointer(stream).await?;
        let moment = self.moment();
        let older = match &pointer {
            None => true,
            Some(pointer) => {
                Manifest::decode(&pointer.value).map_err(LogError::Refused)?.sequence < moment.sequence
            }
        };
        let sequence = moment.sequence;
        if older {
            let _timer = metrics::CHECKPOINT_SECONDS.start_timer();
            self.write(moment, pointer.map_or(0, |pointer| pointer.version)).await?;
        }
        // Also behind somebody else's, who may have come no further.
        self.log.purge(stream, self.partition.keep_from(sequence)).await
    }

    async fn write(&self, moment: Moment, replaces: u64) -> Result<(), LogError> {
        let stream = self.partition.stream;
        // Sequences only grow, so one writer never uses a name twice.
        let checkpoint = self.writer ^ moment.sequence;
        let name = |class| ChunkName { stream, checkpoint, class, index: 0 };
        let (sequence, time) = (moment.sequence, moment.time);
        let written = self.write_chunks(moment, name).await;
        let pointed = match written {
            Ok((floor, classes)) => {
                let manifest = Manifest::new(checkpoint, sequence, time, floor, classes);
                self.log.point(stream, manifest.encode(), replaces).await
            }
            Err(error) => Err(error),
        };
        // A pointer whose acknowledgement was lost may be in force: its chunks must stay.
        match pointed {
            Ok(()) => self.log.drop_chunks(name(stream.classes()[0]), false).await,
            Err(LogError::Unreachable(why)) => Err(LogError::Unreachable(why)),
            Err(error) => {
                self.log.drop_chunks(name(stream.classes()[0]), true).await?;
                Err(error)
            }
        }
    }

    /// Returns the floor of the history that went along, and what was written of each class.
    async fn write_chunks(
        &self,
        moment: Moment,
        name: impl Fn(Class) -> ChunkName,
    ) -> Result<(Revision, Vec<ClassEntry>), LogError> {
        let limit = CHUNK_BYTES.min(self.log.max_message() / CHUNK_PART);
        let chunks = |class: &Class| Chunks {
            log: &*self.log,
            limit,
            next: name(*class),
            items: Vec::new(),
            bytes: 0,
            plain: Vec::new(),
        };
        let mut chunks: Vec<Chunks<'_>> = self.partition.stream.classes().iter().map(chunks).collect();
        let (floor, changes) = moment.changes();
        for chunks in &mut chunks {
            for part in moment.head(chunks.next.class, &changes, limit) {
                chunks.write(part).await?;
            }
        }
        drop((changes, moment.history));
        // What was replaced since is kept only by this moment: it goes as soon as it is written.
        for leaf in moment.items.into_leaves() {
            for item in leaf {
                let class = class_of(&item.key);
                if let Some(chunks) = chunks.iter_mut().find(|chunks| chunks.next.class == class) {
                    chunks.add(item).await?;
                }
            }
        }
        for chunks in &mut chunks {
            chunks.flush().await?;
        }
        let entry = |chunks: &Chunks<'_>| {
            let ChunkName { class, index, .. } = chunks.next;
            ClassEntry { class, chunks: index, newest: moment.newest.get(&class).copied().unwrap_or(0) }
        };
        Ok((floor, chunks.iter().map(entry).collect()))
    }

    fn moment(&self) -> Moment {
        let guarded = self.partition.read();
        let state = &guarded.state;
        let writers =
            state.writers.0.iter().map(|((class, id), seen)| (*class, *id, seen.number, seen.sequence));
        let mut times: Vec<(u64, u64)> = Vec::new();
        if let Some(ages) = &state.ages {
            times.extend(ages.queue.iter().map(|(time, _, revision)| (revision.sequence(), *time)));
            times.dedup();
        }
        Moment {
            items: state.items.slice("", None, usize::MAX).0,
            history: state.history.from(state.history.front(), usize::MAX).cloned().collect(),
            floor: state.history.floor(),
            writers: writers.collect(),
            times,
            newest: state.newest.clone(),
            sequence: state.reached,
            time: state.time,
        }
    }

    /// Appends an empty frame if something in the log is too old, which makes every reader drop it. In a log that is
    /// written to, this happens by itself.
    async fn tick(&mut self) {
        let due = {
            let guarded = self.partition.read();
            guarded.state.ages.as_ref().is_some_and(|ages| ages.due(self.log.now()))
        };
        if !due || self.partition.stream != Stream::Events {
            return;
        }
        self.ticks += 1;
        let id = format!("{:016x}-tick-{}", self.writer, self.ticks);
        let none: [&[u8]; 0] = [];
        let frame: Bytes =
            Frame::pack(&mut BytesMut::new(), self.writer, self.ticks, self.partition.reached(), &none);
        if let Err(error) = self.log.append(Class::Events, &id, frame).await {
            tracing::debug!(%error, "no tick, the next one will do");
        }
    }
}

/// The changes that go into the next chunk, if any is left.
fn take<'a>(
    from: &mut std::iter::Peekable<impl Iterator<Item = &'a Change>>,
    limit: usize,
) -> Option<Vec<Change>> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    while let Some(next) = from.next_if(|next| taken.is_empty() || bytes + size(next) <= limit) {
        bytes += size(next);
        taken.push(next.clone());
    }
    (!taken.is_empty()).then_some(taken)
}

// === impl Moment ===

impl Moment {
    /// What the chunks of one class hold before its objects.
    fn head<'a>(
        &'a self,
        class: Class,
        changes: &'a [Change],
        limit: usize,
    ) -> Box<dyn Iterator<Item = Part> + Send + 'a> {
        let writers = self.writers.iter().filter(|writer| writer.0 == class);
        let writers = Part::Writers(writers.map(|writer| (writer.1, writer.2, writer.3)).collect());
        let times = self.times.chunks(TIMES).map(|times| Part::Times(times.to_vec()));
        let mut changes = changes.iter().filter(move |change| class_of(change.key()) == class).peekable();
        let changes = std::iter::from_fn(move || take(&mut changes, limit).map(Part::Changes));
        Box::new(std::iter::once(writers).chain(times).chain(changes))
    }

    /// The newest changes within the bounds, and the revision after which none is missing.
    fn changes(&self) -> (Revision, Vec<Change>) {
        let (mut count, mut bytes) = (0, 0);
        let mut floor = self.floor;
        let mut first = self.history.len();
        for batch in self.history.iter().rev() {
            count += batch.changes.len();
            bytes += batch.changes.iter().map(size).sum::<usize>();
            if count > HISTORY_CHANGES || bytes > HISTORY_BYTES {
                floor = Revision::end_of(batch.sequence);
                break;
            }
            first -= 1;
        }
        (floor, self.history[first..].iter().flat_map(|batch| batch.changes.iter().cloned()).collect())
    }
}

fn size(change: &Change) -> usize {
    let now = match change {
        Change::Put { item, .. } => item.value.len(),
        Change::Delete { .. } => 0,
    };
    now + change.previous().map_or(0, |previous| previous.value.len())
}

// === impl Chunks ===

impl Chunks<'_> {
    async fn add(&mut self, item: Item) -> Result<(), LogError> {
        if self.bytes + item.value.len() > self.limit {
            self.flush().await?;
        }
        self.bytes += item.value.len();
        self.items.push(item);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), LogError> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        self.write(Part::Items(items)).await
    }

    async fn write(&mut self, part: Part) -> Result<(), LogError> {
        let mut plain = std::mem::take(&mut self.plain);
        let encoding = super::aside(move || (part.encode(&mut plain), plain));
        let (chunk, plain) = encoding.await.expect("encoding does not panic");
        self.plain = plain;
        self.log.write_chunk(self.next, chunk).await?;
        self.next.index += 1;
        Ok(())
    }
}
