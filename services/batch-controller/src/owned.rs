//! Owners and what they manage, as a controller sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use client::Observed;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::DeserializeOwned;
use model::Key;
use store::Item;

/// Owners of one kind by key, and the objects that each manages.
#[derive(Debug)]
pub struct Family<O, D> {
    owner_resource: &'static str,
    owners: HashMap<Key, O>,
    key_of_uid: HashMap<String, Key>,
    owned: HashMap<String, BTreeMap<Key, D>>,
    owner_of: HashMap<Key, String>,
    /// Uids of owners that are gone while some of what they managed is there, by the key that they had.
    gone: HashMap<Key, BTreeSet<String>>,
}

/// What has metadata.
pub trait HasMetadata {
    /// The metadata.
    fn metadata(&self) -> &ObjectMeta;
}

impl<T: k8s_openapi::Metadata<Ty = ObjectMeta>> HasMetadata for T {
    fn metadata(&self) -> &ObjectMeta {
        k8s_openapi::Metadata::metadata(self)
    }
}

// === impl Family ===

impl<O, D> Family<O, D>
where
    O: HasMetadata + DeserializeOwned,
    D: HasMetadata + DeserializeOwned,
{
    /// Empty; `owner_resource` is the plural by which keys of owners are told from those of what they own.
    pub fn new(owner_resource: &'static str) -> Self {
        Family {
            owner_resource,
            owners: HashMap::new(),
            key_of_uid: HashMap::new(),
            owned: HashMap::new(),
            owner_of: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    /// Takes in a change; returns the owner that it concerns.
    pub fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                *self = Family::new(self.owner_resource);
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
        }
    }

    /// An owner.
    pub fn owner(&self, key: &Key) -> Option<&O> {
        self.owners.get(key)
    }

    /// What an owner manages, in the order of the keys.
    pub fn owned(&self, owner: &O) -> Vec<&D> {
        let uid = owner.metadata().uid.as_deref().unwrap_or_default();
        self.owned.get(uid).into_iter().flatten().map(|(_, object)| object).collect()
    }

    /// What is there of owners that had this key and are gone.
    pub fn left_behind(&self, key: &Key) -> impl Iterator<Item = &D> {
        let uids = self.gone.get(key).into_iter().flatten();
        uids.filter_map(|uid| self.owned.get(uid)).flatten().map(|(_, object)| object)
    }

    fn put(&mut self, item: &Item) -> Vec<Key> {
        if item.key.resource() == self.owner_resource {
            let Some(owner) = client::typed::<O>(&item.key, &item.value) else { return Vec::new() };
            let uid = owner.metadata().uid.clone().unwrap_or_default();
            self.found(&item.key, &uid);
            self.key_of_uid.insert(uid, item.key.clone());
            self.owners.insert(item.key.clone(), owner);
            return vec![item.key.clone()];
        }
        let before = self.remove(&item.key);
        let Some(object) = client::typed::<D>(&item.key, &item.value) else { return before };
        let Some((uid, name)) = owner(object.metadata()) else { return before };
        let owner = self.key_of_uid.get(&uid).cloned().unwrap_or_else(|| {
            let key = Key::object("batch", self.owner_resource, item.key.namespace(), &name);
            self.gone.entry(key.clone()).or_default().insert(uid.clone());
            key
        });
        self.owner_of.insert(item.key.clone(), uid.clone());
        self.owned.entry(uid).or_default().insert(item.key.clone(), object);
        vec![owner]
    }

    fn found(&mut self, key: &Key, uid: &str) {
        if let Some(uids) = self.gone.get_mut(key) {
            uids.remove(uid);
            if uids.is_empty() {
                self.gone.remove(key);
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Vec<Key> {
        if key.resource() == self.owner_resource {
            let Some(owner) = self.owners.remove(key) else { return Vec::new() };
            let uid = owner.metadata().uid.clone().unwrap_or_default();
            self.key_of_uid.remove(&uid);
            if !self.owned.contains_key(&uid) {
                return Vec::new();
            }
            self.gone.entry(key.clone()).or_default().insert(uid);
            return vec![key.clone()];
        }
        let Some(uid) = self.owner_of.remove(key) else { return Vec::new() };
        if let Some(objects) = self.owned.get_mut(&uid)
            && let Some(object) = objects.remove(key)
            && objects.is_empty()
        {
            self.owned.remove(&uid);
            if let Some((_, name)) = owner(object.metadata()) {
                let owner = Key::object("batch", self.owner_resource, key.namespace(), &name);
                self.found(&owner, &uid);
            }
        }
        self.key_of_uid.get(&uid).cloned().into_iter().collect()
    }
}

/// Uid and name of the owner that manages an object. What a Job has let go of still names the Job in its labels, and
/// whatever holds it waits for that Job's controller: it counts as left behind by an owner that there never was.
fn owner(metadata: &ObjectMeta) -> Option<(String, String)> {
    const JOB_NAME: &str = "batch.kubernetes.io/job-name";
    let mut owners = metadata.owner_references.iter().flatten();
    if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
        return Some((owner.uid.clone(), owner.name.clone()));
    }
    let is_held = metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    let job = metadata.labels.as_ref()?.get(JOB_NAME).filter(|_| is_held)?;
    Some((format!("let go of by {job}"), job.clone()))
}
