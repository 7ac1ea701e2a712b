//! Hollow nodes: the real node agent, each with a connection of its own to the bus, on a machine that pretends.

use anyhow::Result;
use bus::Bus;
use futures::{StreamExt, TryStreamExt};
use runtime::{Readiness, Shutdown};
use tokio::task::JoinSet;

/// Agents that connect at a time: enough to be quick, few enough that none waits for longer than a request may take.
const AT_ONCE: usize = 32;

/// Agents that run until they are dropped.
pub struct Nodes {
    shutdown: Shutdown,
    _agents: JoinSet<()>,
}

// === impl Nodes ===

impl Nodes {
    /// Starts `count` agents, named as [`name`] says.
    pub async fn start(url: &str, count: u16) -> Result<Self> {
        let connecting = futures::stream::iter(0..count)
            .map(|number| async move {
                let config = bus::Config::new(url, &format!("node-agent/{}", name(number)));
                Bus::connect(&config).await.map(|bus| (number, bus))
            })
            .buffer_unordered(AT_ONCE);
        let shutdown = Shutdown::new();
        let mut agents = JoinSet::new();
        let mut connected = Box::pin(connecting);
        while let Some((number, bus)) = connected.try_next().await? {
            let agent = node_agent::hollow(bus, &name(number), number, Readiness::new());
            agents.spawn(agent.run(shutdown.clone()));
        }
        Ok(Nodes { shutdown, _agents: agents })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The name of a node by its number.
pub fn name(number: u16) -> String {
    format!("hollow-{number:05}")
}
