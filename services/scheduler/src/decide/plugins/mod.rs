//! A filter or a scorer a file, with upstream's semantics and weights.
//!
//! Absent on purpose: NodeName (a pod that names its node is not decided about), and what has no part in a plain
//! cluster yet: topology spread, affinity between pods, devices.

pub mod balanced_allocation;
pub mod image_locality;
pub mod least_allocated;
pub mod node_affinity;
pub mod node_ports;
pub mod node_unschedulable;
pub mod resources_fit;
pub mod taint_toleration;
pub mod volume_binding;

use super::framework::Plugin;
use crate::observe::{NodeId, Nodes, Shape};

/// The best that one scorer gives a node.
pub const SCORE_MAX: i64 = 100;

/// What each scorer's points count, as upstream has it.
const TAINT_WEIGHT: i64 = 3;
const AFFINITY_WEIGHT: i64 = 2;
const LEAST_ALLOCATED_WEIGHT: i64 = 1;
const BALANCED_WEIGHT: i64 = 1;
const IMAGE_WEIGHT: i64 = 1;

/// Every scorer, prepared for one pod.
pub struct Scorers<'a> {
    taints: Option<taint_toleration::Scorer<'a>>,
    affinity: Option<node_affinity::Scorer<'a>>,
    least_allocated: least_allocated::Scorer<'a>,
    balanced: Option<balanced_allocation::Scorer<'a>>,
    images: Option<image_locality::Scorer<'a>>,
}

// === impl Scorers ===

impl<'a> Scorers<'a> {
    /// Prepares every scorer that has something to say about pods of a shape.
    pub fn prepare(nodes: &'a Nodes, shape: &'a Shape) -> Self {
        Scorers {
            taints: taint_toleration::Scorer::prepare(nodes, shape),
            affinity: node_affinity::Scorer::prepare(nodes, shape),
            least_allocated: least_allocated::Scorer::prepare(nodes, shape),
            balanced: balanced_allocation::Scorer::prepare(nodes, shape),
            images: image_locality::Scorer::prepare(nodes, shape),
        }
    }

    /// Adds the weighted points of every scorer to the score of each of the nodes.
    pub fn add_to(&self, scores: &mut [i64], nodes: &[NodeId]) {
        if let Some(taints) = &self.taints {
            let counts: Vec<i64> = nodes.iter().map(|node| taints.intolerable(*node)).collect();
            add_in_proportion(scores, &counts, TAINT_WEIGHT, Sense::LessIsBetter);
        }
        if let Some(affinity) = &self.affinity {
            let weights: Vec<i64> = nodes.iter().map(|node| affinity.fulfilled(*node)).collect();
            add_in_proportion(scores, &weights, AFFINITY_WEIGHT, Sense::MoreIsBetter);
        }
        for (score, node) in scores.iter_mut().zip(nodes) {
            *score += LEAST_ALLOCATED_WEIGHT * self.least_allocated.score(*node);
        }
        if let Some(balanced) = &self.balanced {
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score += BALANCED_WEIGHT * balanced.score(*node);
            }
        }
        if let Some(images) = &self.images {
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score += IMAGE_WEIGHT * images.score(*node);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    MoreIsBetter,
    LessIsBetter,
}

/// Points in proportion to the greatest number that a node has.
fn add_in_proportion(scores: &mut [i64], numbers: &[i64], weight: i64, sense: Sense) {
    let greatest = numbers.iter().copied().max().unwrap_or(0);
    for (score, number) in scores.iter_mut().zip(numbers) {
        let part = if greatest == 0 { 0 } else { SCORE_MAX * number / greatest };
        *score += weight * if sense == Sense::LessIsBetter { SCORE_MAX - part } else { part };
    }
}

/// A plugin's reason in upstream's words; resources are named one by one instead.
pub fn reason(plugin: Plugin) -> &'static str {
    match plugin {
        Plugin::NodeUnschedulable => node_unschedulable::REASON,
        Plugin::TaintToleration => taint_toleration::REASON,
        Plugin::NodeAffinity => node_affinity::REASON,
        Plugin::NodePorts => node_ports::REASON,
        Plugin::NodeResourcesFit => "Insufficient resources",
        Plugin::VolumeBinding => "volumes",
    }
}
