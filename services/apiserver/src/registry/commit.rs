//! The one loop that writes: judge the object that is there, commit on condition that it still is, else judge again.
//!
//! ```text
//!  state ──> judge ──┬─ refused, or nothing to do ──> is the state as new as the log? ─ no ─> catch up, judge again
//!    ^               └─ put / remove ──> commit on condition ──> done
//!    └──────────────── the object as the log has it ─────────── refused: another writer was first
//! ```

use bytes::Bytes;
use model::object::with_resource_version;
use model::{Class, Key, Reason, Revision, Status};
use store::{Action, CommitError, Expect, Guard, Item, Op, OpOutcome, Txn};

use super::{Registry, metrics, unavailable};
use crate::verbs::Context;

/// Times that a write is judged. Of n writers to one object one wins each round, so this many may contend before
/// one is sent away; a judge that refuses costs no round.
pub const ATTEMPTS: usize = 128;

/// What a judge wants done with the object.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Store these bytes (canonical, without `resourceVersion`), with further writes of the same class, all or none.
    Put(Bytes, Vec<Op>),
    /// Remove it, with further writes of the same class, all or none.
    Remove(Vec<Op>),
    /// Leave it as it is.
    Keep,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored: the bytes as readers see them, and the place of the write in the log; zero for a dry run.
    Put(Bytes, Revision),
    /// Removed: the object as it was, and the place of the removal.
    Removed(Item, Revision),
    /// Left as it is.
    Kept(Item),
    /// The judge kept what is not there.
    Absent,
}

/// A write that is to be tried.
struct Write {
    /// What to store; `None` to remove.
    put: Option<Bytes>,
    /// What goes with it.
    more: Vec<Op>,
}

/// What the log made of a transaction.
enum Ruling {
    /// Written.
    Done(Revision),
    /// Another writer was first.
    Refused,
    /// Something that the write depends on is not as it was, or another writer was first.
    Unguarded,
    /// The log had moved on too far before the transaction reached it.
    PassedBy,
}

/// What guards the writes of who asks, in the class of `key`.
fn fence_of(context: &Context, key: &Key) -> Result<Option<Guard>, Status> {
    let Some(guard) = &context.guard else { return Ok(None) };
    let class = store::class_of(key);
    let expect = guard.fence(class).ok_or_else(|| guard.unfenced(class))?;
    Ok(Some(Guard { key: crate::leadership::fence_key(class, &guard.role), expect: Revision(expect) }))
}

// === impl Registry ===

impl Registry {
    /// Writes what `judge` wants done with the object at `key`, judging again whenever another writer was first.
    ///
    /// With `dry_run` everything but the write is done. A write of who does not lead any more is refused, whenever it
    /// comes: its guard is judged by the log.
    pub async fn change(
        &self,
        context: &Context,
        key: &Key,
        dry_run: bool,
        mut judge: impl FnMut(Option<&Item>) -> Result<Verdict, Status>,
    ) -> Result<Outcome, Status> {
        let fence = fence_of(context, key)?;
        let mut present = self.store().get(key);
        let mut caught_up = false;
        for _ in 0..ATTEMPTS {
            // Before the judge looks: what it sees is this or newer.
            let guards = self.guards(key);
            let write = match judge(present.as_ref()) {
                // Our state may be behind: nobody is refused, and nothing left undone, on account of that.
                Err(_) | Ok(Verdict::Keep) if !caught_up => {
                    self.catch_up_for(key).await?;
                    caught_up = true;
                    present = self.store().get(key);
                    continue;
                }
                Err(status) => return Err(status),
                Ok(Verdict::Keep) => return Ok(present.map_or(Outcome::Absent, Outcome::Kept)),
                Ok(Verdict::Put(bytes, more)) => Write { put: Some(bytes), more },
                Ok(Verdict::Remove(more)) => Write { put: None, more },
            };
            if guards != self.guards(key) {
                // The judge may not have seen what is guarded.
                present = self.store().get(key);
                continue;
            }
            if dry_run {
                return Ok(write.rehearsed(present));
            }
            let guards = guards.into_iter().chain(fence.clone()).collect();
            match self.committed(write.transaction(key, present.as_ref(), guards)).await? {
                Ruling::Done(revision) => return Ok(write.outcome(revision, present)),
                // The outcome came with the feed, so the state, with whatever guards it, is as new as the refusal.
                Ruling::Unguarded if !self.holds(fence.as_ref()) => {
                    return Err(context
                        .guard
                        .as_ref()
                        .map_or_else(|| Status::internal("no guard"), |guard| guard.refusal()));
                }
                Ruling::Refused | Ruling::Unguarded => {
                    metrics::CONFLICTS.inc();
                    present = self.store().get(key);
                    caught_up = true;
                }
                Ruling::PassedBy => present = self.store().get(key),
            }
        }
        Err(Status::conflict(
            key.group(),
            key.resource(),
            key.name(),
            "too many others change it at the same time; please try again",
        ))
    }

