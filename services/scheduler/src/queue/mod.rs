//! Pods that wait for a node. Pure: the caller says what time it is.
//!
//! ```text
//!   new ──> active ──take──> decided ──> bound
//!             ^ ^               │ no node suits        │ refused by the binder
//!             │ └── backoff <───┼──────────────────────┘
//!             │        ^        v
//!             │        │     blocked ── a node got better that now suits ──┐
//!             │        └──── too soon after the last attempt ──────────────┤
//!             └────────────────────────────────────────────────────────────┘
//!   gated: waits for others to take its scheduling gates away
//! ```
//! Blocked pods are grouped by shape: whether a node suits is judged once a group, however many pods are in it.

mod active;
mod backoff;
mod blocked;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use model::Key;
use tokio::time::Instant;

use crate::observe::Shape;
use active::{Active, Rank};
use backoff::{Backoff, Due};
use blocked::{Blocked, Ticket};

pub use backoff::delay;

/// A pod that waits for a node.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its key.
    pub key: Key,
    /// `metadata.uid`
    pub uid: String,
    /// What decides where it can go.
    pub shape: Shape,
    /// Greater is sooner.
    pub priority: i32,
    /// Whether others may have to make way for it.
    pub preempts: bool,
    /// Since when it may be scheduled.
    pub since: Instant,
    /// Decisions about it so far.
    pub attempts: u32,
    /// Why it has no node, as people were last told, and when.
    pub told: Option<(String, Instant)>,
    /// Whether it was called out of its group because a node suits.
    woken: bool,
}

/// The pods that wait.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Key, Entry>,
    active: Active,
    /// Woken before their pause was over.
    backoff: Backoff,
    /// Refused by the binder or the API servers: no change of the cluster tells when that would end.
    refused: Backoff,
    blocked: Blocked,
    gated: usize,
    arrivals: u64,
}

#[derive(Debug)]
struct Entry {
    pod: Waiting,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Next in line.
    Active(Rank),
    /// After a pause, or when nothing else is to be done.
    Backoff(Due),
    /// After a pause.
    Refused(Due),
    /// When a node suits that did not.
    Blocked(Ticket),
    /// When its gates are gone.
    Gated,
}

/// How many wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Next in line.
    pub active: usize,
    /// After a pause.
    pub backoff: usize,
    /// When a node suits that did not.
    pub blocked: usize,
    /// When their gates are gone.
    pub gated: usize,
}

/// Pods of one group that are woken together: a node that got better seldom has room for more, and each that finds
/// its place wakes the next, so a crowd of ten thousand does not run for one place.
const WAKE_TOGETHER: usize = 64;
/// Blocked pods are looked at again after this long whatever happens, should a reason to wake them have been missed.
const BLOCKED_LONGEST: Duration = Duration::from_secs(300);
/// While nothing else is to be done, so many pods need not wait for the end of their pause; a crowd must, or it would
/// keep a processor busy with what is hopeless.
const EARLY_MAX: usize = 100;

// === impl Waiting ===

impl Waiting {
    /// A pod that was never tried.
    pub fn new(key: Key, uid: String, shape: Shape, priority: i32, now: Instant) -> Self {
        Waiting {
            key,
            uid,
            shape,
            priority,
            preempts: true,
            since: now,
            attempts: 0,
            told: None,
            woken: false,
        }
    }
}

// === impl Queue ===

impl Queue {
    /// Takes in a pod, or a change of one that waits. A change that does not concern its scheduling leaves it where
    /// it is.
    pub fn put(&mut self, pod: Waiting, gated: bool, now: Instant) {
        let Some(entry) = self.pods.get_mut(&pod.key) else {
            return self.enter(pod, gated);
        };
        let was_gated = matches!(entry.place, Place::Gated);
        let known = &mut entry.pod;
        if known.uid == pod.uid
            && was_gated == gated
            && known.shape == pod.shape
            && known.priority == pod.priority
        {
            known.preempts = pod.preempts;
            return;
        }
        let same = known.uid == pod.uid;
        let Some(known) = self.remove_entry(&pod.key.clone(), now) else { return };
        let pod = match same && !was_gated {
            true => Waiting { since: known.since, attempts: known.attempts, told: known.told, ..pod },
            false => pod,
        };
        self.enter(pod, gated);
    }

    /// Takes out a pod that no longer waits.
    pub fn remove(&mut self, key: &Key, now: Instant) {
        self.remove_entry(key, now);
    }

    /// Whether the pod waits here.
    pub fn has(&self, key: &Key) -> bool {
        self.pods.contains_key(key)
    }

    /// Takes the pod whose turn it is. It is the caller's until it comes back by [`Queue::block`] or [`Queue::retry`].
    pub fn take(&mut self, now: Instant) -> Option<Waiting> {
        self.end_pauses(now);
        let key = match self.active.pop() {
            Some(key) => key,
            None if self.backoff.len() <= EARLY_MAX => self.backoff.pop()?,
            None => return None,
        };
        self.pods.remove(&key).map(|entry| entry.pod)
    }

