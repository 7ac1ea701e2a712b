//! Taints of nodes, each set of them once.

use std::collections::HashMap;

use placement::Taint;

/// A number for each different set of taints, so that each is judged once and not once a node.
#[derive(Clone, Debug, Default)]
pub struct TaintSets {
    sets: Vec<TaintSet>,
    ids: HashMap<Vec<Taint>, u32>,
}

/// A set of taints and the number of nodes that have it.
#[derive(Clone, Debug)]
pub struct TaintSet {
    /// The taints, sorted.
    pub taints: Vec<Taint>,
    nodes: usize,
}

// === impl TaintSets ===

impl TaintSets {
    /// The number of a set, which one more node has now.
    pub fn enter(&mut self, mut taints: Vec<Taint>) -> u32 {
        taints.sort();
        taints.dedup();
        if let Some(id) = self.ids.get(&taints) {
            self.sets[*id as usize].nodes += 1;
            return *id;
        }
        let set = TaintSet { taints: taints.clone(), nodes: 1 };
        let vacant = self.sets.iter().position(|set| set.nodes == 0);
        let id = match vacant {
            Some(id) => {
                self.sets[id] = set;
                id
            }
            None => {
                self.sets.push(set);
                self.sets.len() - 1
            }
        } as u32;
        self.ids.insert(taints, id);
        id
    }

    /// One node less has a set.
    pub fn leave(&mut self, id: u32) {
        let set = &mut self.sets[id as usize];
        set.nodes -= 1;
        if set.nodes == 0 {
            self.ids.remove(&set.taints);
            set.taints.clear();
        }
    }

    /// Every set, by its number.
    pub fn all(&self) -> &[TaintSet] {
        &self.sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::Effect;

    fn taint(key: &str, value: &str, effect: Effect) -> Taint {
        Taint { key: key.to_owned(), value: value.to_owned(), effect }
    }

    #[test]
    fn equal_sets_share_a_number_until_the_last_node_leaves_them() {
        let mut sets = TaintSets::default();
        let (a, b) = (taint("a", "", Effect::NoSchedule), taint("b", "", Effect::NoExecute));
        let first = sets.enter(vec![a.clone(), b.clone()]);
        assert_eq!(sets.enter(vec![b.clone(), a.clone()]), first);
        let other = sets.enter(vec![a]);
        assert_ne!(first, other);
        sets.leave(first);
        sets.leave(first);
        assert_eq!(sets.enter(vec![b]), first, "the number is free again");
    }
}
