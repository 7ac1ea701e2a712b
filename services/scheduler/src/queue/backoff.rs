//! Pods that pause after an attempt in vain: the longer the more there were.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Key;
use tokio::time::Instant;

/// After the first attempt; upstream's default.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// After many; upstream's default.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// The end of a pause.
pub type Due = (Instant, u64);

#[derive(Debug, Default)]
pub struct Backoff {
    pauses: BTreeMap<Due, Key>,
}

/// How long a pod pauses after so many attempts.
pub fn delay(attempts: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_LONGEST)
}

// === impl Backoff ===

impl Backoff {
    pub fn add(&mut self, key: &Key, until: Instant, arrival: u64) -> Due {
        let due = (until, arrival);
        self.pauses.insert(due, key.clone());
        due
    }

    pub fn pop(&mut self) -> Option<Key> {
        self.pauses.pop_first().map(|(_, key)| key)
    }

    pub fn pop_due(&mut self, now: Instant) -> Option<Key> {
        self.next_due().filter(|due| *due <= now)?;
        self.pop()
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.pauses.first_key_value().map(|((until, _), _)| *until)
    }

    pub fn remove(&mut self, due: &Due) {
        self.pauses.remove(due);
    }

    pub fn len(&self) -> usize {
        self.pauses.len()
    }
}
