//! Which replicas live: each says so on the bus now and then, and nothing of it is stored.
//!
//! One that died without a word would be asked by pods for ever; the others see that it is silent and take it out.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusError, subject};
use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;
use runtime::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// How often a replica says that it lives.
const EVERY: Duration = Duration::from_secs(3);
/// A replica that is silent for so long is dead: several times missed, so that one on a busy machine is not.
pub const SILENCE: Duration = Duration::from_secs(20);

/// When each replica was last heard, on our own clock. Clones share it.
#[derive(Clone, Debug)]
pub struct Replicas {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug)]
struct Heard {
    /// Nobody can be called silent for longer than we listen.
    listening_since: Timestamp,
    at: HashMap<SocketAddrV4, Timestamp>,
}

/// A replica lives.
#[derive(Debug, Serialize, Deserialize)]
struct Alive {
    server: SocketAddrV4,
}

// === impl Replicas ===

impl Replicas {
    /// Nobody was heard yet, and nobody is silent for longer than since `now`.
    pub fn new(now: Timestamp) -> Replicas {
        Replicas { heard: Arc::new(Mutex::new(Heard { listening_since: now, at: HashMap::new() })) }
    }

    /// Whether a replica was silent for too long while we listened.
    pub fn is_dead(&self, server: SocketAddrV4, now: Timestamp) -> bool {
        let heard = self.heard.lock();
        let last = heard.at.get(&server).copied().unwrap_or(heard.listening_since).max(heard.listening_since);
        Duration::try_from(now.duration_since(last)).is_ok_and(|silence| silence > SILENCE)
    }

    /// A replica was heard.
    pub fn hear(&self, server: SocketAddrV4, now: Timestamp) {
        let mut heard = self.heard.lock();
        heard.at.insert(server, now);
        // Those that are long gone need not be known.
        heard
            .at
            .retain(|_, at| Duration::try_from(now.duration_since(*at)).is_ok_and(|age| age <= SILENCE * 2));
    }

    /// We were deaf until now, so the silence before it says nothing.
    pub fn deaf_until(&self, now: Timestamp) {
        self.heard.lock().listening_since = now;
    }
}

/// Speaks for `server` and listens to the others until `shutdown`.
pub async fn listen(bus: &Bus, server: SocketAddrV4, shutdown: Shutdown) -> Result<Replicas, BusError> {
    let replicas = Replicas::new(Timestamp::now());
    let mut messages = bus.subscribe(subject::DNS_ALIVE).await?;
    let (heard, bus) = (replicas.clone(), bus.clone());
    tokio::spawn(async move {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                message = messages.next() => match message.map(|message| message.decode::<Alive>()) {
                    Some(Ok(alive)) => heard.hear(alive.server, Timestamp::now()),
                    Some(Err(error)) => debug!("not a sign of life: {error}"),
                    None => return,
                },
                _ = tick.tick() => {
                    if !bus.is_connected() {
                        heard.deaf_until(Timestamp::now());
                    } else if let Err(error) = bus.publish(subject::DNS_ALIVE, &Alive { server }).await {
                        debug!("cannot say that this server lives: {error}");
                    }
                }
            }
        }
    });
    Ok(replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_the_last_word_but_not_while_we_were_deaf() {
        let at = |seconds| Timestamp::from_second(seconds).expect("a time");
        let server: SocketAddrV4 = "10.88.0.1:53".parse().expect("an address");
        let replicas = Replicas::new(at(0));
        assert!(!replicas.is_dead(server, at(20)), "we listen for too short a time");
        assert!(replicas.is_dead(server, at(21)));
        replicas.hear(server, at(30));
        assert!(!replicas.is_dead(server, at(50)));
        assert!(replicas.is_dead(server, at(51)));
        replicas.deaf_until(at(60));
        assert!(!replicas.is_dead(server, at(70)));
    }
}
