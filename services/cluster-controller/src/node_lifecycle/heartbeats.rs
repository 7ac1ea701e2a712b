//! When each node was last heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::node::Heartbeat;
use bus::{Bus, BusError, subject};
use k8s_openapi::jiff::Timestamp;
use runtime::Shutdown;
use tracing::debug;

/// The last time that each node was heard, on our own clock. Clones share it.
#[derive(Clone, Debug)]
pub struct Heartbeats {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug)]
struct Heard {
    /// Nobody can be called silent for longer than we listen.
    listening_since: Timestamp,
    at: HashMap<String, Timestamp>,
}

// === impl Heartbeats ===

impl Heartbeats {
    /// Nothing was heard yet, and nobody is silent for longer than since `now`.
    pub fn new(now: Timestamp) -> Self {
        Heartbeats { heard: Arc::new(Mutex::new(Heard { listening_since: now, at: HashMap::new() })) }
    }

    /// A node was heard.
    pub fn hear(&self, node: &str, now: Timestamp) {
        self.lock().at.insert(node.to_owned(), now);
    }

    /// We were deaf until now, so the silence before it says nothing.
    pub fn deaf_until(&self, now: Timestamp) {
        self.lock().listening_since = now;
    }

    /// The node is gone.
    pub fn forget(&self, node: &str) {
        self.lock().at.remove(node);
    }

    /// For how long a node was silent while we listened.
    pub fn silence(&self, node: &str, now: Timestamp) -> Duration {
        let heard = self.lock();
        let since =
            heard.at.get(node).copied().map_or(heard.listening_since, |at| at.max(heard.listening_since));
        now.duration_since(since).try_into().unwrap_or(Duration::ZERO)
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens until `shutdown`.
pub async fn listen(bus: &Bus, shutdown: Shutdown) -> Result<Heartbeats, BusError> {
    let heartbeats = Heartbeats::new(Timestamp::now());
    let mut messages = bus.subscribe(subject::HEARTBEAT_ALL).await?;
    let (told, bus) = (heartbeats.clone(), bus.clone());
    tokio::spawn(async move {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    // The subject says whose it is, which the bus lets nobody else use.
                    Some(message) => match message.decode::<Heartbeat>() {
                        Ok(_) => told.hear(&subject::node_of(message.subject()), Timestamp::now()),
                        Err(error) => debug!("not a heartbeat: {error}"),
                    },
                    None => return,
                },
                _ = look.tick() => if !bus.is_connected() { told.deaf_until(Timestamp::now()) },
                () = shutdown.cancelled() => return,
            }
        }
    });
    Ok(heartbeats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_heartbeat_but_not_while_we_were_deaf() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let heartbeats = Heartbeats::new(at(0));
        heartbeats.hear("a", at(10));
        assert_eq!(heartbeats.silence("a", at(15)), Duration::from_secs(5));
        assert_eq!(heartbeats.silence("never-heard", at(15)), Duration::from_secs(15));
        heartbeats.deaf_until(at(100));
        assert_eq!(heartbeats.silence("a", at(101)), Duration::from_secs(1));
    }
}
