//! What the tasks and readers of one stream share: the state under its lock, and how far it has come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{Class, Revision};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::apply::{At, Verdict, apply};
use crate::history::HistoryBounds;
use crate::item::Health;
use crate::log::Stream;
use crate::metrics;
use crate::state::State;
use crate::topics::Topics;
use crate::txn::Frame;

/// One stream as this store sees it.
pub(crate) struct Partition {
    pub stream: Stream,
    /// The classes that are followed.
    pub classes: Vec<Class>,
    pub history: HistoryBounds,
    guarded: RwLock<Guarded>,
    /// Sequence that the state has reached.
    reached: watch::Sender<u64>,
    /// The sequences that somebody waits for the state to reach, and the largest of them.
    wishes: Mutex<BTreeMap<u64, usize>>,
    wanted: watch::Sender<u64>,
    health: watch::Sender<(Health, Instant)>,
    recent: Mutex<Recent>,
}

/// The newest messages' sizes: what a purge leaves, so that readers a little behind need not start again.
#[derive(Default)]
struct Recent {
    sizes: VecDeque<(u64, usize)>,
    bytes: usize,
    /// Bytes of all messages that ever passed.
    total: u64,
}

/// Messages and bytes that a purge leaves: a second or more at any rate measured.
const LEFT_MESSAGES: usize = 4096;
const LEFT_BYTES: usize = 16 << 20;

/// What the lock guards.
pub(crate) struct Guarded {
    pub state: State,
    pub topics: Topics,
    pub closed: bool,
}

/// Somebody who waits for a sequence. A client may wait for one that never comes: when it gives up, nobody must go on
/// asking the log for it.
struct Wish<'a> {
    partition: &'a Partition,
    sequence: u64,
}

// === impl Partition ===

impl Partition {
    pub fn new(stream: Stream, classes: Vec<Class>, history: HistoryBounds, age_limit: Option<u64>) -> Self {
        let state = State::new(history, age_limit);
        Partition {
            stream,
            classes,
            history,
            guarded: RwLock::new(Guarded { state, topics: Topics::default(), closed: false }),
            reached: watch::Sender::new(0),
            wishes: Mutex::default(),
            wanted: watch::Sender::new(0),
            health: watch::Sender::new((Health::Starting("not read yet".into()), Instant::now())),
            recent: Mutex::default(),
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Guarded> {
        self.guarded.read()
    }

    pub fn write<T>(&self, change: impl FnOnce(&mut Guarded) -> T) -> T {
        change(&mut self.guarded.write())
    }

    /// Applies a message and tells those who wait for it.
    pub fn apply(&self, at: At, frame: Option<Frame>) -> Verdict {
        let verdict = self.write(|guarded| {
            let Guarded { state, topics, .. } = guarded;
            let (before, end) = (state.items.len(), state.history.end());
            let verdict = apply(state, at, frame);
            for batch in state.history.from(end, usize::MAX) {
                topics.touch(&state.history, batch);
            }
            metrics::OBJECTS.add(state.items.len() as i64 - before as i64);
            verdict
        });
        self.show_reached(at.sequence);
        verdict
    }

    /// Takes note that no message up to `sequence` concerns this reader that it has not applied.
    pub fn skip_to(&self, sequence: u64) {
        if self.write(|guarded| {
            let further = sequence > guarded.state.reached;
            guarded.state.reached = guarded.state.reached.max(sequence);
            further
        }) {
            self.show_reached(sequence);
        }
    }

    /// Puts a state read from a checkpoint in the place of the old one. Every watch is cut off.
    pub fn replace(&self, build: impl FnOnce(u64) -> State) {
        let reached = self.write(|guarded| {
            let before = guarded.state.items.len();
            // One number is left out, so that a cursor at the end of the old history is before the front too.
            let front = guarded.state.history.end() + 1;
            guarded.state = build(front);
            guarded.topics.touch_all(front);
            metrics::OBJECTS.add(guarded.state.items.len() as i64 - before as i64);
            guarded.state.reached
        });
        self.show_reached(reached);
    }

    fn show_reached(&self, sequence: u64) {
        self.reached.send_replace(sequence);
        metrics::SEQUENCE.with_label_values(&[self.stream.name()]).set(sequence as i64);
    }

    /// Ends every watch; nothing will be applied any more.
    pub fn close(&self) {
        let objects = self.write(|guarded| {
            guarded.closed = true;
            guarded.topics.touch_all(u64::MAX);
            guarded.state.items.len()
        });
        metrics::OBJECTS.sub(objects as i64);
    }

    /// Takes note of a message that passes.
    pub fn note_size(&self, sequence: u64, size: usize) {
        let mut recent = self.recent.lock();
        recent.total += size as u64;
        recent.bytes += size;
        recent.sizes.push_back((sequence, size));
        while recent.sizes.len() > LEFT_MESSAGES || recent.bytes > LEFT_BYTES {
            let Some((_, size)) = recent.sizes.pop_front() else { break };
            recent.bytes -= size;
        }
    }

    /// Bytes of all messages that passed.
    pub fn passed_bytes(&self) -> u64 {
        self.recent.lock().total
    }

    /// The sequence from which on the log should be kept when everything up to `checkpoint` is in a checkpoint.
    pub fn keep_from(&self, checkpoint: u64) -> u64 {
        let oldest = self.recent.lock().sizes.front().map(|(sequence, _)| *sequence);
        oldest.unwrap_or(u64::MAX).min(checkpoint + 1)
    }

    pub fn reached(&self) -> u64 {
        *self.reached.borrow()
    }

    pub fn revision(&self) -> Revision {
        Revision::end_of(self.reached())
    }

    /// Waits until the state has reached `sequence`, for ever if it must.
    pub async fn wait_reached(&self, sequence: u64) {
        let mut reached = self.reached.subscribe();
        if *reached.borrow_and_update() >= sequence {
            return;
        }
        let _wish = Wish::new(self, sequence);
        reached.wait_for(|reached| *reached >= sequence).await.expect("the sender lives as long as self");
    }

    fn want(&self, wishes: &BTreeMap<u64, usize>) {
        let largest = wishes.last_key_value().map_or(0, |(sequence, _)| *sequence);
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, largest) < largest);
    }

    /// The largest sequence that somebody waits for; changes when it grows.
    pub fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    pub fn set_health(&self, health: Health) {
        self.health.send_if_modified(|(current, since)| {
            let other = *current != health;
            if std::mem::discriminant(current) != std::mem::discriminant(&health) {
                *since = Instant::now();
            }
            *current = health;
            other
        });
    }

    /// Health, and since when.
    pub fn health(&self) -> watch::Receiver<(Health, Instant)> {
        self.health.subscribe()
    }
}

// === impl Wish ===

impl<'a> Wish<'a> {
    fn new(partition: &'a Partition, sequence: u64) -> Self {
        let mut wishes = partition.wishes.lock();
        *wishes.entry(sequence).or_insert(0) += 1;
        partition.want(&wishes);
        Wish { partition, sequence }
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mut wishes = self.partition.wishes.lock();
        if let Some(count) = wishes.get_mut(&self.sequence) {
            *count -= 1;
            if *count == 0 {
                wishes.remove(&self.sequence);
            }
        }
        self.partition.want(&wishes);
    }
}

/// A partition that a watch or a task holds on to.
pub(crate) type Shared = Arc<Partition>;
