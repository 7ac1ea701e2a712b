//! Rather where cpu and memory would be used up to the same degree, so that neither is left over alone.

use super::SCORE_MAX;
use crate::observe::nodes::Column;
use crate::observe::{NodeId, Nodes, ResourceId, Shape};

/// Prepared for a pod.
pub struct Scorer<'a> {
    cpu: (Option<&'a Column>, i64),
    memory: (Option<&'a Column>, i64),
}

// === impl Scorer ===

impl<'a> Scorer<'a> {
    /// `None` for a pod that asks for neither: it would be drawn to the same node each time.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Option<Self> {
        let (cpu, memory) = (shape.requests.cpu, shape.requests.memory);
        (cpu != 0 || memory != 0).then(|| Scorer {
            cpu: (nodes.resource(ResourceId::CPU), cpu),
            memory: (nodes.resource(ResourceId::MEMORY), memory),
        })
    }

    /// 100 when both are used to the same degree, 50 when one is full and the other empty.
    #[inline]
    pub fn score(&self, node: NodeId) -> i64 {
        let deviation = match (degree(self.cpu, node), degree(self.memory, node)) {
            (Some(cpu), Some(memory)) => ((cpu - memory) / 2.0).abs(),
            _ => 0.0,
        };
        ((1.0 - deviation) * SCORE_MAX as f64) as i64
    }
}

/// The part that would be taken; `None` where the node has none of it.
#[inline]
fn degree((column, wanted): (Option<&Column>, i64), node: NodeId) -> Option<f64> {
    let column = column?;
    let allocatable = column.allocatable[node.index()];
    let taken = column.requested[node.index()] + wanted;
    (allocatable != 0).then(|| (taken as f64 / allocatable as f64).min(1.0))
}
