//! Keys that wait to be decided: each once, in order, and after failures later and later.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// After the first failure; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
/// As long as a person would wait before they look.
const BACKOFF_LATEST: Duration = Duration::from_secs(60);

/// A work queue. Pure: the caller says what time it is.
///
/// A key is in one of: ready (in order of arrival), delayed (until a time), or taken. One that is added while it is
/// taken becomes ready when it is given back, so that two workers never hold the same key.
#[derive(Debug)]
pub struct WorkQueue<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    taken: HashSet<K>,
    again: HashSet<K>,
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    delays: u64,
    failures: HashMap<K, u32>,
}

impl<K> Default for WorkQueue<K> {
    fn default() -> Self {
        WorkQueue {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            taken: HashSet::new(),
            again: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            delays: 0,
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Adds a key, unless it waits already.
    pub fn add(&mut self, key: K) {
        if self.taken.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Adds a key at a later time. It waits once, for the earliest: whoever decides then will say when next.
    pub fn add_at(&mut self, key: K, when: Instant) {
        if let Some(due) = self.due.get(&key) {
            if due.0 <= when {
                return;
            }
            self.delayed.remove(due);
        }
        self.delays += 1;
        self.due.insert(key.clone(), (when, self.delays));
        self.delayed.insert((when, self.delays), key);
    }

    /// Takes the next key. It is ours until [`WorkQueue::done`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.taken.insert(key.clone());
        Some(key)
    }

    /// Gives a key back; it becomes ready at once if it was added in the meantime.
    pub fn done(&mut self, key: &K) {
        self.taken.remove(key);
        if let Some(key) = self.again.take(key) {
            self.add(key);
        }
    }

    /// Adds a key again later, the later the more often it has failed.
    pub fn retry(&mut self, key: K, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(20)).min(BACKOFF_LATEST);
        *failures += 1;
        self.add_at(key, now + delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Forgets the keys that are ready.
    pub fn clear_ready(&mut self) {
        self.ready.clear();
        self.waiting.clear();
    }

    /// When the next delayed key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((when, _), _)| *when)
    }

    /// Whether a key is ready now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Keys that are ready.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(keys: &[&'static str]) -> WorkQueue<&'static str> {
        let mut queue = WorkQueue::default();
        keys.iter().for_each(|key| queue.add(*key));
        queue
    }

    #[test]
    fn a_key_waits_once_and_keys_leave_in_the_order_of_arrival() {
        let now = Instant::now();
        let mut queue = queue(&["a", "b", "a"]);
        assert_eq!((queue.take(now), queue.take(now), queue.take(now)), (Some("a"), Some("b"), None));
    }

    #[test]
    fn a_key_added_while_it_is_taken_comes_back_when_it_is_done() {
        let now = Instant::now();
        let mut queue = queue(&["a"]);
        queue.take(now);
        queue.add("a");
        assert_eq!(queue.take(now), None);
        queue.done(&"a");
        assert_eq!(queue.take(now), Some("a"));
    }

    #[test]
    fn a_delayed_key_waits_once_for_the_earliest_time() {
        let now = Instant::now();
        let mut queue = WorkQueue::default();
        for seconds in [3, 1, 2] {
            queue.add_at("a", now + Duration::from_secs(seconds));
        }
        let due = now + Duration::from_secs(1);
        assert_eq!((queue.next_due(), queue.take(due)), (Some(due), Some("a")));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn failures_double_the_delay_until_they_are_forgotten() {
        let now = Instant::now();
        let mut queue = WorkQueue::default();
        let delays: Vec<u128> = (0..3)
            .map(|_| {
                queue.retry("a", now);
                let due = queue.next_due().expect("it is delayed");
                assert_eq!(queue.take(due), Some("a"));
                queue.done(&"a");
                (due - now).as_millis()
            })
            .collect();
        assert_eq!(delays, [5, 10, 20]);
        queue.forget(&"a");
        queue.retry("a", now);
        assert_eq!(queue.next_due(), Some(now + Duration::from_millis(5)));
    }
}
