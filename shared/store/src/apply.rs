//! The fold: what a message of the log does to the state. Every reader runs this, in the same order.
//!
//! ```text
//!  message ──> counts at all? ──> per transaction: guards, expectations ──> writes ──> history
//!              (not late, not                │ no                             │
//!               a duplicate)                 v                                v
//!                                  refused, with what is there         revision s × 1024 + i
//! ```
//! Nothing here asks a clock or draws a number: the state, the message and its place decide.

use model::{Class, Revision};

use crate::history::Batch;
use crate::item::{Change, Item};
use crate::ordered::{Ordered, Place};
use crate::state::{Ages, LATE_BOUND, Seen, State};
use crate::txn::{Action, Committed, Expect, Frame, Op, OpOutcome, Txn};

/// Where the log put a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub sequence: u64,
    /// Milliseconds since 1970, by the log's clock.
    pub time: u64,
    pub class: Class,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not a frame: a no-op.
    Corrupt,
    /// The log had moved on too far since it was packed: a no-op.
    Stale,
    /// It, or a later frame of its writer, was applied before: a no-op.
    Duplicate,
    /// Decided, transaction by transaction.
    Decided(Vec<Committed>),
}

/// Applies the message at `at`; `frame` is none if it could not be read.
pub(crate) fn apply(state: &mut State, at: At, frame: Option<Frame>) -> Verdict {
    let (mut changes, mut traces) = (Vec::new(), Vec::new());
    let mut ops = 0;
    let verdict = match frame {
        None => Verdict::Corrupt,
        Some(frame) if at.sequence > frame.seen.saturating_add(LATE_BOUND) => Verdict::Stale,
        Some(frame) if frame.number <= state.writers.number(at.class, frame.writer) => Verdict::Duplicate,
        Some(frame) => {
            let seen = Seen { number: frame.number, sequence: at.sequence };
            state.writers.note(at.class, frame.writer, seen);
            let mut revisions = (0..).map(|index| Revision::at(at.sequence, index));
            ops = frame.ops() as u64;
            let txns = frame.txns.into_iter();
            let decided = txns.map(|txn| {
                let (trace, first) = (txn.trace, changes.len());
                let committed = decide(&mut state.items, txn, &mut revisions, &mut changes);
                traces.extend(trace.map(|trace| (first..changes.len(), trace)));
                committed
            });
            Verdict::Decided(decided.collect())
        }
    };
    state.newest.insert(at.class, at.sequence);
    state.reached = at.sequence;
    state.time = state.time.max(at.time);
    if let Some(ages) = &mut state.ages {
        ages.note(state.time, &changes);
        ages.expire(&mut state.items, state.time, Revision::at(at.sequence, ops), &mut changes);
    }
    state.bytes = changes.iter().fold(state.bytes, |bytes, change| match change {
        Change::Put { item, previous } => bytes + size(Some(item)) - size(previous.as_ref()),
        Change::Delete { previous, .. } => bytes - size(Some(previous)),
    });
    state.history.push(Batch { sequence: at.sequence, time: at.time, changes, traces });
    verdict
}

fn decide(
    items: &mut Ordered,
    txn: Txn,
    revisions: &mut impl Iterator<Item = Revision>,
    changes: &mut Vec<Change>,
) -> Committed {
    let at = |key| items.get(key).map(|item| item.revision);
    let guards_held = txn.guards.iter().all(|guard| at(guard.key.as_str()) == Some(guard.expect));
    let refused = !guards_held
        || txn.all_or_none && !txn.ops.iter().all(|op| holds(op.expect, items.get(op.key.as_str())));
    let each = !txn.all_or_none;
    let outcomes = txn.ops.into_iter().zip(revisions).map(|(op, revision)| {
        let place = items.find(op.key.as_str());
        let current = place.ok().map(|place| items.at(place));
        if refused || each && !holds(op.expect, current) {
            return OpOutcome::Refused { current: current.cloned() };
        }
        changes.extend(write(items, place, op, revision));
        OpOutcome::Done(revision)
    });
    Committed { outcomes: outcomes.collect(), guards_held }
}

fn size(item: Option<&Item>) -> u64 {
    item.map_or(0, |item| item.value.len() as u64)
}

fn holds(expect: Expect, current: Option<&Item>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => current.is_none(),
        Expect::At(revision) => current.is_some_and(|item| item.revision == revision),
    }
}

fn write(items: &mut Ordered, place: Result<Place, Place>, op: Op, revision: Revision) -> Option<Change> {
    match (place, op.action) {
        (Ok(place), Action::Put(value)) => {
            let old = items.at(place);
            let item = Item { key: old.key.clone(), revision, created: old.created, value };
            let previous = Some(items.replace(place, item.clone()));
            Some(Change::Put { item, previous })
        }
        (Err(place), Action::Put(value)) => {
            let item = Item { key: op.key, revision, created: revision, value };
            items.insert(place, item.clone());
            Some(Change::Put { item, previous: None })
        }
        (Ok(place), Action::Delete) => {
            let previous = items.remove(place);
            Some(Change::Delete { key: previous.key.clone(), revision, previous })
        }
        (Err(_), Action::Delete) => None,
    }
}

// === impl Ages ===

impl Ages {
    fn note(&mut self, time: u64, changes: &[Change]) {
        for change in changes {
            if let Change::Put { item, .. } = change {
                self.queue.push_back((time, item.key.clone(), item.revision));
            }
        }
    }

    /// Removes what is too old at `time`. Each removal takes the next revision after the message's own operations,
    /// and when they are used up the rest waits for the next message.
    fn expire(&mut self, items: &mut Ordered, time: u64, from: Revision, changes: &mut Vec<Change>) {
        let mut revision = from;
        while self.due(time) && revision <= Revision::end_of(from.sequence()) {
            let Some((_, key, written)) = self.queue.pop_front() else { break };
            let Ok(place) = items.find(key.as_str()) else { continue };
            if items.at(place).revision == written {
                let previous = items.remove(place);
                changes.push(Change::Delete { key, revision, previous });
                revision = Revision(revision.0 + 1);
            }
        }
    }

    /// Whether something is too old at `time`.
    pub fn due(&self, time: u64) -> bool {
        self.queue.front().is_some_and(|(written, _, _)| written + self.limit <= time)
    }
}

#[cfg(test)]
mod tests;
