//! Rather where more is left, of cpu and memory alike.

use super::SCORE_MAX;
use crate::observe::nodes::Column;
use crate::observe::{NodeId, Nodes, ResourceId, Shape};

/// Prepared for a pod.
pub struct Scorer<'a> {
    cpu: Part<'a>,
    memory: Part<'a>,
}

struct Part<'a> {
    column: Option<&'a Column>,
    /// What the pods on each node are taken to need.
    likely: &'a [i64],
    wanted: i64,
}

// === impl Scorer ===

impl<'a> Scorer<'a> {
    /// Has something to say about every pod.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Self {
        let part = |resource, likely, wanted| Part { column: nodes.resource(resource), likely, wanted };
        Scorer {
            cpu: part(ResourceId::CPU, nodes.likely_cpu(), shape.likely_cpu),
            memory: part(ResourceId::MEMORY, nodes.likely_memory(), shape.likely_memory),
        }
    }

    /// The mean of what would be left of each, in hundredths.
    #[inline]
    pub fn score(&self, node: NodeId) -> i64 {
        match (self.cpu.score(node), self.memory.score(node)) {
            (Some(cpu), Some(memory)) => (cpu + memory) / 2,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0,
        }
    }
}

// === impl Part ===

impl Part<'_> {
    /// `None` where the node has none of it.
    #[inline]
    fn score(&self, node: NodeId) -> Option<i64> {
        let allocatable = self.column?.allocatable[node.index()];
        if allocatable == 0 {
            return None;
        }
        let left = allocatable - self.likely[node.index()] - self.wanted;
        Some(if left < 0 { 0 } else { hundredths(left, allocatable) })
    }
}

/// Bytes times a hundred may pass 2^63 on a node of 80 PiB; such a one is measured more coarsely.
#[inline]
fn hundredths(part: i64, whole: i64) -> i64 {
    match part.checked_mul(SCORE_MAX) {
        Some(scaled) => scaled / whole,
        None => part / (whole / SCORE_MAX),
    }
}
