//! Pods that are next: by priority, and among equals by arrival.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use model::Key;

use super::Waiting;

/// A place in the line.
pub type Rank = (Reverse<i32>, u64);

#[derive(Debug, Default)]
pub struct Active {
    line: BTreeMap<Rank, Key>,
}

// === impl Active ===

impl Active {
    pub fn add(&mut self, pod: &Waiting, arrival: u64) -> Rank {
        let rank = (Reverse(pod.priority), arrival);
        self.line.insert(rank, pod.key.clone());
        rank
    }

    pub fn pop(&mut self) -> Option<Key> {
        self.line.pop_first().map(|(_, key)| key)
    }

    pub fn remove(&mut self, rank: &Rank) {
        self.line.remove(rank);
    }

    pub fn len(&self) -> usize {
        self.line.len()
    }
}
