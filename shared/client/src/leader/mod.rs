//! One of several replicas leads: it acts, the others stand by.
//!
//! ```text
//!  beats, probes, answers ──> candidate (pure: who leads, who lives) ──> Standing ──> controllers, scheduler
//!                                 │ look, take, probe, tell                │ its guard goes with every write
//!                                 v                                        v
//!                             campaign ── cmd.lead, lead.<role>        API servers: no guard, no effect
//! ```
//! Clocks and lost messages decide when somebody takes over, never whether a write counts: that is decided by the log,
//! where each write of a leader carries a guard on its fence. So two that believe to lead do no harm.

mod campaign;
mod candidate;

use std::collections::BTreeSet;
use std::sync::Arc;

use bus::command::Guard;
use model::{Class, Revision};
use tokio::sync::{Notify, watch};

pub use campaign::Campaign;

/// What a replica stands for.
#[derive(Clone, Debug)]
pub struct Role {
    /// As `replica-controller`: the name of the Lease.
    pub name: &'static str,
    /// Who asks the API servers, as `system:kube-controller-manager`.
    pub user: &'static str,
    /// The classes that whoever leads writes; the fence in the first says who leads.
    pub classes: &'static [Class],
    /// Replicas of one group share work among them; empty where only the leader works.
    pub group: String,
}

/// Who leads and who lives, as this replica knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// This replica.
    pub me: String,
    /// Who leads, if that is known.
    pub leader: Option<Leader>,
    /// What goes with our writes, if it is us.
    pub guard: Option<Arc<Guard>>,
    /// The living replicas of our group, with us.
    pub members: Arc<BTreeSet<String>>,
}

/// A replica that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The replica.
    pub holder: String,
    /// A view that has passed this revision shows everything that earlier leaders have done.
    pub since: Revision,
}

/// The way to hear of it. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    doubt: Arc<Notify>,
}

// === impl Role ===

impl Role {
    /// A service of controllers. People know all of them as upstream's one process.
    pub fn of_controllers(name: &'static str, classes: &'static [Class]) -> Self {
        Role { name, user: "system:kube-controller-manager", classes, group: String::new() }
    }
}

// === impl Standing ===

impl Standing {
    /// Whether it is us who leads.
    pub fn leads(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.holder == self.me)
    }
}

// === impl Leadership ===

impl Leadership {
    /// Where there is only one, or all may act: it leads for ever, and its writes carry no guard.
    pub fn sole() -> Self {
        let leader = Leader { holder: String::new(), since: Revision::ZERO };
        let standing = Standing { leader: Some(leader), ..Standing::default() };
        Leadership { standing: watch::channel(standing).1, doubt: Arc::new(Notify::new()) }
    }

    /// Who leads now.
    pub fn standing(&mut self) -> Standing {
        self.standing.borrow_and_update().clone()
    }

    /// Waits for the next change; for ever where there will be none. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// A write of ours was refused for its guard: somebody else must lead.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }
}
