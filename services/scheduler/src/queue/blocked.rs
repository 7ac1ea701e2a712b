//! Pods that suit no node, by shape: what could unblock one could unblock all of its group.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use model::Key;
use tokio::time::Instant;

use super::Waiting;
use crate::observe::Shape;

/// A blocked pod's place.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    priority: i32,
    arrival: u64,
    since: Instant,
}

/// Equal pods in the order in which they are woken: by priority, and among equals by arrival.
type Group = BTreeMap<(Reverse<i32>, u64), (Key, Ticket)>;

#[derive(Debug, Default)]
pub struct Blocked {
    groups: HashMap<Shape, Group>,
    by_age: BTreeMap<(Instant, u64), Key>,
}

// === impl Blocked ===

impl Blocked {
    pub fn add(&mut self, pod: &Waiting, arrival: u64, now: Instant) -> Ticket {
        let ticket = Ticket { priority: pod.priority, arrival, since: now };
        let group = self.groups.entry(pod.shape.clone()).or_default();
        group.insert(ticket.rank(), (pod.key.clone(), ticket));
        self.by_age.insert((now, arrival), pod.key.clone());
        ticket
    }

    pub fn remove(&mut self, shape: &Shape, ticket: &Ticket) {
        self.by_age.remove(&(ticket.since, ticket.arrival));
        if let Some(group) = self.groups.get_mut(shape) {
            group.remove(&ticket.rank());
            if group.is_empty() {
                self.groups.remove(shape);
            }
        }
    }

    /// The groups that `suits` is true of.
    pub fn groups(&self, mut suits: impl FnMut(&Shape) -> bool) -> Vec<Shape> {
        self.groups.keys().filter(|shape| suits(shape)).cloned().collect()
    }

    /// The first of a group, by priority and age.
    pub fn first(&self, shape: &Shape, count: usize) -> Vec<(Key, Ticket)> {
        self.groups.get(shape).into_iter().flat_map(BTreeMap::values).take(count).cloned().collect()
    }

    pub fn oldest(&self) -> Option<Instant> {
        self.by_age.first_key_value().map(|((since, _), _)| *since)
    }

    pub fn oldest_key(&self) -> Option<Key> {
        self.by_age.first_key_value().map(|(_, key)| key.clone())
    }

    pub fn len(&self) -> usize {
        self.by_age.len()
    }
}

// === impl Ticket ===

impl Ticket {
    /// Since when the pod is blocked.
    pub fn since(&self) -> Instant {
        self.since
    }

    fn rank(&self) -> (Reverse<i32>, u64) {
        (Reverse(self.priority), self.arrival)
    }
}
