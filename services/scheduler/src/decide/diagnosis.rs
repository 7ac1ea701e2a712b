//! Why a pod has no node, in the words that users know.

use std::collections::{BTreeMap, BTreeSet};

use super::framework::{Filters, Outcome, Plugin};
use super::plugins::{node_affinity, reason};
use crate::observe::{NodeId, Nodes, ResourceNames};

/// What every node said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// All nodes of the cluster.
    pub nodes: usize,
    /// What holds of all of them, and keeps them from being asked.
    pub whole: Option<String>,
    /// Reasons with the number of nodes that gave them; one node may give several.
    pub reasons: BTreeMap<String, usize>,
    /// Nodes that could suit if pods left them.
    pub resolvable: usize,
    /// Who refused.
    pub plugins: BTreeSet<Plugin>,
}

const NO_NODES: &str = "no nodes available to schedule pods";

// === impl Diagnosis ===

impl Diagnosis {
    /// There is no node at all.
    pub fn no_nodes() -> Self {
        Diagnosis::default()
    }

    /// Asks every node again and takes down what it says.
    pub fn of(
        nodes: &Nodes,
        resources: &ResourceNames,
        filters: &Filters<'_>,
        pinned: Option<&[NodeId]>,
    ) -> Self {
        let mut diagnosis = Diagnosis { nodes: nodes.count(), ..Diagnosis::default() };
        if let Some(problem) = filters.problem() {
            diagnosis.whole = Some(problem.to_owned());
            diagnosis.plugins.insert(Plugin::VolumeBinding);
            return diagnosis;
        }
        match pinned {
            Some(pinned) => {
                pinned.iter().for_each(|node| diagnosis.ask(*node, resources, filters));
                diagnosis.absent(nodes.count() - pinned.len());
            }
            None => nodes.live().for_each(|node| diagnosis.ask(node, resources, filters)),
        }
        diagnosis
    }

    fn ask(&mut self, node: NodeId, resources: &ResourceNames, filters: &Filters<'_>) {
        let Err(refusal) = filters.check(node) else { return };
        self.plugins.insert(refusal.plugin);
        self.resolvable += usize::from(refusal.outcome == Outcome::Unschedulable);
        let mut note = |reason: String| *self.reasons.entry(reason).or_default() += 1;
        match refusal.plugin {
            Plugin::NodeResourcesFit => {
                filters.lacking(node).into_iter().for_each(|resource| {
                    note(super::plugins::resources_fit::reason(resource, resources));
                });
            }
            Plugin::VolumeBinding => note(filters.volume_reason(node).unwrap_or_default().to_owned()),
            plugin => note(reason(plugin).to_owned()),
        }
    }

    /// Nodes that were not asked because the pod names others.
    fn absent(&mut self, count: usize) {
        if count > 0 {
            self.plugins.insert(Plugin::NodeAffinity);
            self.reasons.insert(node_affinity::NOT_NAMED.to_owned(), count);
        }
    }

    /// The message of the Event and the condition.
    pub fn message(&self, preempts: bool) -> String {
        if self.nodes == 0 {
            return NO_NODES.to_owned();
        }
        let head = format!("0/{} nodes are available", self.nodes);
        let refusals = self.whole.clone().unwrap_or_else(|| listed(&self.reasons));
        if !preempts {
            return format!("{head}: {refusals}. preemption: not eligible due to preemptionPolicy=Never.");
        }
        let mut preemption = BTreeMap::new();
        let mut note = |reason: &str, count: usize| {
            if count > 0 {
                preemption.insert(reason.to_owned(), count);
            }
        };
        note("No preemption victims found for incoming pod", self.resolvable);
        note("Preemption is not helpful for scheduling", self.nodes - self.resolvable);
        format!("{head}: {refusals}. preemption: {head}: {}.", listed(&preemption))
    }
}

/// `1 Insufficient cpu, 2 node(s) were unschedulable`, sorted as text.
fn listed(reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(reasons: &[(&str, usize)], resolvable: usize) -> Diagnosis {
        let reasons = reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        Diagnosis { nodes: 3, reasons, resolvable, ..Diagnosis::default() }
    }

    #[test]
    fn the_message_is_the_one_that_users_know() {
        assert_eq!(Diagnosis::no_nodes().message(true), "no nodes available to schedule pods");
        let mixed = diagnosis(&[("node(s) had untolerated taint(s)", 2), ("Insufficient cpu", 1)], 1);
        assert_eq!(
            mixed.message(true),
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). preemption: \
             0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful \
             for scheduling."
        );
        let whole = Some("persistentvolumeclaim \"x\" not found".to_owned());
        assert_eq!(
            Diagnosis { whole, ..diagnosis(&[], 0) }.message(true),
            "0/3 nodes are available: persistentvolumeclaim \"x\" not found. preemption: 0/3 nodes are available: 3 \
             Preemption is not helpful for scheduling."
        );
        let full = diagnosis(&[("Insufficient cpu", 3)], 3);
        assert_eq!(
            full.message(true),
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption \
             victims found for incoming pod."
        );
        assert_eq!(
            full.message(false),
            "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        );
    }
}
