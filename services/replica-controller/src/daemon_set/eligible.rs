//! Which nodes each set is to run on, kept up to date, so that a change of a node wakes only the sets that it changes
//! something for.

use std::collections::{BTreeMap, HashMap};

use model::Key;
use tracing::warn;

use super::demand::{Demand, Verdict};
use super::pod;
use crate::observe::{DaemonSet, Node};

/// Every set with what it makes of each node.
#[derive(Debug, Default)]
pub struct Eligible {
    sets: HashMap<Key, Entry>,
    nodes: HashMap<String, Node>,
}

/// A set and the nodes.
#[derive(Debug)]
pub struct Entry {
    /// The set.
    pub set: DaemonSet,
    /// What it makes of every node there is.
    pub nodes: BTreeMap<String, Verdict>,
    demand: Demand,
}

// === impl Eligible ===

impl Eligible {
    /// The set with that key.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.sets.get(key)
    }

    /// Takes in a set.
    pub fn put_set(&mut self, set: DaemonSet) {
        let demand = Demand::of(&pod::spec(&set)).unwrap_or_else(|error| {
            warn!(key = %set.key, "its pods can be nowhere: {error}");
            Demand::nowhere()
        });
        let nodes = match self.sets.remove(&set.key) {
            Some(entry) if entry.demand == demand => entry.nodes,
            _ => self.nodes.iter().map(|(name, node)| (name.clone(), demand.judge(name, node))).collect(),
        };
        self.sets.insert(set.key.clone(), Entry { set, nodes, demand });
    }

    /// Takes out a set.
    pub fn remove_set(&mut self, key: &Key) {
        self.sets.remove(key);
    }

    /// Takes in a node; returns the sets for which it is another one now.
    pub fn put_node(&mut self, name: &str, node: Node) -> Vec<Key> {
        // Most changes of a node are of no interest here.
        if self.nodes.get(name) == Some(&node) {
            return Vec::new();
        }
        let mut concerned = Vec::new();
        for (key, entry) in &mut self.sets {
            let verdict = entry.demand.judge(name, &node);
            let before = entry.nodes.insert(name.to_owned(), verdict);
            if before != Some(verdict) && (before.is_some() || verdict != Verdict::Leave) {
                concerned.push(key.clone());
            }
        }
        self.nodes.insert(name.to_owned(), node);
        concerned
    }

    /// Takes out a node; returns the sets that might have a pod there.
    pub fn remove_node(&mut self, name: &str) -> Vec<Key> {
        self.nodes.remove(name);
        let affected = self.sets.iter_mut().filter_map(|(key, entry)| {
            let verdict = entry.nodes.remove(name)?;
            (verdict != Verdict::Leave).then(|| key.clone())
        });
        affected.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon_set::tests::set;
    use placement::{Effect, Taint};
    use serde_json::json;

    fn labelled(disk: &str) -> Node {
        Node { labels: [("disk".to_owned(), disk.to_owned())].into(), ..Node::default() }
    }

    fn tainted() -> Node {
        let taint = Taint { key: "gpu".to_owned(), value: String::new(), effect: Effect::NoSchedule };
        Node { taints: vec![taint], ..Node::default() }
    }

    #[test]
    fn a_node_wakes_only_the_sets_that_it_changes_something_for() {
        let mut eligible = Eligible::default();
        let picky = set(|json| {
            json["metadata"]["name"] = json!("picky");
            json["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        });
        let any = set(|_| ());
        let any_key = any.key.clone();
        eligible.put_set(any);
        eligible.put_set(picky);
        let woken = |mut keys: Vec<Key>| {
            keys.sort();
            keys.iter().map(|key| key.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(woken(eligible.put_node("a", labelled("hdd"))), ["agent"]);
        assert_eq!(woken(eligible.put_node("a", labelled("hdd"))).len(), 0);
        assert_eq!(woken(eligible.put_node("a", labelled("ssd"))), ["picky"]);
        assert_eq!(woken(eligible.put_node("a", tainted())), ["agent", "picky"]);
        assert_eq!(eligible.get(&any_key).map(|entry| entry.nodes["a"]), Some(Verdict::Stay));
        assert_eq!(woken(eligible.remove_node("a")), ["agent"]);
    }

    #[test]
    fn a_set_that_asks_for_something_else_judges_all_nodes_again() {
        let mut eligible = Eligible::default();
        eligible.put_node("a", labelled("hdd"));
        let any = set(|_| ());
        let key = any.key.clone();
        eligible.put_set(any);
        assert_eq!(eligible.get(&key).map(|entry| entry.nodes["a"]), Some(Verdict::Run));
        eligible
            .put_set(set(|json| json["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"})));
        assert_eq!(eligible.get(&key).map(|entry| entry.nodes["a"]), Some(Verdict::Leave));
    }
}
