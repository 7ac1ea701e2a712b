//! What every connection of the server shares.

use std::sync::{Arc, OnceLock};

use runtime::{Readiness, Shutdown};

use super::limits::Limits;
use crate::discovery::documents::Documents;
use crate::registry::Registry;
use crate::streams::Streams;

/// The server while it runs. It answers from the start; what needs objects is refused until there is a registry.
#[derive(Debug)]
pub struct State {
    registry: OnceLock<Arc<Registry>>,
    streams: Option<Streams>,
    /// What `/readyz` waits for.
    pub readiness: Readiness,
    /// Ends watches and streams.
    pub shutdown: Shutdown,
    /// Discovery and OpenAPI.
    pub documents: Documents,
    /// How much is served at once.
    pub limits: Limits,
}

// === impl State ===

impl State {
    /// A server that has no objects yet. Without `streams` nothing comes from the nodes.
    pub fn new(readiness: Readiness, shutdown: Shutdown, streams: Option<Streams>) -> State {
        State {
            registry: OnceLock::new(),
            streams,
            readiness,
            shutdown,
            documents: Documents::default(),
            limits: Limits::default(),
        }
    }

    /// From now on objects are served. Only the first registry counts.
    pub fn open(&self, registry: Arc<Registry>) {
        // A second one is never made: whoever opens does so once.
        let _ = self.registry.set(registry);
    }

    /// The registry, once the store follows the log.
    pub fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.get()
    }

    /// The way to the nodes, where there is one.
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.as_ref()
    }
}
