//! Nodes that schedulers propose for pods, to the one of them that binds.
//!
//! ```text
//!  scheduler ── sched.propose.<binder>  Proposals ──> binder: each judged on its node, against the newest state
//!            <─ Answers ──────────────────────────── when what holds is committed
//! ```

use model::Status;
use serde::{Deserialize, Serialize};

/// Proposals in one request at most: a frame of well under 256 KB, and answers that come back in a steady stream.
pub const PROPOSALS_MAX: usize = 500;

/// What one scheduler proposes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proposals {
    /// The scheduler that asks.
    pub from: String,
    /// The term of the binder that is asked; another one refuses.
    pub term: u64,
    /// In order.
    pub items: Vec<Proposal>,
}

/// A node for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// The revision of the pod that was decided about. A binder whose view has not come so far waits for it.
    pub seen: u64,
    /// The node.
    pub node: String,
}

/// The answer to [`Proposals`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// One for each proposal, in their order.
    pub answers: Vec<Answer>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The pod has its node.
    Bound,
    /// It does not hold, and has no effect.
    Refused {
        /// Who refuses: a plugin, as `NodeResourcesFit`, or what is wrong, as `node-gone`.
        by: String,
    },
    /// It may have been carried out, or may still be.
    Unknown(Status),
}
