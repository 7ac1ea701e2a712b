//! What plugins say, and who they are.
//!
//! A filter is a file in `plugins/` with a `Filter` that is prepared once for a pod and then asked about nodes; `None`
//! from `prepare` means that it has nothing to say about this pod. A scorer has the same form. They are called by
//! name, not through a trait: the inner loop has no dynamic call in it, and the order is written once in [`Filters`].

use crate::observe::{NodeId, Nodes, Shape};

use super::plugins::{
    node_affinity, node_ports, node_unschedulable, resources_fit, taint_toleration, volume_binding,
};

/// Who refuses, or scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plugin {
    /// Nodes that were cordoned off.
    NodeUnschedulable,
    /// Taints.
    TaintToleration,
    /// Labels that the pod asks for.
    NodeAffinity,
    /// Ports of the node.
    NodePorts,
    /// Enough of everything.
    NodeResourcesFit,
    /// Volumes that its claims have, or are to get.
    VolumeBinding,
}

/// A node's no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who says so.
    pub plugin: Plugin,
    /// Whether it could become a yes by pods leaving the node; the queue and preemption act on that.
    pub outcome: Outcome,
}

/// How final a no is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Pods that leave the node could change it.
    Unschedulable,
    /// Only a change of the node or the pod could.
    Unresolvable,
}

/// Every filter, prepared for one pod.
pub struct Filters<'a> {
    nodes: &'a Nodes,
    unschedulable: Option<node_unschedulable::Filter<'a>>,
    taints: Option<taint_toleration::Filter<'a>>,
    affinity: Option<node_affinity::Filter<'a>>,
    ports: Option<node_ports::Filter<'a>>,
    resources: resources_fit::Filter<'a>,
    volumes: Option<volume_binding::Filter<'a>>,
}

// === impl Plugin ===

impl Plugin {
    /// Upstream's name, which metrics and extenders use.
    pub const fn name(self) -> &'static str {
        match self {
            Plugin::NodeUnschedulable => "NodeUnschedulable",
            Plugin::TaintToleration => "TaintToleration",
            Plugin::NodeAffinity => "NodeAffinity",
            Plugin::NodePorts => "NodePorts",
            Plugin::NodeResourcesFit => "NodeResourcesFit",
            Plugin::VolumeBinding => "VolumeBinding",
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// A no that pods leaving the node could change.
    pub const fn for_now(plugin: Plugin) -> Self {
        Refusal { plugin, outcome: Outcome::Unschedulable }
    }

    /// A no that only a change of node or pod could change.
    pub const fn for_good(plugin: Plugin) -> Self {
        Refusal { plugin, outcome: Outcome::Unresolvable }
    }
}

// === impl Filters ===

impl<'a> Filters<'a> {
    /// Prepares every filter that has something to say about pods of a shape.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Self {
        Filters {
            nodes,
            unschedulable: node_unschedulable::Filter::prepare(nodes, shape),
            taints: taint_toleration::Filter::prepare(nodes, shape),
            affinity: node_affinity::Filter::prepare(nodes, shape),
            ports: node_ports::Filter::prepare(nodes, shape),
            resources: resources_fit::Filter::prepare(nodes, shape),
            volumes: volume_binding::Filter::prepare(nodes, shape),
        }
    }

    /// Whether a node suits, or the first no. The order is upstream's, because people see who was first.
    #[inline]
    pub fn check(&self, node: NodeId) -> Result<(), Refusal> {
        if let Some(unschedulable) = &self.unschedulable {
            unschedulable.check(node)?;
        }
        if let Some(taints) = &self.taints {
            taints.check(node)?;
        }
        if let Some(affinity) = &self.affinity {
            affinity.check(node)?;
        }
        if let Some(ports) = &self.ports {
            ports.check(node)?;
        }
        self.resources.check(node)?;
        match &self.volumes {
            Some(volumes) => volumes.check(node),
            None => Ok(()),
        }
    }

    /// Why no node can suit, whatever it is like.
    pub fn problem(&self) -> Option<&str> {
        self.volumes.as_ref()?.problem()
    }

    /// Why the pod cannot have its volumes on a node.
    pub fn volume_reason(&self, node: NodeId) -> Option<&str> {
        self.volumes.as_ref()?.reason(node)
    }

    /// The only nodes that can be meant, if the pod names them.
    pub fn pinned(&self) -> Option<Vec<NodeId>> {
        let names = self.affinity.as_ref()?.pinned()?;
        let mut nodes: Vec<NodeId> = names.iter().filter_map(|name| self.nodes.find(name)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Some(nodes)
    }

    /// Every resource that a node has too little of.
    pub fn lacking(&self, node: NodeId) -> Vec<crate::observe::ResourceId> {
        self.resources.lacking(node)
    }
}
