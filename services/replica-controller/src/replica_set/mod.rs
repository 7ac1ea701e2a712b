//! The controller of ReplicaSets and ReplicationControllers: as many pods as are wanted, not one more.

pub mod act;
pub mod decide;
pub mod rank;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bus::command::Reply;
use client::{Controller, Decision, Note, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use tracing::warn;

use crate::attempts::Attempts;
use crate::observe::{Managers, Owned, Pod, Set};
use decide::Observation;

/// Follows sets and pods, and decides about one set at a time.
#[derive(Debug, Default)]
pub struct ReplicaSets {
    sets: Owned<Set>,
    managers: Managers,
    pods: Owned<Pod>,
    attempts: Attempts,
}

// === impl ReplicaSets ===

impl ReplicaSets {
    fn put_set(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let set = match Set::parse(key, json) {
            Ok(set) => set,
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return self.remove_set(key);
            }
        };
        self.managers.put(key, &set.uid);
        self.sets.put(key.clone(), set);
        vec![key.clone()]
    }

    fn remove_set(&mut self, key: &Key) -> Vec<Key> {
        self.managers.remove(key);
        self.sets.remove(key);
        vec![key.clone()]
    }

    fn put_pod(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let pod = match Pod::parse(json) {
            Ok(pod) => pod,
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return self.remove_pod(key);
            }
        };
        let selects = |set: &Key| self.sets.get(set).is_some_and(|set| set.selects(&pod.labels));
        let mut concerned = self.managers.concerned(key, pod.manager.as_deref(), selects);
        match self.pods.put(key.clone(), pod) {
            // Most changes of a pod are of no interest here.
            Some(previous) if self.pods.get(key) == Some(&previous) => Vec::new(),
            Some(previous) => {
                concerned.extend(self.managers.find(previous.manager.as_deref()));
                concerned
            }
            None => concerned,
        }
    }

    fn remove_pod(&mut self, key: &Key) -> Vec<Key> {
        let pod = self.pods.remove(key);
        pod.and_then(|pod| self.managers.find(pod.manager.as_deref())).into_iter().collect()
    }

    /// Pods per node of all sets that have this one's controller: a node with many can spare one.
    fn related_per_node(&self, set: &Set) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        let mut add = |uid: &str| {
            for (_, pod) in self.pods.of(uid).filter(|(_, pod)| pod.is_active()) {
                *count.entry(pod.node.clone()).or_default() += 1;
            }
        };
        match &set.manager {
            Some(manager) => self.sets.of(manager).for_each(|(_, sibling)| add(&sibling.uid)),
            None => add(&set.uid),
        }
        count
    }
}

impl Controller for ReplicaSets {
    type Key = Key;
    const NAME: &'static str = "replicaset-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("apps", "replicasets"), ("", "replicationcontrollers"), ("", "pods")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                let mut attempts = std::mem::take(&mut self.attempts);
                attempts.reset();
                *self = ReplicaSets { attempts, ..Self::default() };
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) if item.key.resource() == "pods" => self.put_pod(&item.key, &item.value),
            Observed::Put(item) => self.put_set(&item.key, &item.value),
            Observed::Delete { key, .. } if key.resource() == "pods" => self.remove_pod(key),
            Observed::Delete { key, .. } => self.remove_set(key),
        }
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        let Some(set) = self.sets.get(key) else {
            self.attempts.forget(key);
            return Decision { reason: "the set is gone", ..Decision::default() };
        };
        let related = || self.related_per_node(set);
        let observation = Observation {
            set,
            owned: self.pods.of(&set.uid).collect(),
            orphans: self.pods.orphans(key.namespace()).filter(|(_, pod)| set.selects(&pod.labels)).collect(),
            related_per_node: &related,
            trouble: self.attempts.trouble(key),
        };
        let plan = decide::decide(&observation, now);
        let (writes, intents) = act::writes(set, &plan);
        let decision =
            Decision { writes, again_after: plan.again_after, reason: plan.reason, notes: Vec::new() };
        if plan.is_at_size {
            self.attempts.settle(key);
        }
        self.attempts.begin(key, intents);
        decision
    }

    fn user(&self, key: &Key) -> Option<&'static str> {
        let is_replication_controller = key.group().is_empty();
        is_replication_controller.then_some("system:serviceaccount:kube-system:replication-controller")
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        let told = self.attempts.acted(key, index, reply)?;
        let set = self.sets.get(key)?;
        Some(told.about(set.type_names(), key, &set.uid))
    }
}
