//! When each node was last heard of: kept in memory, never written.

use std::collections::HashMap;
use std::sync::RwLock;

use jiff::Timestamp;

/// The last word of each node's agent.
#[derive(Debug, Default)]
pub struct Heartbeats(RwLock<HashMap<String, Beat>>);

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When it came in, on this server's clock.
    pub received: Timestamp,
    /// The session that the agent follows, empty while it has none.
    pub session: String,
}

// === impl Heartbeats ===

impl Heartbeats {
    /// Notes a sign of life.
    pub fn note(&self, node: &str, beat: Beat) {
        let mut beats = self.0.write().expect("nobody panics while holding the heartbeats");
        beats.insert(node.to_owned(), beat);
    }

    /// The last sign of life of a node.
    pub fn last(&self, node: &str) -> Option<Beat> {
        self.0.read().expect("nobody panics while holding the heartbeats").get(node).cloned()
    }

    /// Forgets nodes that were not heard of since `before`, so that names which never come back do not pile up.
    pub fn forget_before(&self, before: Timestamp) {
        let mut beats = self.0.write().expect("nobody panics while holding the heartbeats");
        beats.retain(|_, beat| beat.received >= before);
    }
}
