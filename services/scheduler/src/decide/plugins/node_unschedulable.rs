//! Nodes that were cordoned off take no pods but those that tolerate it.

use placement::taint::UNSCHEDULABLE;
use placement::{Effect, Taint};

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::{NodeId, Nodes, Shape};

/// What users read.
pub const REASON: &str = "node(s) were unschedulable";

/// Prepared for a pod.
pub struct Filter<'a> {
    cordoned: &'a [bool],
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// `None` if no node is cordoned off, or the pod does not mind.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Option<Self> {
        let cordoned = nodes.unschedulable()?;
        let taint = Taint { key: UNSCHEDULABLE.to_owned(), value: String::new(), effect: Effect::NoSchedule };
        (!placement::tolerated(&shape.tolerations, &taint)).then_some(Filter { cordoned })
    }

    /// Whether the node is open.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        match self.cordoned[node.index()] {
            true => Err(Refusal::for_good(Plugin::NodeUnschedulable)),
            false => Ok(()),
        }
    }
}
