//! The store as its users see it.

use std::sync::Arc;
use std::time::Duration;

use model::{Class, Key, Revision};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::barrier::Barrier;
use crate::checkpoint::Janitor;
use crate::committer::{Committer, Pending, Queued, most_ops};
use crate::feed::Feed;
use crate::history::{Batch, HistoryBounds};
use crate::item::{Health, Item, Listing, Page, Recalled, TooOld, Unavailable};
use crate::log::{Log, LogError, Stream};
use crate::metrics;
use crate::partition::{Partition, Shared};
use crate::txn::{Action, CommitError, Committed, Txn, class_of};
use crate::watch::Watch;

/// How long a caller waits for an outcome, a barrier or a revision: three elections of a replicated stream (4 s each)
/// fit in, and a client that speaks HTTP has not given up yet.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long the bus must be away until callers are turned away at once: a restart of the server (0.4 s) or a
/// reconnect is waited out, an outage is not.
const OUTAGE: Duration = Duration::from_secs(3);

/// Transactions that may wait to be packed, per class. Four messages' worth: more waiting would only be latency.
const QUEUE: usize = 4096;

/// The largest object, as the API documents it.
const MAX_VALUE: usize = 3 << 20;

/// Room in a message for the frame around one transaction.
const FRAME_ROOM: usize = 1024;

/// What a store follows and keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The classes to follow. What is not followed can be neither read nor written.
    pub classes: Vec<Class>,
    /// How far back watches and the pages of a list can go.
    pub history: HistoryBounds,
    /// Whether this store keeps the log short: writes checkpoints, purges, and lets events age out. API servers do.
    pub checkpoints: bool,
    /// How long an event stays. Must be the same for all stores of a log.
    pub event_age: Duration,
}

/// The log cannot be followed by this version, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot follow the log: {0}")]
pub struct OpenError(pub String);

/// Every object of the followed classes, in memory, as the log has it; and the way to write.
///
/// Cloning is cheap. The tasks behind it end with the last clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    state: Option<Lane>,
    events: Option<Lane>,
    health: watch::Receiver<Health>,
    log: Arc<dyn Log>,
    /// Aborted when the store is dropped.
    _tasks: JoinSet<()>,
}

/// One stream: its state, and the ways into it.
struct Lane {
    partition: Shared,
    barrier: Barrier,
    queues: Vec<(Class, mpsc::Sender<Queued>)>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Options {
            classes: Class::STATE.into_iter().chain([Class::Events]).collect(),
            history: HistoryBounds::default(),
            checkpoints: false,
            event_age: Duration::from_secs(3600),
        }
    }
}

// === impl Store ===

impl Store {
    /// Reads the newest checkpoint and the log, and returns when the state is as new as the log was when asked.
    ///
    /// Waits as long as the log cannot be reached; fails only when waiting will not help.
    pub async fn open(log: impl Log, options: Options) -> Result<Store, OpenError> {
        metrics::register();
        let log: Arc<dyn Log> = Arc::new(log);
        let mut tasks = JoinSet::new();
        let pending = Arc::new(Pending::new(rand::random()));
        let mut lane = |stream| Lane::start(stream, &log, &options, &pending, &mut tasks);
        let (state, events) = (lane(Stream::State), lane(Stream::Events));
        let partitions: Vec<Shared> =
            [&state, &events].into_iter().flatten().map(|lane| lane.partition.clone()).collect();
        let (sender, health) = watch::channel(Health::Starting("not read yet".into()));
        tasks.spawn(sum_up_health(partitions, sender));
        let inner = Inner { state, events, health, log, _tasks: tasks };
        let store = Store(Arc::new(inner));
        let mut health = store.health();
        let settled = health.wait_for(|health| matches!(health, Health::Ready | Health::Stopped(_))).await;
        match settled.map(|health| health.clone()) {
            Ok(Health::Stopped(why)) => Err(OpenError(why)),
            Ok(_) => Ok(store),
            Err(_) => Err(OpenError("no class is followed".into())),
        }
    }

    /// The object, as new as [`Store::revision`].
    pub fn get(&self, key: &Key) -> Option<Item> {
        let lane = self.lane(Stream::of(class_of(key)))?;
        lane.partition.read().state.items.get(key.as_str()).cloned()
    }

    /// Every object whose key begins with `prefix` (see [`Key::prefix`]), at one revision.
    pub fn list(&self, prefix: &str) -> Listing {
        let page = self.page(prefix, None, usize::MAX);
        Listing { items: page.items, revision: page.revision }
    }

