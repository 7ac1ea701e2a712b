//! The controller of ReplicaSets and ReplicationControllers: as many pods as are wanted, not one more.

pub mod act;
pub mod decide;
pub mod rank;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bus::command::Reply;
use client::{Controller, Decision, Note, NoteKind, Observed};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Reason, Status};
use tracing::warn;

use crate::observe::{Owned, Pod, Set};
use act::Intent;
use decide::Observation;
use status::Trouble;

/// Follows sets and pods, and decides about one set at a time.
#[derive(Debug, Default)]
pub struct ReplicaSets {
    sets: Owned<Set>,
    key_by_uid: HashMap<String, Key>,
    keys_by_namespace: HashMap<String, BTreeSet<Key>>,
    pods: Owned<Pod>,
    /// What the writes of the last decision were for, in their order.
    intents: HashMap<Key, Vec<Intent>>,
    /// What went wrong when pods were last made or deleted.
    trouble: HashMap<Key, Trouble>,
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
        self.key_by_uid.insert(set.uid.clone(), key.clone());
        self.keys_by_namespace.entry(key.namespace().to_owned()).or_default().insert(key.clone());
        let uid = set.uid.clone();
        let previous = self.sets.put(key.clone(), set);
        if let Some(previous) = previous.filter(|previous| previous.uid != uid) {
            self.key_by_uid.remove(&previous.uid);
        }
        vec![key.clone()]
    }

    fn remove_set(&mut self, key: &Key) -> Vec<Key> {
        if let Some(set) = self.sets.remove(key) {
            self.key_by_uid.remove(&set.uid);
        }
        if let Some(keys) = self.keys_by_namespace.get_mut(key.namespace()) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys_by_namespace.remove(key.namespace());
            }
        }
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
        let mut concerned = self.concerned(key, &pod);
        match self.pods.put(key.clone(), pod) {
            // Most changes of a pod are of no interest here.
            Some(previous) if self.pods.get(key) == Some(&previous) => Vec::new(),
            Some(previous) => {
                concerned.extend(self.manager(&previous));
                concerned
            }
            None => concerned,
        }
    }

    fn remove_pod(&mut self, key: &Key) -> Vec<Key> {
        self.pods.remove(key).and_then(|pod| self.manager(&pod)).into_iter().collect()
    }

    /// The set that manages a pod; of a pod that nobody manages those that might.
    fn concerned(&self, key: &Key, pod: &Pod) -> Vec<Key> {
        match &pod.manager {
            Some(_) => self.manager(pod).into_iter().collect(),
            None => {
                let candidates = self.keys_by_namespace.get(key.namespace()).into_iter().flatten();
                let selects = |key: &&Key| self.sets.get(key).is_some_and(|set| set.selects(&pod.labels));
                candidates.filter(selects).cloned().collect()
            }
        }
    }

    fn manager(&self, pod: &Pod) -> Option<Key> {
        self.key_by_uid.get(pod.manager.as_deref()?).cloned()
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
                *self = ReplicaSets { trouble: std::mem::take(&mut self.trouble), ..Self::default() };
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
            self.trouble.remove(key);
            self.intents.remove(key);
            return Decision { reason: "the set is gone", ..Decision::default() };
        };
        let related = || self.related_per_node(set);
        let observation = Observation {
            set,
            owned: self.pods.of(&set.uid).collect(),
            orphans: self.pods.orphans(key.namespace()).filter(|(_, pod)| set.selects(&pod.labels)).collect(),
            related_per_node: &related,
            trouble: self.trouble.get(key),
        };
        let plan = decide::decide(&observation, now);
        let (writes, intents) = act::writes(set, &plan);
        let decision =
            Decision { writes, again_after: plan.again_after, reason: plan.reason, notes: Vec::new() };
        if plan.is_at_size {
            self.trouble.remove(key);
        }
        match intents.is_empty() {
            true => self.intents.remove(key),
            false => self.intents.insert(key.clone(), intents),
        };
        decision
    }

    fn user(&self, key: &Key) -> Option<&'static str> {
        let is_replication_controller = key.group().is_empty();
        is_replication_controller.then_some("system:serviceaccount:kube-system:replication-controller")
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        let intents = self.intents.get(key)?;
        let intent = intents.get(index)?.clone();
        let alone = intents.iter().filter(|intent| **intent == Intent::Create).count() == 1;
        let set = self.sets.get(key)?;
        let note = |severity, reason: &str, message: String| Some(note(set, severity, reason, message));
        match (intent, reply) {
            (Intent::Create, Ok(stored)) => {
                self.trouble.remove(key);
                note(
                    NoteKind::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {}", act::name(&stored.object)),
                )
            }
            (Intent::Delete(pod), Ok(_)) => {
                self.trouble.remove(key);
                note(NoteKind::Normal, "SuccessfulDelete", format!("Deleted pod: {pod}"))
            }
            (Intent::Create, Err(status)) if !is_no_trouble(status) => {
                let trouble = Trouble { reason: "FailedCreate", message: status.message.clone() };
                let known = self.trouble.insert(key.clone(), trouble).is_some();
                // The first refusal of a batch tells for all of it; a single attempt is told each time.
                let told =
                    note(NoteKind::Warning, "FailedCreate", format!("Error creating: {}", status.message));
                if known && !alone { None } else { told }
            }
            (Intent::Delete(_), Err(status)) if status.reason != Reason::NotFound => {
                let trouble = Trouble { reason: "FailedDelete", message: status.message.clone() };
                self.trouble.insert(key.clone(), trouble);
                note(NoteKind::Warning, "FailedDelete", format!("Error deleting: {}", status.message))
            }
            _ => None,
        }
    }
}

/// In a namespace that ends, nothing can be made and nobody wants to hear of it.
fn is_no_trouble(status: &Status) -> bool {
    status.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn note(set: &Set, severity: NoteKind, reason: &str, message: String) -> Note {
    let (api_version, kind) = set.type_names();
    Note {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: set.key.namespace().to_owned(),
        name: set.name().to_owned(),
        uid: set.uid.clone(),
        severity,
        reason: reason.to_owned(),
        message,
    }
}
