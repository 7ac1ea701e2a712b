//! The controller of DaemonSets: one pod on each node that the set is for.
//!
//! ```text
//!  nodes ────> eligible ──verdict of each set about each node──┐
//!  pods, revisions ────────────────────────────────────────────┴─> decide ──> spot, rolling, status ──> act
//! ```
//! The pods name their node and the scheduler binds them, so that there is room for them before they start.

pub mod act;
pub mod backoff;
pub mod decide;
pub mod demand;
pub mod eligible;
pub mod pod;
pub mod rolling;
pub mod spot;
pub mod status;
#[cfg(test)]
pub mod tests;

use bus::command::Reply;
use client::{Controller, Decision, Note, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use tracing::warn;

use crate::attempts::Attempts;
use crate::observe::{DaemonPod, DaemonSet, Managers, Node, Owned, Phase, Revision};
use backoff::Backoffs;
use decide::{Observation, Plan};
use eligible::Eligible;

/// Follows DaemonSets, nodes, pods and revisions, and decides about one set at a time.
#[derive(Debug, Default)]
pub struct DaemonSets {
    sets: Eligible,
    managers: Managers,
    pods: Owned<DaemonPod>,
    revisions: Owned<Revision>,
    backoffs: Backoffs,
    attempts: Attempts,
}

// === impl DaemonSets ===

impl DaemonSets {
    fn put_set(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        match DaemonSet::parse(key, json) {
            Ok(set) => {
                self.managers.put(key, &set.uid);
                self.sets.put_set(set);
                vec![key.clone()]
            }
            Err(error) => {
                warn!(%key, "left alone: {error}");
                self.remove_set(key)
            }
        }
    }

    fn remove_set(&mut self, key: &Key) -> Vec<Key> {
        self.managers.remove(key);
        self.sets.remove_set(key);
        vec![key.clone()]
    }

    fn put_node(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        match Node::parse(json) {
            Ok(node) => self.sets.put_node(key.name(), node),
            Err(error) => {
                warn!(%key, "left alone: {error}");
                self.sets.remove_node(key.name())
            }
        }
    }

    fn put_pod(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let pod = match DaemonPod::parse(json) {
            Ok(Some(pod)) => pod,
            Ok(None) => return self.remove_pod(key),
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return self.remove_pod(key);
            }
        };
        let selects = |set: &Key| self.sets.get(set).is_some_and(|entry| entry.set.selects(&pod.pod.labels));
        let mut concerned = self.managers.concerned(key, pod.pod.manager.as_deref(), selects);
        match self.pods.put(key.clone(), pod) {
            // Most changes of a pod are of no interest here.
            Some(previous) if self.pods.get(key) == Some(&previous) => Vec::new(),
            Some(previous) => {
                concerned.extend(self.managers.find(previous.pod.manager.as_deref()));
                concerned
            }
            None => concerned,
        }
    }

    fn remove_pod(&mut self, key: &Key) -> Vec<Key> {
        let pod = self.pods.remove(key);
        pod.and_then(|pod| self.managers.find(pod.pod.manager.as_deref())).into_iter().collect()
    }

    /// Only one that has lost its set concerns anybody: those that have one are that set's own writes.
    fn put_revision(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let revision = match Revision::parse(json) {
            Ok(Some(revision)) => revision,
            Ok(None) => {
                self.revisions.remove(key);
                return Vec::new();
            }
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return Vec::new();
            }
        };
        let is_orphan = revision.0.metadata.owner_references.as_ref().is_none_or(Vec::is_empty);
        let labels = revision.0.metadata.labels.clone().unwrap_or_default();
        let selects = |set: &Key| self.sets.get(set).is_some_and(|entry| entry.set.selects(&labels));
        let concerned = if is_orphan { self.managers.concerned(key, None, selects) } else { Vec::new() };
        self.revisions.put(key.clone(), revision);
        concerned
    }

    fn plan<'a>(&'a self, key: &Key, now: Timestamp) -> Option<(&'a DaemonSet, Plan<'a>)> {
        let entry = self.sets.get(key)?;
        let set = &entry.set;
        let in_namespace = |name: &str| Key::object("apps", "controllerrevisions", key.namespace(), name);
        let selects = |labels: Option<&_>| labels.is_some_and(|labels| set.selects(labels));
        let orphan_revisions = self.revisions.orphans(key.namespace()).map(|(_, revision)| &revision.0);
        let observation = Observation {
            set,
            nodes: &entry.nodes,
            owned: self.pods.of(&set.uid).map(|(_, pod)| pod).collect(),
            orphans: self
                .pods
                .orphans(key.namespace())
                .map(|(_, pod)| pod)
                .filter(|pod| set.selects(&pod.pod.labels))
                .collect(),
            revisions: self.revisions.of(&set.uid).map(|(_, revision)| &revision.0).collect(),
            orphan_revisions: orphan_revisions
                .filter(|one| {
                    one.metadata.deletion_timestamp.is_none() && selects(one.metadata.labels.as_ref())
                })
                .collect(),
            named: &|name| self.revisions.get(&in_namespace(name)).is_some(),
            held: &|node| self.backoffs.until(key, node, now),
            trouble: self.attempts.trouble(key),
        };
        Some((set, decide::decide(&observation, now)))
    }
}

impl Controller for DaemonSets {
    type Key = Key;
    const NAME: &'static str = "daemonset-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("apps", "daemonsets"), ("", "nodes"), ("", "pods"), ("apps", "controllerrevisions")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                let (mut attempts, backoffs) =
                    (std::mem::take(&mut self.attempts), std::mem::take(&mut self.backoffs));
                attempts.reset();
                *self = DaemonSets { attempts, backoffs, ..Self::default() };
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) => match item.key.resource() {
                "daemonsets" => self.put_set(&item.key, &item.value),
                "nodes" => self.put_node(&item.key, &item.value),
                "pods" => self.put_pod(&item.key, &item.value),
                _ => self.put_revision(&item.key, &item.value),
            },
            Observed::Delete { key, .. } => match key.resource() {
                "daemonsets" => self.remove_set(key),
                "nodes" => self.sets.remove_node(key.name()),
                "pods" => self.remove_pod(key),
                _ => {
                    self.revisions.remove(key);
                    Vec::new()
                }
            },
        }
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        let Some((set, plan)) = self.plan(key, now) else {
            self.attempts.forget(key);
            self.backoffs.forget(key);
            return Decision { reason: "the set is gone", ..Decision::default() };
        };
        let (writes, intents) = act::writes(set, &plan);
        let notes = plan.ended.iter().map(|pod| act::ended(set, pod)).collect();
        let decision = Decision { writes, notes, again_after: plan.again_after, reason: plan.reason };
        let failed = plan.ended.iter().filter(|pod| pod.pod.phase == Phase::Failed);
        let failed_on: Vec<String> = failed.map(|pod| pod.node.clone()).collect();
        let is_complete = plan.is_complete;
        failed_on.iter().for_each(|node| self.backoffs.begin(key, node, now));
        if is_complete {
            self.attempts.settle(key);
        }
        self.attempts.begin(key, intents);
        decision
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        let told = self.attempts.acted(key, index, reply)?;
        let entry = self.sets.get(key)?;
        Some(told.about(act::TYPE_NAMES, key, &entry.set.uid))
    }
}
