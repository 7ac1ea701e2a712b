//! Who is to be woken by which change.
//!
//! A topic is a prefix that ends in a slash (or is empty): `core/pods/`, `core/pods/default/`. It holds the number of
//! the newest batch of changes that touched it, which tells a watcher that slept through the eviction of old batches
//! whether one of them was for it.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use tokio::sync::watch;

use crate::item::Change;

/// Topics by prefix. Each holds one more than the number of the newest batch that concerned it.
#[derive(Default)]
pub(crate) struct Topics(HashMap<Box<str>, watch::Sender<u64>, FixedState>);

impl Topics {
    /// The topic for a watch of `prefix`, when the history ends at `end`.
    ///
    /// What happened before a topic existed is not known, so it begins as if all of it concerned it.
    pub fn subscribe(&mut self, prefix: &str, end: u64) -> watch::Receiver<u64> {
        self.0.retain(|_, topic| topic.receiver_count() > 0);
        let topic = self.0.entry(topic_of(prefix).into()).or_insert_with(|| watch::Sender::new(end));
        topic.subscribe()
    }

    /// Wakes the watchers of these changes.
    pub fn touch(&mut self, end: u64, changes: &[Change]) {
        if self.0.is_empty() {
            return;
        }
        let mut namespace = None;
        for change in changes {
            let key = change.key().as_str();
            if namespace.replace(topic_of(key)) == Some(topic_of(key)) {
                continue;
            }
            let slashes = key.match_indices('/').take(3).map(|(at, _)| at + 1);
            for length in std::iter::once(0).chain(slashes) {
                if let Some(topic) = self.0.get(&key[..length]) {
                    topic.send_replace(end);
                }
            }
        }
    }

    /// Wakes every watcher.
    pub fn touch_all(&mut self, end: u64) {
        for topic in self.0.values() {
            topic.send_replace(end);
        }
    }
}

/// The longest topic that every key with this prefix touches.
fn topic_of(prefix: &str) -> &str {
    let end = prefix.match_indices('/').take(3).last().map_or(0, |(at, _)| at + 1);
    &prefix[..end]
}