    /// Whether a pod can be taken now.
    pub fn has_next(&self, now: Instant) -> bool {
        let is_due = |backoff: &Backoff| backoff.next_due().is_some_and(|due| due <= now);
        let may_be_early = (1..=EARLY_MAX).contains(&self.backoff.len());
        self.active.len() > 0 || may_be_early || is_due(&self.backoff) || is_due(&self.refused)
    }

    /// Gives back a pod that suits no node.
    pub fn block(&mut self, mut pod: Waiting, now: Instant) {
        pod.woken = false;
        let ticket = self.blocked.add(&pod, self.arrivals, now);
        self.arrivals += 1;
        self.insert(pod, Place::Blocked(ticket));
    }

    /// Gives back a pod that is to be tried again after a pause, because its node was refused.
    pub fn retry(&mut self, pod: Waiting, now: Instant) {
        let due = self.refused.add(&pod.key, now + delay(pod.attempts), self.arrivals);
        self.arrivals += 1;
        self.insert(pod, Place::Refused(due));
    }

    /// Calls pods out of each group that `suits` says has a node now.
    pub fn wake(&mut self, suits: impl FnMut(&Shape) -> bool, now: Instant) {
        for shape in self.blocked.groups(suits) {
            self.wake_group(&shape, now);
        }
    }

    /// A pod found its place, or is gone: if it was woken, the others of its group may still have a node.
    pub fn settled(&mut self, pod: &Waiting, now: Instant) {
        if pod.woken {
            self.wake_group(&pod.shape, now);
        }
    }

    /// What people were to be told of a pod did not reach them: the next attempt tells it again.
    pub fn forget_told(&mut self, key: &Key) {
        if let Some(entry) = self.pods.get_mut(key) {
            entry.pod.told = None;
        }
    }

    /// When the next pod can be taken that cannot be taken now.
    pub fn next_due(&self) -> Option<Instant> {
        let flush = self.blocked.oldest().map(|since| since + BLOCKED_LONGEST);
        [self.backoff.next_due(), self.refused.next_due(), flush].into_iter().flatten().min()
    }

    /// How many wait where.
    pub fn lengths(&self) -> Lengths {
        Lengths {
            active: self.active.len(),
            backoff: self.backoff.len() + self.refused.len(),
            blocked: self.blocked.len(),
            gated: self.gated,
        }
    }

    fn enter(&mut self, pod: Waiting, gated: bool) {
        match gated {
            true => {
                self.gated += 1;
                self.insert(pod, Place::Gated);
            }
            false => self.activate(pod),
        }
    }

    fn activate(&mut self, pod: Waiting) {
        let rank = self.active.add(&pod, self.arrivals);
        self.arrivals += 1;
        self.insert(pod, Place::Active(rank));
    }

    fn insert(&mut self, pod: Waiting, place: Place) {
        self.pods.insert(pod.key.clone(), Entry { pod, place });
    }

    fn remove_entry(&mut self, key: &Key, now: Instant) -> Option<Waiting> {
        let Entry { pod, place } = self.pods.remove(key)?;
        match place {
            Place::Active(rank) => self.active.remove(&rank),
            Place::Backoff(due) => self.backoff.remove(&due),
            Place::Refused(due) => self.refused.remove(&due),
            Place::Blocked(ticket) => self.blocked.remove(&pod.shape, &ticket),
            Place::Gated => self.gated -= 1,
        }
        self.settled(&pod, now);
        Some(pod)
    }

    /// Brings back those whose pause is over, and those that have been blocked for too long.
    fn end_pauses(&mut self, now: Instant) {
        while let Some(key) = self.backoff.pop_due(now).or_else(|| self.refused.pop_due(now)) {
            if let Some(entry) = self.pods.remove(&key) {
                self.activate(entry.pod);
            }
        }
        while self.blocked.oldest().is_some_and(|since| since + BLOCKED_LONGEST <= now) {
            let Some(key) = self.blocked.oldest_key() else { return };
            if let Some(Entry { pod, place: Place::Blocked(ticket) }) = self.pods.remove(&key) {
                self.blocked.remove(&pod.shape, &ticket);
                self.activate(pod);
            }
        }
    }

    fn wake_group(&mut self, shape: &Shape, now: Instant) {
        for (key, ticket) in self.blocked.first(shape, WAKE_TOGETHER) {
            self.blocked.remove(shape, &ticket);
            let Some(Entry { mut pod, .. }) = self.pods.remove(&key) else { continue };
            pod.woken = true;
            let due = ticket.since() + delay(pod.attempts);
            if due <= now {
                self.activate(pod);
            } else {
                let due = self.backoff.add(&key, due, self.arrivals);
                self.arrivals += 1;
                self.insert(pod, Place::Backoff(due));
            }
        }
    }
}
