//! Volumes: those that a pod's claims have are reached from some nodes only, and those that they are to get must be
//! there or makeable.

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::volumes::{Delayed, VolumeNeeds};
use crate::observe::{NodeAffinity, NodeId, Nodes, Shape};

/// What users read of nodes that do not reach a volume.
const CONFLICT: &str = "node(s) had volume node affinity conflict";
/// What they read of nodes on which a claim gets none.
const NONE_THERE: &str = "node(s) didn't find available persistent volumes to bind";
/// What they read when a volume is gone.
const LOST: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// Prepared for a pod.
pub struct Filter<'a> {
    nodes: &'a Nodes,
    needs: &'a VolumeNeeds,
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// `None` if the pod has no claims.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Option<Self> {
        let needs = shape.volumes.as_deref()?;
        Some(Filter { nodes, needs })
    }

    /// Why no node can suit, whatever it is like.
    pub fn problem(&self) -> Option<&'a str> {
        self.needs.problem.as_deref()
    }

    /// Whether the pod can have its volumes on the node.
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        match self.reason(node) {
            None => Ok(()),
            Some(_) => Err(Refusal::for_good(Plugin::VolumeBinding)),
        }
    }

    /// Why it cannot.
    pub fn reason(&self, node: NodeId) -> Option<&'a str> {
        match () {
            () if self.needs.problem.is_some() => self.problem(),
            () if self.needs.lost => Some(LOST),
            () if !self.needs.bound.iter().all(|affinity| self.reaches(Some(affinity), node)) => {
                Some(CONFLICT)
            }
            () if !self.arranges(node) => Some(NONE_THERE),
            () => None,
        }
    }

    /// Whether every claim that waits for the node gets a volume there, none of them the same.
    fn arranges(&self, node: NodeId) -> bool {
        let mut taken: Vec<&str> = Vec::new();
        self.needs.delayed.iter().all(|claim| match &claim.selected {
            Some(selected) => **selected == **self.nodes.name(node),
            None => self.takes(claim, node, &mut taken) || self.can_make(claim, node),
        })
    }

    fn takes(&self, claim: &'a Delayed, node: NodeId, taken: &mut Vec<&'a str>) -> bool {
        let free = |name: &str, taken: &[&str]| !taken.contains(&name);
        let found = claim
            .candidates
            .iter()
            .find(|(name, affinity)| free(name, taken) && self.reaches(affinity.as_deref(), node));
        taken.extend(found.map(|(name, _)| name.as_str()));
        found.is_some()
    }

    fn can_make(&self, claim: &Delayed, node: NodeId) -> bool {
        claim.makeable.as_ref().is_some_and(|allowed| self.reaches(allowed.as_deref(), node))
    }

    fn reaches(&self, affinity: Option<&NodeAffinity>, node: NodeId) -> bool {
        affinity.is_none_or(|affinity| self.nodes.admits(affinity, node))
    }
}
