//! Owners and what they manage, as a controller sees them.

use std::collections::{BTreeMap, HashMap};

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

    fn put(&mut self, item: &Item) -> Vec<Key> {
        if item.key.resource() == self.owner_resource {
            let Some(owner) = client::typed::<O>(&item.key, &item.value) else { return Vec::new() };
            let uid = owner.metadata().uid.clone().unwrap_or_default();
            self.key_of_uid.insert(uid, item.key.clone());
            self.owners.insert(item.key.clone(), owner);
            return vec![item.key.clone()];
        }
        let before = self.remove(&item.key);
        let Some(object) = client::typed::<D>(&item.key, &item.value) else { return before };
        let Some(uid) = controller_uid(object.metadata()).map(str::to_owned) else { return before };
        let owner = self.key_of_uid.get(&uid).cloned();
        self.owner_of.insert(item.key.clone(), uid.clone());
        self.owned.entry(uid).or_default().insert(item.key.clone(), object);
        owner.into_iter().collect()
    }

    fn remove(&mut self, key: &Key) -> Vec<Key> {
        if key.resource() == self.owner_resource {
            if let Some(owner) = self.owners.remove(key) {
                self.key_of_uid.remove(owner.metadata().uid.as_deref().unwrap_or_default());
            }
            return Vec::new();
        }
        let Some(uid) = self.owner_of.remove(key) else { return Vec::new() };
        if let Some(objects) = self.owned.get_mut(&uid) {
            objects.remove(key);
            if objects.is_empty() {
                self.owned.remove(&uid);
            }
        }
        self.key_of_uid.get(&uid).cloned().into_iter().collect()
    }
}

fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}
