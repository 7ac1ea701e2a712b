//! Taints of nodes and what pods tolerate of them.

use std::collections::HashMap;

use serde::Deserialize;

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Effect {
    /// Keeps pods away.
    NoSchedule,
    /// Rather not here.
    PreferNoSchedule,
    /// Keeps pods away and drives off those that are there.
    NoExecute,
}

/// A taint; when it was added does not matter here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// What a pod tolerates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The taint's key; empty for any.
    pub key: String,
    /// The taint's value; `None` for any.
    pub value: Option<String>,
    /// The taint's effect; `None` for any.
    pub effect: Option<Effect>,
}

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

// === impl Toleration ===

impl Toleration {
    /// Whether it covers a taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// Whether one of them covers a taint.
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(taint))
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

    fn taint(key: &str, value: &str, effect: Effect) -> Taint {
        Taint { key: key.to_owned(), value: value.to_owned(), effect }
    }

    #[test]
    fn a_toleration_covers_what_it_names_and_anything_where_it_names_nothing() {
        let gpu = taint("gpu", "a", Effect::NoSchedule);
        let toleration = |key: &str, value: Option<&str>, effect| Toleration {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            effect,
        };
        for (toleration, covers) in [
            (toleration("", None, None), true),
            (toleration("gpu", None, None), true),
            (toleration("gpu", Some("a"), Some(Effect::NoSchedule)), true),
            (toleration("gpu", Some("b"), None), false),
            (toleration("cpu", None, None), false),
            (toleration("gpu", None, Some(Effect::NoExecute)), false),
        ] {
            assert_eq!(toleration.tolerates(&gpu), covers, "{toleration:?}");
        }
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
