//! One decision: filter until enough nodes suit, score them, take the best.

use super::diagnosis::Diagnosis;
use super::dice::Dice;
use super::framework::Filters;
use super::plugins::Scorers;
use crate::observe::{NodeId, Nodes, ResourceNames, Shape};

/// A node that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The node.
    pub node: NodeId,
    /// The sum of its weighted scores.
    pub score: i64,
    /// Nodes that were scored.
    pub feasible: usize,
    /// Nodes that were looked at.
    pub evaluated: usize,
}

/// What stays from one decision to the next: where to go on, and memory that is used again.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// Percentage of nodes that are scored; 0 to adapt it to their number.
    percentage: usize,
    next: usize,
    dice: Dice,
    feasible: Vec<NodeId>,
    scores: Vec<i64>,
}

/// Fewer nodes than this are all scored.
const SCORED_MIN: usize = 100;
/// Of a small cluster about half of the nodes are scored; each further 125 nodes take away one percent.
const PERCENT_SMALL: usize = 50;
const NODES_PER_PERCENT: usize = 125;
/// However large the cluster.
const PERCENT_MIN: usize = 5;

// === impl Cycle ===

impl Cycle {
    /// Starts at a random node, so that several schedulers do not compete for the same.
    pub fn new(seed: u64, percentage: usize) -> Self {
        let mut dice = Dice::new(seed);
        let next = dice.below(u32::MAX) as usize;
        Cycle { percentage, next, dice, feasible: Vec::new(), scores: Vec::new() }
    }

    /// Chooses a node for a pod of a shape, or says why there is none.
    pub fn decide(
        &mut self,
        nodes: &Nodes,
        resources: &ResourceNames,
        shape: &Shape,
    ) -> Result<Choice, Diagnosis> {
        if nodes.count() == 0 {
            return Err(Diagnosis::no_nodes());
        }
        self.scores.clear();
        let filters = Filters::prepare(nodes, shape);
        let pinned = filters.pinned();
        let evaluated = match &pinned {
            Some(pinned) => self.filter(pinned.len(), pinned.iter().copied(), nodes, &filters),
            None => self.filter_all(nodes, &filters),
        };
        match self.feasible.len() {
            0 => Err(Diagnosis::of(nodes, resources, &filters, pinned.as_deref())),
            1 => Ok(Choice { node: self.feasible[0], score: 0, feasible: 1, evaluated }),
            _ => Ok(self.best(nodes, shape, evaluated)),
        }
    }

    /// Looks at nodes from where the last decision stopped, so that all of them get their share of pods.
    fn filter_all(&mut self, nodes: &Nodes, filters: &Filters<'_>) -> usize {
        let rows = nodes.rows();
        let start = self.next % rows;
        let order = (start..rows).chain(0..start).map(NodeId::new);
        let wanted = wanted(nodes.count(), self.percentage);
        let looked = self.filter(wanted, order, nodes, filters);
        self.next = start + looked;
        looked
    }

    fn filter(
        &mut self,
        wanted: usize,
        order: impl Iterator<Item = NodeId>,
        nodes: &Nodes,
        filters: &Filters<'_>,
    ) -> usize {
        self.feasible.clear();
        let mut looked = 0;
        for node in order {
            if self.feasible.len() >= wanted {
                break;
            }
            looked += 1;
            if nodes.is_live(node) && filters.check(node).is_ok() {
                self.feasible.push(node);
            }
        }
        looked
    }

    fn best(&mut self, nodes: &Nodes, shape: &Shape, evaluated: usize) -> Choice {
        self.scores.clear();
        self.scores.resize(self.feasible.len(), 0);
        Scorers::prepare(nodes, shape).add_to(&mut self.scores, &self.feasible);
        let (mut best, mut ties) = (0, 1);
        for at in 1..self.scores.len() {
            if self.scores[at] > self.scores[best] {
                (best, ties) = (at, 1);
            } else if self.scores[at] == self.scores[best] {
                // Each of n equal ones is taken with a chance of 1/n, without counting them first.
                ties += 1;
                if self.dice.below(ties) == 0 {
                    best = at;
                }
            }
        }
        Choice {
            node: self.feasible[best],
            score: self.scores[best],
            feasible: self.feasible.len(),
            evaluated,
        }
    }

    /// The nodes that suited in the last decision, with their scores; a node that was alone has none.
    pub fn scored(&self) -> impl Iterator<Item = (NodeId, i64)> {
        self.feasible.iter().copied().zip(self.scores.iter().copied().chain(std::iter::repeat(0)))
    }
}

/// How many suitable nodes are enough to choose from.
fn wanted(nodes: usize, percentage: usize) -> usize {
    let percentage = match percentage {
        0 => PERCENT_SMALL.saturating_sub(nodes / NODES_PER_PERCENT).max(PERCENT_MIN),
        fixed => fixed.min(100),
    };
    (nodes * percentage / 100).max(SCORED_MIN).min(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_the_cluster_the_smaller_the_part_that_is_scored() {
        let adaptive = |nodes| wanted(nodes, 0);
        assert_eq!(
            [3, 100, 250, 1_000, 5_000, 6_000, 100_000].map(adaptive),
            [3, 100, 120, 420, 500, 300, 5_000]
        );
        assert_eq!((wanted(1_000, 100), wanted(1_000, 30), wanted(1_000, 1)), (1_000, 300, 100));
    }
}
