//! What every connection of the server shares.

use std::sync::{Arc, OnceLock};

use bus::Bus;
use runtime::{Readiness, Shutdown};

use super::limits::Limits;
use crate::discovery::documents::Documents;
use crate::registry::Registry;

/// The server while it runs. It answers from the start; what needs objects is refused until there is a registry.
#[derive(Debug)]
pub struct State {
    registry: OnceLock<Arc<Registry>>,
    bus: Option<Bus>,
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
    /// A server that has no objects yet. Without a bus nothing can be streamed from nodes.
    pub fn new(readiness: Readiness, shutdown: Shutdown, bus: Option<Bus>) -> State {
        State {
            registry: OnceLock::new(),
            bus,
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

    /// The bus, where there is one.
    pub fn bus(&self) -> Option<&Bus> {
        self.bus.as_ref()
    }
}
