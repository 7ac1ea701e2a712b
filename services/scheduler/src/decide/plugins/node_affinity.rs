//! Labels, and names, that a pod asks of its node, or wishes.
//!
//! What an affinity says of each node is kept as a bit and a number a node while pods with it come
//! ([`Nodes::prepare`]), so the inner loop compares no text.

use std::sync::Arc;

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::nodes::Match;
use crate::observe::{NodeAffinity, NodeId, Nodes, Shape};

/// What users read.
pub const REASON: &str = "node(s) didn't match Pod's node affinity/selector";
/// What they read of nodes that are not among those that the pod names.
pub const NOT_NAMED: &str = "node(s) didn't satisfy plugin(s) [NodeAffinity]";

/// Prepared for a pod.
pub struct Filter<'a> {
    nodes: &'a Nodes,
    affinity: &'a Arc<NodeAffinity>,
    known: Option<&'a Match>,
}

/// Prepared for a pod.
pub struct Scorer<'a> {
    nodes: &'a Nodes,
    affinity: &'a Arc<NodeAffinity>,
    known: Option<&'a Match>,
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// `None` if the pod asks for nothing.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Option<Self> {
        let affinity = shape.affinity.as_ref()?;
        let asks = !affinity.selector.is_empty() || affinity.required.is_some();
        asks.then(|| Filter { nodes, affinity, known: nodes.matches(affinity) })
    }

    /// Whether the node is what the pod asks for.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        let admitted = match self.known {
            Some(known) => known.admitted.has(node),
            None => self.nodes.admits(self.affinity, node),
        };
        if admitted { Ok(()) } else { Err(Refusal::for_good(Plugin::NodeAffinity)) }
    }

    /// The names of the only nodes that can be meant, if the pod names them.
    pub fn pinned(&self) -> Option<Vec<&str>> {
        self.affinity.pinned()
    }
}

// === impl Scorer ===

impl<'a> Scorer<'a> {
    /// `None` if the pod wishes nothing.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Option<Self> {
        let affinity = shape.affinity.as_ref().filter(|affinity| !affinity.preferred.is_empty())?;
        Some(Scorer { nodes, affinity, known: nodes.matches(affinity) })
    }

    /// The weights of the wishes that the node fulfils.
    #[inline]
    pub fn fulfilled(&self, node: NodeId) -> i64 {
        match self.known {
            Some(known) => known.preference.get(node.index()).copied().unwrap_or(0),
            None => self.nodes.preference(self.affinity, node),
        }
    }
}
