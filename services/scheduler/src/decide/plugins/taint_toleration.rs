//! Taints keep pods away that do not tolerate them; those that only would rather not, cost points.
//!
//! Nodes with the same taints share a number, so taints are judged once a set and looked up once a node.

use placement::{Effect, Taint, Toleration};

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::{NodeId, Nodes, Shape};

/// What users read.
pub const REASON: &str = "node(s) had untolerated taint(s)";

/// Prepared for a pod.
pub struct Filter<'a> {
    nodes: &'a Nodes,
    /// By number of the set.
    tolerated: Vec<bool>,
}

/// Prepared for a pod.
pub struct Scorer<'a> {
    nodes: &'a Nodes,
    /// By number of the set: taints that ask to stay away and are not tolerated.
    intolerable: Vec<i64>,
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// `None` if the pod tolerates everything there is.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Option<Self> {
        let sets = nodes.taint_sets().iter();
        let tolerated = |taint: &Taint| {
            taint.effect == Effect::PreferNoSchedule || placement::tolerated(&shape.tolerations, taint)
        };
        let tolerated: Vec<bool> = sets.map(|set| set.taints.iter().all(tolerated)).collect();
        tolerated.contains(&false).then_some(Filter { nodes, tolerated })
    }

    /// Whether the pod bears the node's taints.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        match self.tolerated[self.nodes.taint_set(node)] {
            true => Ok(()),
            false => Err(Refusal::for_good(Plugin::TaintToleration)),
        }
    }
}

// === impl Scorer ===

impl<'a> Scorer<'a> {
    /// `None` if no node would rather be without the pod: all would get the same points.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Option<Self> {
        let relevant = |one: &&Toleration| one.effect.is_none_or(|effect| effect == Effect::PreferNoSchedule);
        let tolerations: Vec<Toleration> = shape.tolerations.iter().filter(relevant).cloned().collect();
        let intolerable =
            |one: &&Taint| one.effect == Effect::PreferNoSchedule && !placement::tolerated(&tolerations, one);
        let sets = nodes.taint_sets().iter();
        let intolerable: Vec<i64> =
            sets.map(|set| set.taints.iter().filter(intolerable).count() as i64).collect();
        intolerable.iter().any(|count| *count > 0).then_some(Scorer { nodes, intolerable })
    }

    /// How many of the node's taints ask the pod to stay away.
    #[inline]
    pub fn intolerable(&self, node: NodeId) -> i64 {
        self.intolerable[self.nodes.taint_set(node)]
    }
}
