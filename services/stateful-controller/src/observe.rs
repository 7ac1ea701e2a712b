//! The view: every StatefulSet with the pods, revisions and claims that belong to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bus::command::Reply;
use client::{Controller, Decision, Note, Observed};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use model::Key;
use store::Item;

use crate::claims::{self, Claim, Claims};
use crate::decide::{self, Plan};

/// The controller's view.
#[derive(Debug, Default)]
pub struct StatefulSets {
    sets: HashMap<Key, Arc<StatefulSet>>,
    set_of_uid: HashMap<String, Key>,
    pods: HashMap<String, BTreeMap<Key, Arc<Pod>>>,
    revisions: HashMap<String, BTreeMap<Key, Arc<ControllerRevision>>>,
    owner_of: HashMap<Key, String>,
    claims: BTreeMap<Key, Claim>,
    /// What is to be told of the writes of each set's last decision.
    outcomes: HashMap<Key, BTreeMap<usize, Note>>,
}

/// What a decision about one set looks at.
#[derive(Debug, Default)]
pub struct Family<'a> {
    /// The set's pods.
    pub pods: Vec<&'a Pod>,
    /// Its revisions, the oldest first.
    pub revisions: Vec<&'a ControllerRevision>,
    /// The claims in its namespace.
    pub claims: Claims<'a>,
}

/// The uid of the object's managing owner.
pub fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    client::ownership::controller_of(metadata.owner_references.as_ref()).map(|owner| owner.uid.as_str())
}

// === impl StatefulSets ===

impl StatefulSets {
    fn put(&mut self, item: &Item) -> Vec<Key> {
        match item.key.resource() {
            "statefulsets" => {
                let Some(set) = client::typed::<StatefulSet>(&item.key, &item.value) else {
                    return Vec::new();
                };
                let uid = set.metadata.uid.clone().unwrap_or_default();
                self.set_of_uid.insert(uid, item.key.clone());
                self.sets.insert(item.key.clone(), Arc::new(set));
                vec![item.key.clone()]
            }
            "pods" => {
                let before = self.remove(&item.key);
                let Some(pod) = client::typed::<Pod>(&item.key, &item.value) else { return before };
                let uid = controller_uid(&pod.metadata).map(str::to_owned);
                self.adopt(&item.key, uid, |view, uid, key| {
                    view.pods.entry(uid).or_default().insert(key, Arc::new(pod));
                })
            }
            "controllerrevisions" => {
                let before = self.remove(&item.key);
                let Some(revision) = client::typed::<ControllerRevision>(&item.key, &item.value) else {
                    return before;
                };
                let uid = controller_uid(&revision.metadata).map(str::to_owned);
                self.adopt(&item.key, uid, |view, uid, key| {
                    view.revisions.entry(uid).or_default().insert(key, Arc::new(revision));
                })
            }
            _ => {
                let claim = client::typed::<Claim>(&item.key, &item.value);
                self.claims.extend(claim.map(|claim| (item.key.clone(), claim)));
                self.sets_of(&item.key)
            }
        }
    }

    fn adopt(
        &mut self,
        key: &Key,
        uid: Option<String>,
        insert: impl FnOnce(&mut Self, String, Key),
    ) -> Vec<Key> {
        let Some(uid) = uid else { return Vec::new() };
        self.owner_of.insert(key.clone(), uid.clone());
        let set = self.set_of_uid.get(&uid).cloned();
        insert(self, uid, key.clone());
        set.into_iter().collect()
    }

    /// Forgets an object; returns the set that it belonged to.
    fn remove(&mut self, key: &Key) -> Vec<Key> {
        if key.resource() == "statefulsets" {
            self.outcomes.remove(key);
            if let Some(set) = self.sets.remove(key) {
                self.set_of_uid.remove(&set.metadata.uid.clone().unwrap_or_default());
            }
            return Vec::new();
        }
        if self.claims.remove(key).is_some() {
            return self.sets_of(key);
        }
        let Some(uid) = self.owner_of.remove(key) else { return Vec::new() };
        remove_from(&mut self.pods, &uid, key);
        remove_from(&mut self.revisions, &uid, key);
        self.set_of_uid.get(&uid).cloned().into_iter().collect()
    }

    /// The sets that a claim is of, by its name.
    fn sets_of(&self, claim: &Key) -> Vec<Key> {
        let sets = claims::sets_of(claim.name());
        let sets = sets.map(|name| Key::object("apps", "statefulsets", claim.namespace(), name));
        sets.filter(|set| self.sets.contains_key(set)).collect()
    }

    fn family(&self, key: &Key, uid: &str) -> Family<'_> {
        let mut revisions: Vec<&ControllerRevision> =
            self.revisions.get(uid).into_iter().flatten().map(|(_, revision)| revision.as_ref()).collect();
        revisions.sort_by_key(|revision| revision.revision);
        let prefix = Key::prefix("", "persistentvolumeclaims", Some(key.namespace()));
        let from = self.claims.range(Key::from_raw(&prefix)..);
        let claims = from.take_while(|(key, _)| key.as_str().starts_with(&prefix));
        Family {
            pods: self.pods.get(uid).into_iter().flatten().map(|(_, pod)| pod.as_ref()).collect(),
            revisions,
            claims: claims.map(|(key, claim)| (key.name(), claim)).collect(),
        }
    }
}

fn remove_from<T>(index: &mut HashMap<String, BTreeMap<Key, T>>, uid: &str, key: &Key) {
    if let Some(entries) = index.get_mut(uid) {
        entries.remove(key);
        if entries.is_empty() {
            index.remove(uid);
        }
    }
}

impl Controller for StatefulSets {
    type Key = Key;
    const NAME: &'static str = "statefulset-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[
        ("apps", "statefulsets"),
        ("apps", "controllerrevisions"),
        ("", "pods"),
        ("", "persistentvolumeclaims"),
    ];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                *self = StatefulSets::default();
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
        }
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        let Some(set) = self.sets.get(key) else {
            return Decision { reason: "the set is gone", ..Decision::default() };
        };
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let Plan { decision, outcomes } = decide::decide(set, &self.family(key, uid), now);
        self.outcomes.insert(key.clone(), outcomes);
        decision
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        let note = self.outcomes.get_mut(key)?.remove(&index)?;
        decide::outcome(note, reply.as_ref().err())
    }
}
