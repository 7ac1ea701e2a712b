//! Whether a proposal still holds: the pod's own filters on the chosen node, against what is known now. Pure.

use crate::decide::Refusal;
use crate::decide::framework::Filters;
use crate::observe::{NodeId, Shape, View};

/// Why a proposal does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The node is gone.
    NodeGone,
    /// A filter refuses.
    Refused(Refusal),
}

// === impl Objection ===

impl Objection {
    /// One word for metrics and for whoever proposed it.
    pub fn word(self) -> &'static str {
        match self {
            Objection::NodeGone => "node-gone",
            Objection::Refused(refusal) => refusal.plugin.name(),
        }
    }
}

/// Judges a proposal. The view includes what was accepted before and is not seen yet.
pub fn verify(view: &View, shape: &Shape, node: NodeId) -> Result<(), Objection> {
    if !view.nodes().is_live(node) {
        return Err(Objection::NodeGone);
    }
    Filters::prepare(view.nodes(), shape).check(node).map_err(Objection::Refused)
}
