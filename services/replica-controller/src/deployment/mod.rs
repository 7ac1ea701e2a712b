//! The controller of Deployments: a ReplicaSet for each template, and a controlled way from one to the next.

pub mod act;
pub mod bounds;
pub mod decide;
pub mod draft;
#[cfg(test)]
pub mod fixture;
pub mod history;
pub mod new_set;
pub mod proportion;
pub mod recreate;
pub mod rolling;
pub mod status;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bus::command::Reply;
use client::{Controller, Decision, Note, NoteKind, Observed};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Reason};
use tracing::warn;

use crate::observe::{Deployment, Managers, Owned, Set};
use act::Intent;
use decide::Observation;

/// Follows Deployments and their sets, and decides about one Deployment at a time. It needs no pods: what it has to
/// know of them the statuses of the sets say.
#[derive(Debug, Default)]
pub struct Deployments {
    deployments: HashMap<Key, Deployment>,
    managers: Managers,
    sets: Owned<Set>,
    /// What the writes of the last decision were for, in their order.
    intents: HashMap<Key, Vec<Intent>>,
    /// Why the new set could not be made.
    create_errors: HashMap<Key, String>,
}

// === impl Deployments ===

impl Deployments {
    fn put_deployment(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let deployment = match Deployment::parse(key, json) {
            Ok(deployment) => deployment,
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return self.remove_deployment(key);
            }
        };
        self.managers.put(key, &deployment.uid);
        self.deployments.insert(key.clone(), deployment);
        vec![key.clone()]
    }

    fn remove_deployment(&mut self, key: &Key) -> Vec<Key> {
        self.managers.remove(key);
        self.deployments.remove(key);
        vec![key.clone()]
    }

    fn put_set(&mut self, key: &Key, json: &[u8]) -> Vec<Key> {
        let set = match Set::parse(key, json) {
            Ok(set) => set,
            Err(error) => {
                warn!(%key, "left alone: {error}");
                return self.remove_set(key);
            }
        };
        let selects = |key: &Key| self.deployments.get(key).is_some_and(|one| one.selects(&set.labels));
        let mut concerned = self.managers.concerned(key, set.manager.as_deref(), selects);
        if let Some(previous) = self.sets.put(key.clone(), set) {
            concerned.extend(self.managers.find(previous.manager.as_deref()));
        }
        concerned
    }

    fn remove_set(&mut self, key: &Key) -> Vec<Key> {
        let set = self.sets.remove(key);
        set.and_then(|set| self.managers.find(set.manager.as_deref())).into_iter().collect()
    }
}

impl Controller for Deployments {
    type Key = Key;
    const NAME: &'static str = "deployment-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("apps", "deployments"), ("apps", "replicasets")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                let create_errors = std::mem::take(&mut self.create_errors);
                *self = Deployments { create_errors, ..Self::default() };
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) if item.key.resource() == "deployments" => {
                self.put_deployment(&item.key, &item.value)
            }
            Observed::Put(item) => self.put_set(&item.key, &item.value),
            Observed::Delete { key, .. } if key.resource() == "deployments" => self.remove_deployment(key),
            Observed::Delete { key, .. } => self.remove_set(key),
        }
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        let Some(deployment) = self.deployments.get(key) else {
            self.create_errors.remove(key);
            self.intents.remove(key);
            return Decision { reason: "the deployment is gone", ..Decision::default() };
        };
        let named = |name: &str| self.sets.get(&Key::object("apps", "replicasets", key.namespace(), name));
        let plan = decide::decide(
            &Observation {
                deployment,
                owned: self.sets.of(&deployment.uid).map(|(_, set)| set).collect(),
                orphans: self.sets.orphans(key.namespace()).map(|(_, set)| set).collect(),
                named: Box::new(named),
                create_error: self.create_errors.get(key).map(String::as_str),
            },
            now,
        );
        let (writes, intents) = act::writes(deployment, &plan);
        let decision =
            Decision { writes, again_after: plan.again_after, reason: plan.reason, notes: Vec::new() };
        if plan.create.is_none() {
            self.create_errors.remove(key);
        }
        match intents.is_empty() {
            true => self.intents.remove(key),
            false => self.intents.insert(key.clone(), intents),
        };
        decision
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        let intent = self.intents.get(key)?.get(index)?.clone();
        let deployment = self.deployments.get(key)?;
        let scaled = |direction: &str, name: &str, from: i32, to: i32| {
            let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
            Some(note(deployment, NoteKind::Normal, "ScalingReplicaSet", message))
        };
        match (intent, reply) {
            (Intent::Create { name, replicas }, Ok(_)) if replicas > 0 => scaled("up", &name, 0, replicas),
            (Intent::Scale { name, from, to }, Ok(_)) => {
                scaled(if from < to { "up" } else { "down" }, &name, from, to)
            }
            // Our view was behind: the next decision finds the set, or another name.
            (Intent::Create { .. }, Err(status)) if status.reason == Reason::AlreadyExists => None,
            (Intent::Create { name, .. }, Err(status)) => {
                let message = status::create_error(&name, &status.message);
                self.create_errors.insert(key.clone(), status.message.clone());
                Some(note(deployment, NoteKind::Warning, "ReplicaSetCreateError", message))
            }
            _ => None,
        }
    }
}

fn note(deployment: &Deployment, severity: NoteKind, reason: &str, message: String) -> Note {
    Note {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: deployment.key.namespace().to_owned(),
        name: deployment.name().to_owned(),
        uid: deployment.uid.clone(),
        severity,
        reason: reason.to_owned(),
        message,
    }
}
