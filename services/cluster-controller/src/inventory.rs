//! The metadata of everything in the cluster: who owns what, and what is in which namespace.

use std::collections::{BTreeSet, HashMap};

use bus::command::Resource;
use client::Observed;
use model::{Key, Revision};
use serde::Deserialize;
use store::Item;

/// What is known of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its resource, for writes.
    pub resource: Resource,
    /// Its uid.
    pub uid: String,
    /// When it last changed.
    pub revision: Revision,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// `spec.finalizers` of a namespace.
    pub spec_finalizers: Vec<String>,
}

/// One owner reference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The owner's API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the managing one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this dependent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// Every object by key, with indexes by owner and namespace.
#[derive(Debug, Default)]
pub struct Inventory {
    records: HashMap<Key, Record>,
    by_uid: HashMap<String, Key>,
    dependents: HashMap<String, BTreeSet<Key>>,
    in_namespace: HashMap<String, BTreeSet<Key>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Partial {
    api_version: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: String,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    finalizers: Vec<String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    finalizers: Vec<String>,
}

/// A kind's spec may be anything, so only a namespace's is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithoutSpec {
    api_version: String,
    metadata: Metadata,
}

// === impl Inventory ===

impl Inventory {
    /// Takes in a change; returns the record that was there before.
    pub fn apply(&mut self, observed: &Observed) -> Option<Record> {
        match observed {
            Observed::Reset => {
                *self = Inventory::default();
                None
            }
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
            Observed::Synced => None,
        }
    }

    /// What is known of an object.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    /// The object with a uid.
    pub fn by_uid(&self, uid: &str) -> Option<(&Key, &Record)> {
        let key = self.by_uid.get(uid)?;
        Some((key, self.records.get(key)?))
    }

    /// The objects that name `uid` as an owner, in the order of their keys.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// The objects in a namespace, in the order of their keys.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Key> {
        self.in_namespace.get(namespace).into_iter().flatten()
    }

    fn put(&mut self, item: &Item) -> Option<Record> {
        let record = parse(item)?;
        let old = self.remove(&item.key);
        self.by_uid.insert(record.uid.clone(), item.key.clone());
        for owner in &record.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(item.key.clone());
        }
        if !item.key.namespace().is_empty() {
            self.in_namespace.entry(item.key.namespace().to_owned()).or_default().insert(item.key.clone());
        }
        self.records.insert(item.key.clone(), record);
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Record> {
        let record = self.records.remove(key)?;
        self.by_uid.remove(&record.uid);
        for owner in &record.owners {
            remove_from(&mut self.dependents, &owner.uid, key);
        }
        remove_from(&mut self.in_namespace, key.namespace(), key);
        Some(record)
    }
}

fn remove_from(index: &mut HashMap<String, BTreeSet<Key>>, name: &str, key: &Key) {
    if let Some(keys) = index.get_mut(name) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(name);
        }
    }
}

fn parse(item: &Item) -> Option<Record> {
    // Keys of leaders hold no objects.
    if item.key.collection() == "fence/" {
        return None;
    }
    let partial = if item.key.collection() == "core/namespaces/" {
        client::typed::<Partial>(&item.key, &item.value)?
    } else {
        let WithoutSpec { api_version, metadata } = client::typed(&item.key, &item.value)?;
        Partial { api_version, metadata, spec: Spec::default() }
    };
    let version = partial.api_version.rsplit('/').next().unwrap_or_default();
    Some(Record {
        resource: Resource::new(item.key.group(), version, item.key.resource()),
        uid: partial.metadata.uid,
        revision: item.revision,
        deleting: partial.metadata.deletion_timestamp.is_some(),
        finalizers: partial.metadata.finalizers,
        owners: partial.metadata.owner_references,
        spec_finalizers: partial.spec.finalizers,
    })
}
