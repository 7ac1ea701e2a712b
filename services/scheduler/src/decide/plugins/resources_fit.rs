//! What a pod takes must be free.

use crate::decide::framework::{Plugin, Refusal};
use crate::observe::nodes::Column;
use crate::observe::{NodeId, Nodes, ResourceId, ResourceNames, Shape};

/// Prepared for a pod.
pub struct Filter<'a> {
    pods: Option<&'a Column>,
    /// What the pod takes, of which column; `None` where no node has any.
    wanted: Vec<(ResourceId, i64, Option<&'a Column>)>,
}

// === impl Filter ===

impl<'a> Filter<'a> {
    /// Every pod takes something: a place.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Self {
        let column = |(resource, amount)| (resource, amount, nodes.resource(resource));
        let ours = shape.requests.iter().filter(|(resource, _)| !nodes.is_left_to_others(*resource));
        Filter { pods: nodes.resource(ResourceId::PODS), wanted: ours.map(column).collect() }
    }

    /// Whether there is enough of everything.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        let fits = self.has_place(node)
            && self
                .wanted
                .iter()
                .all(|(_, amount, column)| column.is_some_and(|column| *amount <= column.free(node)));
        if fits { Ok(()) } else { Err(self.refusal(node)) }
    }

    /// Everything that there is too little of, places first.
    pub fn lacking(&self, node: NodeId) -> Vec<ResourceId> {
        let place = (!self.has_place(node)).then_some(ResourceId::PODS);
        let others = self
            .wanted
            .iter()
            .filter(|(_, amount, column)| column.is_none_or(|one| *amount > one.free(node)));
        place.into_iter().chain(others.map(|(resource, ..)| *resource)).collect()
    }

    fn has_place(&self, node: NodeId) -> bool {
        self.pods.is_some_and(|pods| pods.free(node) >= 1)
    }

    /// Pods that leave help, unless the node could not hold the pod even if it were empty.
    #[cold]
    fn refusal(&self, node: NodeId) -> Refusal {
        let never = |column: &Column, amount: i64| amount > column.allocatable[node.index()];
        let hopeless =
            self.wanted.iter().any(|(_, amount, column)| column.is_none_or(|one| never(one, *amount)));
        match hopeless {
            true => Refusal::for_good(Plugin::NodeResourcesFit),
            false => Refusal::for_now(Plugin::NodeResourcesFit),
        }
    }
}

/// What users read.
pub fn reason(resource: ResourceId, names: &ResourceNames) -> String {
    match resource {
        ResourceId::PODS => "Too many pods".to_owned(),
        other => format!("Insufficient {}", names.name(other)),
    }
}
