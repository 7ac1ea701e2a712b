//! Who leads: what the replicas of a role say to each other, and ask of the API servers.
//!
//! ```text
//!  replica ── lead.<role>  Beat ────────> the other replicas; API servers, who show it as a Lease
//!          <─ lead.<role>.<replica> ───── a probe, answered with a Beat; when nobody hears it, the replica is gone
//!          ── cmd.lead  Ask ────────────> API servers: who leads, let me lead, I do not lead any more
//! ```
//! Who leads is what the log says: the fence of the role, a key in the class that it guards. Beats renew nothing there;
//! they only tell the others that there is no need to take over.

use model::{Class, Status};
use serde::{Deserialize, Serialize};

/// How often a replica says that it lives, in seconds.
pub const BEAT_SECONDS: u64 = 2;
/// A leader that is silent for so long, in seconds, has its role taken over.
pub const SILENCE_SECONDS: u64 = 6;

/// A replica lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The replica.
    pub holder: String,
    /// Those who share work among them are of one group; empty where only the leader works.
    #[serde(default)]
    pub group: String,
    /// The revision of its fence, if it leads.
    pub term: Option<u64>,
    /// It ends.
    #[serde(default)]
    pub leaving: bool,
    /// It is new, and would like to hear of the others.
    #[serde(default)]
    pub asks: bool,
}

/// A replica asks an API server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Who asks, as `system:kube-scheduler`: it must be allowed to update the role's Lease.
    pub user: String,
    /// Milliseconds since 1970 after which nobody waits for the answer any more.
    pub deadline_ms: u64,
    /// The role.
    pub role: String,
    /// The classes that whoever leads may write. The fence in the first says who leads.
    pub classes: Vec<Class>,
    /// What for.
    pub act: Act,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Who leads?
    Look,
    /// Let this replica lead, if nobody has taken over since.
    Take {
        /// The replica.
        holder: String,
        /// The term that it takes over: 0 where nobody has led yet.
        over: u64,
    },
    /// Nobody leads from now on, if this is the term still.
    Release {
        /// The term that ends.
        term: u64,
    },
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Who leads, or why nobody can say.
    pub reply: Result<Standing, Status>,
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The replica; empty when nobody does.
    pub holder: String,
    /// The revision of the fence in the first class; 0 if there is none yet.
    pub term: u64,
    /// The answer to a [`Act::Take`] that took: the fence in each class.
    pub fences: Vec<(Class, u64)>,
}