    /// Whether a fence is as the leader left it; fences only ever move on.
    fn holds(&self, fence: Option<&Guard>) -> bool {
        fence.is_none_or(|fence| {
            self.store().get(&fence.key).is_some_and(|item| item.revision == fence.expect)
        })
    }

    /// Events have an order of their own, and what else a judge looks at is in the other one.
    async fn catch_up_for(&self, key: &Key) -> Result<(), Status> {
        self.catch_up(key.as_str()).await?;
        if store::class_of(key) == Class::Events {
            self.catch_up("").await?;
        }
        Ok(())
    }

    async fn committed(&self, txn: Txn) -> Result<Ruling, Status> {
        match self.store().commit(txn).await {
            Ok(committed) => match committed.outcomes.into_iter().next() {
                Some(OpOutcome::Done(revision)) => Ok(Ruling::Done(revision)),
                Some(OpOutcome::Refused { .. }) if !committed.guards_held => Ok(Ruling::Unguarded),
                Some(OpOutcome::Refused { .. }) => Ok(Ruling::Refused),
                None => Err(Status::internal("a transaction without outcome")),
            },
            Err(CommitError::Stale) => Ok(Ruling::PassedBy),
            Err(error @ CommitError::TooLarge { .. }) => {
                Err(Status::new(Reason::RequestEntityTooLarge, format!("the object is too large: {error}")))
            }
            Err(CommitError::Unavailable(why)) => Err(unavailable(store::Unavailable(why))),
            Err(error @ CommitError::Invalid(_)) => Err(Status::internal(error)),
        }
    }
}

// === impl Write ===

impl Write {
    fn transaction(&self, key: &Key, present: Option<&Item>, guards: Vec<Guard>) -> Txn {
        let expect = present.map_or(Expect::Absent, |item| Expect::At(item.revision));
        let action = self.put.clone().map_or(Action::Delete, Action::Put);
        let mut ops = vec![Op { key: key.clone(), expect, action }];
        ops.extend(self.more.iter().cloned());
        Txn { all_or_none: ops.len() > 1, guards, ops, trace: bus::trace::current() }
    }

    fn outcome(self, revision: Revision, present: Option<Item>) -> Outcome {
        match (self.put, present) {
            (Some(bytes), _) => Outcome::Put(with_resource_version(&bytes, revision), revision),
            (None, Some(item)) => Outcome::Removed(item, revision),
            (None, None) => Outcome::Absent,
        }
    }

    /// What a dry run answers: an object that would be created has no version, one that would change keeps its own.
    fn rehearsed(self, present: Option<Item>) -> Outcome {
        match (self.put, present) {
            (Some(bytes), Some(item)) => {
                Outcome::Put(with_resource_version(&bytes, item.revision), Revision::ZERO)
            }
            (Some(bytes), None) => Outcome::Put(bytes, Revision::ZERO),
            (None, Some(item)) => Outcome::Removed(item, Revision::ZERO),
            (None, None) => Outcome::Absent,
        }
    }
}
