//! Services on this node: what is wanted of them becomes elements of the kernel's nftables maps.
//!
//! ```text
//!  observe/attach ── Services, EndpointSlices ──> view ──> rules (pure) ──> diff ──> nft ──> kernel
//!                                                  what has changed    only elements   one transaction
//! ```
//! One table holds everything, in the node's own network namespace. It stays when the agent ends: Services outlive
//! it, and the next agent puts a whole new table in its place in one step.

pub mod cidr;
pub mod conntrack;
pub mod diff;
pub mod nft;
pub mod rules;
pub mod view;

mod metrics;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::node::Wanted;
use runtime::{Condition, Shutdown};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use diff::{Ledger, Stale};
use nft::Ranges;
use view::View;

/// Looks whether the table is still there: a firewall that is loaded anew removes those of others.
const CHECK: Duration = Duration::from_secs(30);
/// After a failure, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// Where the agent's follower tells what is wanted. Clones share it.
#[derive(Clone, Debug)]
pub struct Proxy {
    heard: Arc<Heard>,
}

#[derive(Debug)]
struct Heard {
    view: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug)]
struct Known {
    view: View,
    /// Nothing is carried out before everything was heard once: the table that is there knows better.
    is_complete: bool,
}

/// The loop's own things.
struct Loop {
    proxy: Proxy,
    ranges: Ranges,
    ledger: Ledger,
    readiness: Condition,
    /// The kernel's table is to be made anew.
    start_over: bool,
}

// === impl Proxy ===

impl Proxy {
    /// For the node of this name.
    pub fn new(node: &str) -> Proxy {
        let known = Known { view: View::new(node), is_complete: false };
        Proxy { heard: Arc::new(Heard { view: Mutex::new(known), changed: Notify::new() }) }
    }

    /// This is everything that is wanted.
    pub fn reset(&self, objects: &[Wanted]) {
        let mut known = self.known();
        known.view.reset(objects);
        known.is_complete = true;
        self.heard.changed.notify_one();
    }

    /// This has changed.
    pub fn apply(&self, changes: &[Wanted]) {
        let mut known = self.known();
        for change in changes {
            known.view.apply(change);
        }
        self.heard.changed.notify_one();
    }

    /// Carries out what is heard until `shutdown`.
    pub async fn run(self, ranges: Ranges, readiness: Condition, shutdown: Shutdown) {
        prepare_kernel();
        readiness.set_waiting("no API server has told of Services yet");
        let mut the_loop =
            Loop { proxy: self, ranges, ledger: Ledger::default(), readiness, start_over: true };
        tokio::select! {
            () = the_loop.run() => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.heard.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Loop ===

impl Loop {
    async fn run(&mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match timeout(CHECK, self.proxy.heard.changed.notified()).await {
                Ok(()) => {}
                Err(_) if self.start_over || nft::is_there().await => continue,
                Err(_) => {
                    warn!("the table of Services is gone: it is made anew");
                    self.start_over = true;
                }
            }
            while let Err(error) = self.carry_out().await {
                warn!("Services are not carried out: {error}");
                metrics::FAILURES.inc();
                self.readiness.set_waiting(error.to_string());
                // Whatever the kernel has now, a new table is right.
                self.start_over = true;
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
            pause = PAUSE_FIRST;
        }
    }

    /// Brings the kernel up to what was heard.
    async fn carry_out(&mut self) -> Result<(), nft::NftError> {
        if !self.take_changes() {
            return Ok(());
        }
        if self.start_over {
            self.ledger.start_over();
        }
        let changes = self.ledger.changes();
        let text = match self.start_over {
            true => nft::new_table(&self.ranges, &changes),
            false if changes.is_empty() => return Ok(()),
            false => nft::change(&changes),
        };
        let began = Instant::now();
        nft::run(text).await?;
        metrics::SYNC_SECONDS.observe(began.elapsed().as_secs_f64());
        self.ledger.installed(&changes);
        let (services, elements) = self.ledger.sizes();
        metrics::SERVICES.set(i64::try_from(services).unwrap_or(i64::MAX));
        metrics::ELEMENTS.set(i64::try_from(elements).unwrap_or(i64::MAX));
        let (added, removed) = (changes.added.len(), changes.removed.len());
        match self.start_over {
            true => info!(services, elements, took = ?began.elapsed(), "Services are carried out"),
            false => debug!(added, removed, took = ?began.elapsed(), "Services changed"),
        }
        self.start_over = false;
        self.readiness.set_ready();
        end_flows(self.ledger.stale(&changes));
        Ok(())
    }

    /// Takes what was heard into the ledger; false while not everything was heard once.
    fn take_changes(&mut self) -> bool {
        let mut known = self.proxy.known();
        if !known.is_complete {
            return false;
        }
        for name in known.view.take_changed() {
            let elements = known.view.service(&name);
            let elements = elements.map(|(service, slices)| rules::elements(service, &slices));
            self.ledger.set(&name, elements.unwrap_or_default());
        }
        true
    }
}

/// Beside the loop: a machine may know many flows.
fn end_flows(stale: Vec<Stale>) {
    if stale.is_empty() {
        return;
    }
    tokio::task::spawn_blocking(move || match conntrack::end(&stale) {
        Ok(ended) => debug!(ended, "ended flows to endpoints that are gone"),
        Err(error) => warn!("flows to endpoints that are gone go on: {error}"),
    });
}

/// Packets for others are sent on, and answers to a node port that was asked from this machine by its loopback
/// address are let in. What others send to that address stays outside: see the table's chain `to-node`.
fn prepare_kernel() {
    const SETTINGS: [&str; 2] =
        ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/route_localnet"];
    for path in SETTINGS {
        if std::fs::read(path).is_ok_and(|value| value.starts_with(b"1")) {
            continue;
        }
        if let Err(error) = std::fs::write(path, "1") {
            warn!("cannot set {path}, so not every Service may be reached: {error}");
        }
    }
}