    /// The first `limit` objects under `prefix` whose key comes after `after`, at the newest revision.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let Some(lane) = self.lane(Stream::of_prefix(prefix)) else { return Page::default() };
        let snapshot = lane.partition.read().state.snapshot(prefix, after, limit);
        snapshot.page(prefix, after, limit)
    }

    /// Like [`Store::page`] as it was at revision `at`, so that the pages of one list agree. A revision that the state
    /// has not reached counts as the newest; wait for it first.
    pub fn page_at(
        &self,
        at: Revision,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, TooOld> {
        let Some(lane) = self.lane(Stream::of_prefix(prefix)) else { return Ok(Page::default()) };
        let snapshot = lane.partition.read().state.snapshot_at(at, prefix, after)?;
        Ok(snapshot.page(prefix, after, limit))
    }

    /// The newest revision that is applied, of all objects but events.
    pub fn revision(&self) -> Revision {
        self.lane(Stream::State).map_or(Revision::ZERO, |lane| lane.partition.revision())
    }

    /// The newest revision that is applied, in the order in which the objects under `prefix` are written: events have
    /// an order of their own.
    pub fn revision_of(&self, prefix: &str) -> Revision {
        self.lane(Stream::of_prefix(prefix)).map_or(Revision::ZERO, |lane| lane.partition.revision())
    }

    /// Waits until the state holds every write that was acknowledged before the call, by whomever: a read after it is
    /// linearizable. Covers all objects but events, for which [`Store::barrier_of`] is.
    pub async fn barrier(&self) -> Result<Revision, Unavailable> {
        self.barrier_of("").await
    }

    /// [`Store::barrier`] for the objects under `prefix`.
    pub async fn barrier_of(&self, prefix: &str) -> Result<Revision, Unavailable> {
        let Some(lane) = self.lane(Stream::of_prefix(prefix)) else { return Ok(Revision::ZERO) };
        lane.patiently(lane.barrier.wait(&lane.partition)).await?.map(Revision::end_of)
    }

    /// Waits until the state has reached `revision`, of all objects but events.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), Unavailable> {
        self.wait_for_of("", revision).await
    }

    /// [`Store::wait_for`] for a revision of the objects under `prefix`.
    pub async fn wait_for_of(&self, prefix: &str, revision: Revision) -> Result<(), Unavailable> {
        match self.lane(Stream::of_prefix(prefix)) {
            Some(lane) => lane.patiently(lane.partition.wait_reached(revision.sequence())).await,
            None => Ok(()),
        }
    }

    /// Writes, and returns what the order of the log made of it. When it returns, this store's state shows it.
    pub async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let class = txn.class().map_err(CommitError::Invalid)?;
        let lane = self.lane(Stream::of(class));
        let queue = lane.and_then(|lane| lane.queues.iter().find(|(other, _)| *other == class));
        let (Some(lane), Some((_, queue))) = (lane, queue) else {
            return Err(CommitError::Invalid(format!("class {} is not followed", class.token())));
        };
        let encoded = self.encode(&txn, class)?;
        let _timer = metrics::COMMIT_SECONDS.start_timer();
        let (waiter, outcome) = oneshot::channel();
        let queued = Queued { encoded, ops: txn.ops.len(), waiter };
        let committed = lane.patiently(async {
            match queue.send(queued).await {
                Ok(()) => outcome.await.ok(),
                Err(_) => None,
            }
        });
        match committed.await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(CommitError::Unavailable("the store is closed".into())),
            Err(Unavailable(why)) => Err(CommitError::Unavailable(why)),
        }
    }

    /// Changes under `prefix` after revision `from`.
    pub fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, TooOld> {
        match self.lane(Stream::of_prefix(prefix)) {
            Some(lane) => Watch::start(lane.partition.clone(), prefix, from),
            // Nothing under the prefix is followed, so nothing of it is known at any revision.
            None => Err(TooOld { oldest: Revision::ZERO }),
        }
    }

    /// Every change of these objects that the history still holds, in the order of the log, and the revision after
    /// which none is missing. Events have an order of their own, so they cannot be asked for together with others.
    pub fn recall(&self, keys: &[Key]) -> (Vec<Recalled>, Revision) {
        let lane = keys.first().and_then(|first| self.lane(Stream::of(class_of(first))));
        let Some(lane) = lane else { return (Vec::new(), Revision::ZERO) };
        let (batches, floor) = {
            let guarded = lane.partition.read();
            let history = &guarded.state.history;
            (history.from(history.front(), usize::MAX).cloned().collect::<Vec<_>>(), history.floor())
        };
        let of_batch = |batch: &Batch| -> Vec<Recalled> {
            let time = Some(batch.time).filter(|time| *time > 0);
            let wanted = batch.traced().filter(|(change, _)| keys.contains(change.key()));
            wanted.map(|(change, trace)| Recalled { change: change.clone(), time, trace }).collect()
        };
        (batches.iter().flat_map(|batch| of_batch(batch)).collect(), floor)
    }

    /// Writes a checkpoint of everything now and purges the log behind it, whatever its length. Only a store that
    /// follows every class of a stream can.
    pub async fn checkpoint(&self) -> Result<(), Unavailable> {
        for lane in [&self.0.state, &self.0.events].into_iter().flatten() {
            if lane.partition.classes.len() == lane.partition.stream.classes().len() {
                let janitor = Janitor::new(lane.partition.clone(), self.0.log.clone(), rand::random());
                let mut written = janitor.checkpoint().await;
                while let Err(LogError::Overtaken(_)) = written {
                    // Another writer was quicker, but with an older state.
                    written = janitor.checkpoint().await;
                }
                written.map_err(|error| Unavailable(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Whether the store follows its log.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.health.clone()
    }

    fn lane(&self, stream: Stream) -> Option<&Lane> {
        match stream {
            Stream::State => self.0.state.as_ref(),
            Stream::Events => self.0.events.as_ref(),
        }
    }

    fn encode(&self, txn: &Txn, class: Class) -> Result<Vec<u8>, CommitError> {
        let (max_size, max_ops) = (self.0.log.max_message().saturating_sub(FRAME_ROOM), most_ops(class));
        let values = txn.ops.iter().map(|op| match &op.action {
            Action::Put(value) => value.len(),
            Action::Delete => 0,
        });
        let largest = values.max().unwrap_or(0);
        let too_large =
            |size, max_size| CommitError::TooLarge { size, ops: txn.ops.len(), max_size, max_ops };
        if largest > MAX_VALUE {
            return Err(too_large(largest, MAX_VALUE));
        }
        let encoded = txn.encode();
        match encoded.len() > max_size || txn.ops.len() > max_ops {
            true => Err(too_large(encoded.len(), max_size)),
            false => Ok(encoded),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for lane in [&self.state, &self.events].into_iter().flatten() {
            lane.partition.close();
        }
    }
}

// === impl Lane ===

impl Lane {
    /// Starts the tasks of one stream, if any of its classes is followed.
    fn start(
        stream: Stream,
        log: &Arc<dyn Log>,
        options: &Options,
        pending: &Arc<Pending>,
        tasks: &mut JoinSet<()>,
    ) -> Option<Lane> {
        let followed = |class: &&Class| options.classes.contains(class);
        let classes: Vec<Class> = stream.classes().iter().filter(followed).copied().collect();
        if classes.is_empty() {
            return None;
        }
        let age_limit = (stream == Stream::Events).then_some(options.event_age.as_millis() as u64);
        let partition = Arc::new(Partition::new(stream, classes.clone(), options.history, age_limit));
        let feed = Feed { partition: partition.clone(), log: log.clone(), pending: pending.clone() };
        tasks.spawn(feed.run());
        let mut queues = Vec::new();
        for class in &classes {
            let (sender, queue) = mpsc::channel(QUEUE);
            let (log, partition, pending) = (log.clone(), partition.clone(), pending.clone());
            tasks.spawn(Committer::new(*class, log, partition, pending, queue).run());
            queues.push((*class, sender));
        }
        if options.checkpoints && classes.len() == stream.classes().len() {
            tasks.spawn(Janitor::new(partition.clone(), log.clone(), rand::random()).run());
        }
        let barrier = Barrier::start(partition.clone(), log.clone(), tasks);
        Some(Lane { partition, barrier, queues })
    }

    /// Waits for `work`, but not for ever, and hardly at all while the bus is known to be away.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Result<T, Unavailable> {
        let mut health = self.partition.health();
        let outage = async {
            loop {
                let (current, since) = health.borrow_and_update().clone();
                let changed = health.changed();
                match current {
                    Health::Stopped(why) => break why,
                    Health::Disconnected(why) => tokio::select! {
                        biased;
                        _ = changed => {}
                        () = tokio::time::sleep_until(since + OUTAGE) => break why,
                    },
                    Health::Starting(_) | Health::Ready => {
                        if changed.await.is_err() {
                            break "the store is closed".into();
                        }
                    }
                }
            }
        };
        tokio::select! {
            biased;
            done = timeout(PATIENCE, work) => done.map_err(|_| Unavailable("no answer in time".into())),
            why = outage => Err(Unavailable(why)),
        }
    }
}

/// Keeps the sum of the streams' health: the worst of them.
async fn sum_up_health(partitions: Vec<Shared>, sum: watch::Sender<Health>) {
    let mut parts: Vec<watch::Receiver<(Health, Instant)>> = partitions.iter().map(|p| p.health()).collect();
    if parts.is_empty() {
        return;
    }
    loop {
        let current = parts.iter_mut().map(|part| part.borrow_and_update().0.clone());
        let worst = current.max_by_key(severity).expect("there is a partition");
        sum.send_if_modified(|sum| {
            let other = *sum != worst;
            *sum = worst;
            other
        });
        let changes = parts.iter_mut().map(|part| Box::pin(part.changed()));
        // The partitions are held here, so their senders live.
        let _ = futures::future::select_all(changes).await;
    }
}

fn severity(health: &Health) -> u8 {
    match health {
        Health::Ready => 0,
        Health::Starting(_) => 1,
        Health::Disconnected(_) => 2,
        Health::Stopped(_) => 3,
    }
}
