//! Who is to be woken by which change, and whether somebody who slept missed one.
//!
//! A topic is a prefix that ends in a slash (or is empty): `core/pods/`, `core/pods/default/`. It remembers which
//! batches of the history concerned it, so that a watcher of a quiet prefix, who was not woken while old batches were
//! evicted, is not taken for one who was too slow.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;
use tokio::sync::watch;

use crate::history::{Batch, History};

/// Topics by prefix.
#[derive(Default)]
pub(crate) struct Topics(HashMap<Box<str>, watch::Sender<Touched>, FixedState>);

/// The batches that concerned a topic, by number.
#[derive(Debug)]
pub(crate) struct Touched {
    /// One more than the newest.
    pub end: u64,
    /// Runs of them, first and last number, oldest first.
    runs: VecDeque<(u64, u64)>,
    /// One more than the newest that was evicted from the history and from `runs`.
    lost: u64,
}

/// Batches closer than this are one run, so that a topic remembers little. A watcher that sleeps within a run while
/// its beginning is evicted counts as too slow, which takes a history shorter than this.
const CLOSE: u64 = 64;

// === impl Topics ===

impl Topics {
    /// The topic for a watch of `prefix`, when the history ends at `end`.
    ///
    /// What happened before a topic existed is not known, so it begins as if all of it had concerned it.
    pub fn subscribe(&mut self, prefix: &str, end: u64) -> watch::Receiver<Touched> {
        self.0.retain(|_, topic| topic.receiver_count() > 0);
        let begin = || watch::Sender::new(Touched { end, runs: VecDeque::new(), lost: end });
        self.0.entry(topic_of(prefix).into()).or_insert_with(begin).subscribe()
    }

    /// Wakes the watchers of a batch that was just added to the history.
    pub fn touch(&mut self, history: &History, batch: &Batch) {
        if self.0.is_empty() {
            return;
        }
        let number = history.end() - 1;
        let mut namespace = None;
        for change in &batch.changes {
            let key = change.key().as_str();
            if namespace.replace(topic_of(key)) == Some(topic_of(key)) {
                continue;
            }
            let slashes = key.match_indices('/').take(3).map(|(at, _)| at + 1);
            for length in std::iter::once(0).chain(slashes) {
                if let Some(topic) = self.0.get(&key[..length]) {
                    topic.send_modify(|touched| touched.note(number, history.front()));
                }
            }
        }
    }

    /// Wakes every watcher and tells it that it missed something.
    pub fn touch_all(&mut self, end: u64) {
        for topic in self.0.values() {
            topic.send_modify(|touched| (touched.end, touched.lost) = (end, end));
        }
    }
}

// === impl Touched ===

impl Touched {
    fn note(&mut self, number: u64, front: u64) {
        self.end = number + 1;
        while let Some((_, last)) = self.runs.pop_front_if(|(_, last)| *last < front) {
            self.lost = last + 1;
        }
        match self.runs.back_mut() {
            Some((_, last)) if number <= *last + CLOSE => *last = number,
            _ => self.runs.push_back((number, number)),
        }
    }

    /// Whether one of them has a number from `cursor` on and is no longer in the history that begins at `front`.
    pub fn missed(&self, cursor: u64, front: u64) -> bool {
        let mut gone = self.runs.iter().take_while(|(first, _)| *first < front);
        cursor < front && (self.lost > cursor || gone.any(|(_, last)| *last.min(&(front - 1)) >= cursor))
    }
}

/// The longest topic that every key with this prefix touches.
fn topic_of(prefix: &str) -> &str {
    let end = prefix.match_indices('/').take(3).last().map_or(0, |(at, _)| at + 1);
    &prefix[..end]
}
