//! A port of the node can be had once.

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::{HostPort, NodeId, Nodes, Shape};

/// What users read.
pub const REASON: &str = "node(s) didn't have free ports for the requested pod ports";

/// Prepared for a pod.
pub struct Filter<'a> {
    nodes: &'a Nodes,
    wanted: &'a [HostPort],
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// `None` if the pod takes no port.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Option<Self> {
        (!shape.ports.is_empty()).then_some(Filter { nodes, wanted: &shape.ports })
    }

    /// Whether the ports are free.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        let taken = self.nodes.ports(node);
        match taken.iter().any(|taken| self.wanted.iter().any(|wanted| wanted.collides(taken))) {
            true => Err(Refusal::for_now(Plugin::NodePorts)),
            false => Ok(()),
        }
    }
}
