//! Nodes that fall silent or are not ready: their conditions, their taints, and the eviction of their pods.
//!
//! Heartbeats come over core NATS and are never written; only a transition is. The pods of a node that is gone follow it.

pub mod decide;
pub mod heartbeats;
pub mod orphans;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use client::{Controller, Decision, Observed};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Revision};

use decide::{NodeState, PodState};
use heartbeats::Heartbeats;

/// The controller.
#[derive(Debug)]
pub struct NodeLifecycle {
    heartbeats: Heartbeats,
    grace: Duration,
    nodes: HashMap<String, NodeState>,
    pods: HashMap<String, BTreeMap<Key, PodState>>,
    node_of: HashMap<Key, String>,
    /// Nodes that pods name and that are not there, since when we know.
    gone: HashMap<String, Timestamp>,
}

// === impl NodeLifecycle ===

impl NodeLifecycle {
    /// A node that was silent for `grace` is Unknown.
    pub fn new(heartbeats: Heartbeats, grace: Duration) -> Self {
        NodeLifecycle {
            heartbeats,
            grace,
            nodes: HashMap::new(),
            pods: HashMap::new(),
            node_of: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    fn put_node(&mut self, key: &Key, revision: Revision, json: &[u8]) -> Vec<String> {
        let Some(node) = client::typed::<Node>(key, json) else { return Vec::new() };
        let state = NodeState::read(&node, revision);
        let was_unknown = self.nodes.get(key.name()).is_some_and(|before| before.ready == "Unknown");
        if was_unknown && state.ready != "Unknown" {
            // Only its agent says so: a sign of life that may be here before the next heartbeat.
            self.heartbeats.hear(key.name(), Timestamp::now());
        }
        self.nodes.insert(key.name().to_owned(), state);
        vec![key.name().to_owned()]
    }

    fn put_pod(&mut self, key: &Key, json: &[u8]) -> Vec<String> {
        self.remove_pod(key);
        let Some(pod) = client::typed::<Pod>(key, json) else { return Vec::new() };
        let Some((node, state)) = PodState::read(&pod) else { return Vec::new() };
        self.pods.entry(node.clone()).or_default().insert(key.clone(), state);
        self.node_of.insert(key.clone(), node.clone());
        // A pod that comes to a healthy node changes nothing.
        if self.nodes.get(&node).is_none_or(NodeState::evicts) { vec![node] } else { Vec::new() }
    }

    fn remove_pod(&mut self, key: &Key) {
        if let Some(node) = self.node_of.remove(key)
            && let Some(pods) = self.pods.get_mut(&node)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.pods.remove(&node);
            }
        }
    }
}

impl Controller for NodeLifecycle {
    type Key = String;
    const NAME: &'static str = "node-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("", "nodes"), ("", "pods")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        match observed {
            Observed::Reset => {
                self.nodes.clear();
                self.pods.clear();
                self.node_of.clear();
                // What was gone may have come back while we did not see.
                self.gone.clear();
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) if item.key.resource() == "nodes" => {
                self.put_node(&item.key, item.revision, &item.value)
            }
            Observed::Put(item) => self.put_pod(&item.key, &item.value),
            Observed::Delete { key, .. } if key.resource() == "nodes" => {
                self.nodes.remove(key.name());
                self.heartbeats.forget(key.name());
                vec![key.name().to_owned()]
            }
            Observed::Delete { key, .. } => {
                self.remove_pod(key);
                Vec::new()
            }
        }
    }

    fn decide(&mut self, name: &String, now: Timestamp) -> Decision {
        let Some(node) = self.nodes.get(name) else {
            let Some(pods) = self.pods.get(name) else {
                self.gone.remove(name);
                return Decision { reason: "the node is gone, and so are its pods", ..Decision::default() };
            };
            return orphans::decide(pods, *self.gone.entry(name.clone()).or_insert(now), now);
        };
        let silent = self.heartbeats.silence(name, now);
        let nobody = BTreeMap::new();
        let pods = self.pods.get(name).unwrap_or(&nobody);
        decide::decide(name, node, pods, silent, self.grace, now)
    }
}
