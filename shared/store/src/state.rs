//! What a reader knows of one stream: the objects, the newest changes, and what it takes to decide the next message.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use model::{Class, Key, Revision};

use crate::history::{Batch, History, HistoryBounds};
use crate::item::{Change, Item, Page, TooOld};
use crate::ordered::{Ordered, Slice};

/// A frame that reaches the log more than so many messages after its writer packed it is a no-op. Frames are packed
/// when the one before is acknowledged, so only one that was delayed on its way comes near: at 700 messages a second
/// (the most measured) this is 23 seconds, about twice what a caller waits for an outcome.
pub(crate) const LATE_BOUND: u64 = 16_384;

/// The fold of one stream up to `reached`.
#[derive(Debug)]
pub(crate) struct State {
    pub items: Ordered,
    pub history: History,
    pub writers: Writers,
    /// Objects that leave by age; none in the stream of ordinary objects.
    pub ages: Option<Ages>,
    /// Sequence of the newest message of each class.
    pub newest: BTreeMap<Class, u64>,
    /// Sequence of the newest message that was applied or is known not to concern this reader.
    pub reached: u64,
    /// Bytes of all values.
    pub bytes: u64,
    /// Newest time that the log put on a message, in milliseconds since 1970.
    pub time: u64,
}

/// The newest frame of every writer that a late duplicate could still come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Writers(pub HashMap<(Class, u64), Seen, FixedState>);

/// The newest frame of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub number: u64,
    pub sequence: u64,
}

/// Which write is how old, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    /// Milliseconds that an object stays after it was last written.
    pub limit: u64,
    pub queue: VecDeque<(u64, Key, Revision)>,
}

/// What a page of a list is made of, taken under the lock and read without it.
pub(crate) struct Snapshot {
    slice: Slice,
    /// Objects now under the prefix after the page's start.
    total: usize,
    /// Batches that may hold changes after the revision asked for.
    later: Vec<Arc<Batch>>,
    revision: Revision,
}

/// What a key was at the revision asked for, and whether it exists now.
struct Undo<'a> {
    before: Option<&'a Item>,
    exists: bool,
}

// === impl State ===

impl State {
    /// The state before the first message. `age_limit` is for streams whose objects leave by age.
    pub fn new(bounds: HistoryBounds, age_limit: Option<u64>) -> Self {
        State {
            items: Ordered::default(),
            history: History::new(bounds, Revision::ZERO, 0),
            writers: Writers::default(),
            ages: age_limit.map(|limit| Ages { limit, queue: VecDeque::new() }),
            newest: BTreeMap::new(),
            reached: 0,
            bytes: 0,
            time: 0,
        }
    }

    /// Every write up to here is in.
    pub fn revision(&self) -> Revision {
        Revision::end_of(self.reached)
    }

    /// What a page at the newest revision needs.
    pub fn snapshot(&self, prefix: &str, after: Option<&str>, limit: usize) -> Snapshot {
        let (slice, total) = self.items.slice(prefix, after, limit);
        Snapshot { slice, total, later: Vec::new(), revision: self.revision() }
    }

    /// What a page at revision `at` needs.
    pub fn snapshot_at(&self, at: Revision, prefix: &str, after: Option<&str>) -> Result<Snapshot, TooOld> {
        let cursor = self.history.cursor_after(at)?;
        let later = self.history.from(cursor, usize::MAX).cloned().collect();
        // How many of the objects below will turn out to be newer than `at` is not known yet: take all.
        let (slice, total) = self.items.slice(prefix, after, usize::MAX);
        Ok(Snapshot { slice, total, later, revision: at.min(self.revision()) })
    }
}

// === impl Writers ===

impl Writers {
    pub fn number(&self, class: Class, writer: u64) -> u64 {
        self.0.get(&(class, writer)).map_or(0, |seen| seen.number)
    }

    pub fn note(&mut self, class: Class, writer: u64, seen: Seen) {
        self.0.insert((class, writer), seen);
        if seen.sequence.is_multiple_of(LATE_BOUND / 4) {
            // A frame of a writer that is dropped here would be too late to count anyway.
            self.0.retain(|_, other| seen.sequence - other.sequence <= LATE_BOUND);
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The first `limit` items of the page that starts after `after`.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Page {
        let undo = self.undo(prefix, after);
        if undo.is_empty() {
            let items: Vec<Item> = self.slice.iter().take(limit).cloned().collect();
            let remaining = self.total - items.len();
            return Page { items, revision: self.revision, remaining };
        }
        let total = undo.values().fold(self.total, |total, undo| {
            (total + usize::from(undo.before.is_some())).saturating_sub(usize::from(undo.exists))
        });
        let items: Vec<Item> = self.rewound(&undo).take(limit).cloned().collect();
        let remaining = total - items.len();
        Page { items, revision: self.revision, remaining }
    }

    fn undo(&self, prefix: &str, after: Option<&str>) -> BTreeMap<&str, Undo<'_>> {
        let mut undo: BTreeMap<&str, Undo<'_>> = BTreeMap::new();
        let changes = self.later.iter().flat_map(|batch| &batch.changes);
        for change in changes.filter(|change| change.revision() > self.revision) {
            let key = change.key().as_str();
            if key.starts_with(prefix) && after.is_none_or(|after| key > after) {
                let exists = matches!(change, Change::Put { .. });
                let entry = undo.entry(key).or_insert(Undo { before: change.previous(), exists });
                entry.exists = exists;
            }
        }
        undo
    }

    /// The slice with what changed since put back, in key order.
    fn rewound<'a>(&'a self, undo: &'a BTreeMap<&str, Undo<'a>>) -> impl Iterator<Item = &'a Item> {
        let mut untouched = self.slice.iter().filter(|item| !undo.contains_key(item.key.as_str())).peekable();
        let mut restored = undo.values().filter_map(|undo| undo.before).peekable();
        std::iter::from_fn(move || match (untouched.peek(), restored.peek()) {
            (Some(a), Some(b)) if b.key < a.key => restored.next(),
            (Some(_), _) => untouched.next(),
            (None, _) => restored.next(),
        })
    }
}
