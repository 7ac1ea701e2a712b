//! The pod network of this node: its own range of addresses becomes a configuration for CNI plugins, the ranges of
//! the other nodes become routes.
//!
//! ```text
//!  observe/attach ── Nodes ──> view (pure) ──┬─ own range ──> cni: the file that containerd waits for
//!                                            └─ the others ─> routes: "to their pods by way of their address"
//! ```
//! Nodes that share a segment reach each other so without any tunnel. Absent on purpose: a way to nodes of other
//! segments; a network between them has routes of its own.

pub mod cni;
pub mod routes;
pub mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::node::Wanted;
use runtime::Shutdown;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::proxy::cidr::Cidr;
use view::View;

/// Looks whether the routes are still there: an interface that goes down takes them along.
const CHECK: Duration = Duration::from_secs(60);
/// After a failure, doubled up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// Where the configuration for CNI plugins goes.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// The folder that containerd looks into.
    pub folder: PathBuf,
    /// Where the plugin that gives out addresses notes them.
    pub leases: PathBuf,
}

/// Where the agent's follower tells of nodes. Clones share it.
#[derive(Clone, Debug)]
pub struct Network {
    heard: Arc<Heard>,
}

#[derive(Debug)]
struct Heard {
    /// `None` before everything was heard once: routes that are there know better.
    view: Mutex<Option<View>>,
    node: String,
    changed: Notify,
}

// === impl Network ===

impl Network {
    /// For the node of this name.
    pub fn new(node: &str) -> Network {
        let heard = Heard { view: Mutex::new(None), node: node.to_owned(), changed: Notify::new() };
        Network { heard: Arc::new(heard) }
    }

    /// These are all nodes.
    pub fn reset(&self, objects: &[Wanted]) {
        let mut view = View::new(&self.heard.node);
        for object in objects {
            view.apply(object);
        }
        *self.view() = Some(view);
        self.heard.changed.notify_one();
    }

    /// This has changed.
    pub fn apply(&self, changes: &[Wanted]) {
        let mut view = self.view();
        let changed =
            view.iter_mut().any(|view| changes.iter().filter(|change| view.apply(change)).count() > 0);
        if changed {
            self.heard.changed.notify_one();
        }
    }

    /// Carries out what is heard until `shutdown`. Without `plugins` somebody else configures them.
    pub async fn run(self, plugins: Option<Plugins>, shutdown: Shutdown) {
        tokio::select! {
            () = self.follow(plugins.as_ref()) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow(&self, plugins: Option<&Plugins>) {
        let mut pause = PAUSE_FIRST;
        loop {
            // A check finds nothing to do, as a rule.
            let _ = timeout(CHECK, self.heard.changed.notified()).await;
            while let Err(error) = self.carry_out(plugins).await {
                warn!("the pod network is not complete: {error}");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
            pause = PAUSE_FIRST;
        }
    }

    async fn carry_out(&self, plugins: Option<&Plugins>) -> std::io::Result<()> {
        let (own, wanted) = match self.view().as_ref() {
            Some(view) => (view.own_range(), view.routes()),
            None => return Ok(()),
        };
        if let (Some(range), Some(plugins)) = (own, plugins) {
            configure(range, plugins)?;
        }
        routes::bring_up(&wanted).await
    }

    fn view(&self) -> MutexGuard<'_, Option<View>> {
        self.heard.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configure(range: Cidr, plugins: &Plugins) -> std::io::Result<()> {
    if cni::write(&plugins.folder, &cni::conflist(&range.to_string(), &plugins.leases))? {
        info!(%range, "pods of this node have addresses of this range");
    }
    Ok(())
}
