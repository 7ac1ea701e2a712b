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
//!   held: waits for others to take its scheduling gates away, is asked about, or is another replica's to decide about
//! ```
//! Blocked pods are grouped by shape: whether a node suits is judged once a group, however many pods are in it.

mod active;
mod backoff;
mod blocked;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use model::{Key, Revision};
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
    /// Where it last changed.
    pub seen: Revision,
    /// `metadata.uid`
    pub uid: String,
    /// What decides where it can go.
    pub shape: Shape,
    /// Greater is sooner.
    pub priority: i32,
    /// Whether others may have to make way for it.
    pub preempts: bool,
    /// Whether it names this scheduler, or another one that may be there as well.
    pub ours: bool,
    /// Since when it may be scheduled.
    pub since: Instant,
    /// Decisions about it so far.
    pub attempts: u32,
    /// How often the binder has refused its node.
    pub conflicts: u32,
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
    elsewhere: usize,
    asked: usize,
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
    /// Not to be decided about here and now.
    Held(Hold),
}

/// Why a pod is not decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It has scheduling gates.
    Gates,
    /// It is another replica's, or names another scheduler.
    Elsewhere,
    /// Extenders are asked about its nodes.
    Asked,
}

/// How many wait where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Next in line, or asked about.
    pub active: usize,
    /// After a pause.
    pub backoff: usize,
    /// When a node suits that did not.
    pub blocked: usize,
    /// When their gates are gone.
    pub gated: usize,
    /// At other replicas.
    pub elsewhere: usize,
}

/// Pods of one group that are woken together: a node that got better seldom has room for more, and each that finds
/// its place wakes the next, so a crowd of ten thousand does not run for one place.
const WAKE_TOGETHER: usize = 64;
/// Blocked pods are looked at again after this long whatever happens, should a reason to wake them have been missed.
const BLOCKED_LONGEST: Duration = Duration::from_secs(300);
/// While nothing else is to be done, so many pods need not wait for the end of their pause; a crowd must, or it would
/// keep a processor busy with what is hopeless.
const EARLY_MAX: usize = 100;

/// Before a pod is decided about again whose node the binder has refused: a message of the log and its way here. Doubled
/// with each further refusal, for then it is something else that is late.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);
/// At most 640 ms.
const CONFLICT_DOUBLINGS: u32 = 7;

// === impl Waiting ===

impl Waiting {
    /// A pod that was never tried.
    pub fn new(key: Key, uid: String, shape: Shape, priority: i32, now: Instant) -> Self {
        Waiting {
            key,
            seen: Revision::ZERO,
            uid,
            shape,
            priority,
            preempts: true,
            ours: true,
            since: now,
            attempts: 0,
            conflicts: 0,
            told: None,
            woken: false,
        }
    }
}

// === impl Place ===

impl Place {
    fn hold(&self) -> Option<Hold> {
        match self {
            Place::Held(hold) => Some(*hold),
            _ => None,
        }
    }
}

// === impl Queue ===

impl Queue {
    /// Takes in a pod, or a change of one that waits. A change that does not concern its scheduling leaves it where
    /// it is.
    pub fn put(&mut self, pod: Waiting, hold: Option<Hold>, now: Instant) {
        let Some(entry) = self.pods.get_mut(&pod.key) else {
            return self.enter(pod, hold);
        };
        let held = entry.place.hold();
        let known = &mut entry.pod;
        known.seen = pod.seen;
        if known.uid == pod.uid && held == hold && known.shape == pod.shape && known.priority == pod.priority
        {
            known.preempts = pod.preempts;
            return;
        }
        let same = known.uid == pod.uid;
        let Some(known) = self.remove_entry(&pod.key.clone(), now) else { return };
        let pod = match same && held != Some(Hold::Gates) {
            true => Waiting { since: known.since, attempts: known.attempts, told: known.told, ..pod },
            false => pod,
        };
        self.enter(pod, hold);
    }

    /// Divides the pods anew: `is_ours` says which are to be decided about here.
    pub fn divide(&mut self, is_ours: impl Fn(&Waiting) -> bool, now: Instant) {
        let to_hold = |entry: &Entry| entry.place.hold().is_none() && !is_ours(&entry.pod);
        let to_take = |entry: &Entry| entry.place.hold() == Some(Hold::Elsewhere) && is_ours(&entry.pod);
        let moving = |wanted: &dyn Fn(&Entry) -> bool| -> Vec<Key> {
            self.pods.iter().filter(|(_, entry)| wanted(entry)).map(|(key, _)| key.clone()).collect()
        };
        for (keys, hold) in [(moving(&to_hold), Some(Hold::Elsewhere)), (moving(&to_take), None)] {
            let mut pods: Vec<Waiting> = keys.iter().filter_map(|key| self.remove_entry(key, now)).collect();
            pods.sort_by_key(|pod| pod.seen);
            pods.into_iter().for_each(|pod| self.enter(pod, hold));
        }
    }

    /// A pod that waits, and why it is held if it is.
    pub fn find(&self, key: &Key) -> Option<(&Waiting, Option<Hold>)> {
        self.pods.get(key).map(|entry| (&entry.pod, entry.place.hold()))
    }

    /// Takes a pod whose node another replica has chosen. It comes back by [`Queue::give_back`].
    pub fn take_this(&mut self, key: &Key, now: Instant) -> Option<Waiting> {
        self.remove_entry(key, now)
    }

    /// Gives back a pod that is to be decided about at once, or not here.
    pub fn give_back(&mut self, pod: Waiting, hold: Option<Hold>) {
        self.enter(pod, hold);
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

    /// Gives back a pod whose node the binder has refused: what it has seen comes to be seen here in a moment.
    pub fn contend(&mut self, mut pod: Waiting, now: Instant) {
        let pause = CONFLICT_PAUSE.saturating_mul(1 << pod.conflicts.min(CONFLICT_DOUBLINGS));
        pod.conflicts += 1;
        let due = self.refused.add(&pod.key, now + pause, self.arrivals);
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
            active: self.active.len() + self.asked,
            backoff: self.backoff.len() + self.refused.len(),
            blocked: self.blocked.len(),
            gated: self.gated,
            elsewhere: self.elsewhere,
        }
    }

    fn enter(&mut self, pod: Waiting, hold: Option<Hold>) {
        match hold {
            Some(hold) => {
                *self.held(hold) += 1;
                self.insert(pod, Place::Held(hold));
            }
            None => self.activate(pod),
        }
    }

    fn held(&mut self, hold: Hold) -> &mut usize {
        match hold {
            Hold::Gates => &mut self.gated,
            Hold::Elsewhere => &mut self.elsewhere,
            Hold::Asked => &mut self.asked,
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
            Place::Held(hold) => *self.held(hold) -= 1,
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
