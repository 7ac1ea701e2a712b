//! The newest changes, kept so that a watch can start in the past and pages of one list can agree.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use model::{Revision, Trace};

use crate::item::{Change, TooOld};

/// How much history a store keeps in memory.
#[derive(Clone, Copy, Debug)]
pub struct HistoryBounds {
    /// Changes. 100,000 is some minutes of a busy cluster; a change costs about 140 bytes.
    pub changes: usize,
    /// Bytes of values that only the history still holds. 64 MB is what an API server can spare for clients that
    /// come back after a short absence; whoever comes later lists again.
    pub bytes: usize,
}

/// The changes of one message.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub sequence: u64,
    /// When the log took it, in milliseconds since 1970; 0 where only a checkpoint tells of it.
    pub time: u64,
    pub changes: Vec<Change>,
    /// The traces that changes belong to, by their place: those of one transaction have one. Nearly always empty.
    pub traces: Vec<(Range<usize>, Trace)>,
}

/// A ring of batches. Batches are numbered for ever (the first pushed is 0), so a reader can keep a number as its
/// cursor and find out that what it had not read yet is gone.
#[derive(Debug)]
pub(crate) struct History {
    bounds: HistoryBounds,
    batches: VecDeque<Arc<Batch>>,
    /// Number of the first batch still here.
    front: u64,
    changes: usize,
    bytes: usize,
    /// Every change after this revision is here.
    floor: Revision,
}

// === impl HistoryBounds ===

impl Default for HistoryBounds {
    fn default() -> Self {
        HistoryBounds { changes: 100_000, bytes: 64 << 20 }
    }
}

// === impl Batch ===

impl Batch {
    /// The changes, each with the trace that it belongs to.
    pub fn traced(&self) -> impl Iterator<Item = (&Change, Option<Trace>)> {
        self.changes.iter().enumerate().map(|(place, change)| {
            let trace = self.traces.iter().find(|(places, _)| places.contains(&place));
            (change, trace.map(|(_, trace)| *trace))
        })
    }
}

// === impl History ===

impl History {
    /// A history that knows nothing up to `floor`, and whose first batch gets the number `front`.
    pub fn new(bounds: HistoryBounds, floor: Revision, front: u64) -> Self {
        History { bounds, batches: VecDeque::new(), front, changes: 0, bytes: 0, floor }
    }

    pub fn push(&mut self, batch: Batch) {
        if batch.changes.is_empty() {
            return;
        }
        self.changes += batch.changes.len();
        self.bytes += retained(&batch.changes);
        self.batches.push_back(Arc::new(batch));
        let over =
            |history: &Self| history.changes > history.bounds.changes || history.bytes > history.bounds.bytes;
        // The newest one stays however large it is: watchers are told of it.
        while self.batches.len() > 1 && over(self) {
            let Some(batch) = self.batches.pop_front() else { break };
            self.front += 1;
            self.changes -= batch.changes.len();
            self.bytes -= retained(&batch.changes);
            self.floor = Revision::end_of(batch.sequence);
        }
    }

    /// Number of the first batch still here.
    pub fn front(&self) -> u64 {
        self.front
    }

    /// Number that the next batch will get.
    pub fn end(&self) -> u64 {
        self.front + self.batches.len() as u64
    }

    /// The oldest revision after which every change is here.
    pub fn floor(&self) -> Revision {
        self.floor
    }

    /// The number of the first batch that may hold a change after `revision`.
    pub fn cursor_after(&self, revision: Revision) -> Result<u64, TooOld> {
        if revision < self.floor {
            return Err(TooOld { oldest: self.floor });
        }
        let index = self.batches.partition_point(|batch| Revision::end_of(batch.sequence) <= revision);
        Ok(self.front + index as u64)
    }

    /// Up to `limit` batches from number `cursor` on, which must not be before the front.
    pub fn from(&self, cursor: u64, limit: usize) -> impl Iterator<Item = &Arc<Batch>> {
        let skip = cursor.saturating_sub(self.front) as usize;
        self.batches.range(skip.min(self.batches.len())..).take(limit)
    }
}

/// Bytes of values that nothing but these changes holds: a new value is still shared with the state or counted
/// where it is replaced.
fn retained(changes: &[Change]) -> usize {
    changes.iter().filter_map(Change::previous).map(|item| item.value.len()).sum()
}
