//! Garbage collection: what has lost its owners goes, and finalizers that wait for dependents are taken off.
//!
//! The log is one total order and an owner is written before its dependents, so an owner that the inventory does
//! not have is gone: nobody has to be asked.

use std::fmt;

use bus::command::{PatchFormat, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::json;

use crate::inventory::{Inventory, Owner, Record};
use crate::namespaces;

/// Deletion waits until the dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Deletion waits until the dependents were let go.
pub const ORPHAN: &str = "orphan";
/// Writes in one decision: a batch on the bus. What is left follows in the next.
pub const WRITES_MAX: usize = 500;

/// The controller: decides about objects and about namespaces, on one inventory.
#[derive(Debug, Default)]
pub struct Collector {
    inventory: Inventory,
}

/// What is decided about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An object's owners and dependents.
    Object(Key),
    /// A namespace's content.
    Namespace(String),
}

// === impl Collector ===

impl Controller for Collector {
    type Key = Subject;
    const NAME: &'static str = "garbage-collector";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[];

    fn observe(&mut self, observed: &Observed) -> Vec<Subject> {
        let old = self.inventory.apply(observed);
        match observed {
            Observed::Put(item) => self.concerned(&item.key, old.as_ref()),
            Observed::Delete { key, .. } => self.concerned(key, old.as_ref()),
            Observed::Reset | Observed::Synced => Vec::new(),
        }
    }

    fn decide(&mut self, subject: &Subject, _now: Timestamp) -> Decision {
        match subject {
            Subject::Object(key) => decide(&self.inventory, key),
            Subject::Namespace(name) => namespaces::decide(&self.inventory, name),
        }
    }
}

impl Collector {
    /// Whom a change of `key` concerns: itself, its owners that wait for it, its dependents, its namespace.
    fn concerned(&self, key: &Key, old: Option<&Record>) -> Vec<Subject> {
        let new = self.inventory.get(key);
        let mut subjects = Vec::new();
        if new.is_some_and(|record| record.deleting || !record.owners.is_empty()) {
            subjects.push(Subject::Object(key.clone()));
        }
        let owners = [old, new].into_iter().flatten().flat_map(|record| &record.owners);
        subjects.extend(
            owners
                .filter_map(|owner| self.inventory.by_uid(&owner.uid))
                .filter(|(_, owner)| owner.deleting)
                .map(|(key, _)| Subject::Object(key.clone())),
        );
        let fate_changed = new.is_none_or(|record| record.deleting);
        if let Some(record) = old.or(new).filter(|_| fate_changed) {
            subjects.extend(self.inventory.dependents(&record.uid).cloned().map(Subject::Object));
        }
        match (key.collection(), key.namespace()) {
            ("core/namespaces/", _) => subjects.push(Subject::Namespace(key.name().to_owned())),
            (_, "") => {}
            (_, namespace) if namespaces::ends(&self.inventory, namespace) => {
                subjects.push(Subject::Namespace(namespace.to_owned()));
            }
            _ => {}
        }
        subjects
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Object(key) => key.fmt(f),
            Subject::Namespace(name) => write!(f, "namespace {name}"),
        }
    }
}

/// What the owners and dependents of an object ask for.
fn decide(inventory: &Inventory, key: &Key) -> Decision {
    let Some(record) = inventory.get(key) else { return nothing("is gone") };
    let has = |finalizer: &str| record.finalizers.iter().any(|one| one == finalizer);
    if record.deleting && has(ORPHAN) {
        return let_go(inventory, key, record);
    }
    if record.deleting && has(FOREGROUND) {
        return delete_dependents_first(inventory, key, record);
    }
    if record.deleting || record.owners.is_empty() {
        return nothing("has no business with owners");
    }
    judge_owners(inventory, key, record)
}

fn let_go(inventory: &Inventory, key: &Key, record: &Record) -> Decision {
    let writes: Vec<Write> = inventory
        .dependents(&record.uid)
        .filter_map(|dependent| Some((dependent, inventory.get(dependent)?)))
        .map(|(dependent, theirs)| without_owners(dependent, theirs, |owner| owner.uid != record.uid))
        .take(WRITES_MAX)
        .collect();
    if writes.is_empty() {
        return write(without_finalizer(key, record, ORPHAN), "no dependents are left to orphan");
    }
    Decision { writes, reason: "its dependents are to stay", ..Decision::default() }
}

fn delete_dependents_first(inventory: &Inventory, key: &Key, record: &Record) -> Decision {
    let dependents: Vec<(&Key, &Record)> = inventory
        .dependents(&record.uid)
        .filter_map(|dependent| Some((dependent, inventory.get(dependent)?)))
        .collect();
    let blocked = dependents.iter().any(|(_, theirs)| {
        theirs.owners.iter().any(|owner| owner.uid == record.uid && owner.block_owner_deletion == Some(true))
    });
    if !blocked {
        return write(without_finalizer(key, record, FOREGROUND), "no dependent blocks its deletion");
    }
    let alive = |record: &Record, uid: &str| {
        record.owners.iter().any(|owner| owner.uid != uid && lives(inventory, owner))
    };
    let writes = dependents
        .iter()
        .filter(|(_, theirs)| !theirs.deleting && !alive(theirs, &record.uid))
        .map(|(dependent, theirs)| delete(dependent, theirs, "Foreground"))
        .take(WRITES_MAX)
        .collect();
    Decision { writes, reason: "its dependents go first", ..Decision::default() }
}

fn judge_owners(inventory: &Inventory, key: &Key, record: &Record) -> Decision {
    let (living, rest): (Vec<&Owner>, Vec<&Owner>) =
        record.owners.iter().partition(|owner| lives(inventory, owner));
    if rest.is_empty() {
        return nothing("its owners live");
    }
    let waited_for = rest.iter().any(|owner| inventory.by_uid(&owner.uid).is_some());
    if living.is_empty() {
        let policy = if waited_for { "Foreground" } else { "Background" };
        return write(delete(key, record, policy), "its owners are gone");
    }
    let gone = |owner: &Owner| inventory.by_uid(&owner.uid).is_none();
    if !rest.iter().any(|owner| gone(owner)) {
        return nothing("another owner lives");
    }
    write(without_owners(key, record, |owner| !gone(owner)), "some of its owners are gone")
}

/// Whether an owner is there and does not wait for its dependents to go.
fn lives(inventory: &Inventory, owner: &Owner) -> bool {
    inventory.by_uid(&owner.uid).is_some_and(|(_, record)| {
        !(record.deleting && record.finalizers.iter().any(|one| one == FOREGROUND))
    })
}

fn nothing(reason: &'static str) -> Decision {
    Decision { reason, ..Decision::default() }
}

fn write(write: Write, reason: &'static str) -> Decision {
    Decision { writes: vec![write], reason, ..Decision::default() }
}

/// Deletes exactly this object; another one of its name is left alone.
pub fn delete(key: &Key, record: &Record, policy: &str) -> Write {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "propagationPolicy": policy, "preconditions": {"uid": record.uid},
    });
    Write::Delete {
        resource: record.resource.clone(),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        options: options.to_string().into(),
    }
}

fn without_finalizer(key: &Key, record: &Record, finalizer: &str) -> Write {
    let rest: Vec<&String> = record.finalizers.iter().filter(|one| *one != finalizer).collect();
    patch(key, record, json!({"finalizers": rest}))
}

fn without_owners(key: &Key, record: &Record, keep: impl Fn(&Owner) -> bool) -> Write {
    let rest: Vec<&Owner> = record.owners.iter().filter(|owner| keep(owner)).collect();
    patch(key, record, json!({"ownerReferences": rest}))
}

/// Changes metadata of the object as we know it; one that has changed since is decided about again.
fn patch(key: &Key, record: &Record, mut metadata: serde_json::Value) -> Write {
    metadata["uid"] = json!(record.uid);
    metadata["resourceVersion"] = json!(record.revision.to_string());
    Write::Patch {
        resource: record.resource.clone(),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: json!({"metadata": metadata}).to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;
    use serde_json::Value;
    use store::Item;

    fn mk_item(resource: &str, name: &str, metadata: Value) -> Item {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "Any", "metadata": metadata});
        object["metadata"]["name"] = json!(name);
        let key = Key::object("apps", resource, "default", name);
        let revision = Revision(7);
        Item { key, revision, created: revision, value: object.to_string().into() }
    }

    fn owned_by(uid: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Any", "name": uid, "uid": uid, "blockOwnerDeletion": true})
    }

    fn decided(items: Vec<Item>, about: &str) -> Vec<String> {
        let mut collector = Collector::default();
        items.into_iter().for_each(|item| {
            collector.observe(&Observed::Put(item));
        });
        let (resource, name) = about.split_once('/').expect("resource/name");
        let subject = Subject::Object(Key::object("apps", resource, "default", name));
        collector.decide(&subject, Timestamp::UNIX_EPOCH).writes.iter().map(shown).collect()
    }

    fn shown(write: &Write) -> String {
        match write {
            Write::Delete { name, options, .. } => {
                let options: Value = serde_json::from_slice(options).expect("JSON");
                format!("delete {name} {}", options["propagationPolicy"].as_str().unwrap_or_default())
            }
            Write::Patch { name, patch, .. } => format!("patch {name} {}", String::from_utf8_lossy(patch)),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_dependent_of_nobody_is_deleted_and_one_of_a_living_owner_stays() {
        let owner = mk_item("deployments", "web", json!({"uid": "d"}));
        let dependent =
            || mk_item("replicasets", "web-1", json!({"uid": "r", "ownerReferences": [owned_by("d")]}));
        assert_eq!(decided(vec![dependent()], "replicasets/web-1"), ["delete web-1 Background"]);
        assert_eq!(decided(vec![owner, dependent()], "replicasets/web-1"), Vec::<String>::new());
    }

    #[test]
    fn a_reference_to_one_of_two_owners_that_is_gone_is_dropped() {
        let owner = mk_item("deployments", "web", json!({"uid": "d"}));
        let references = json!([owned_by("d"), owned_by("gone")]);
        let dependent = mk_item("replicasets", "web-1", json!({"uid": "r", "ownerReferences": references}));
        let writes = decided(vec![owner, dependent], "replicasets/web-1");
        assert!(writes[0].starts_with("patch web-1") && !writes[0].contains("gone"), "{writes:?}");
    }

    #[test]
    fn foreground_deletion_takes_the_dependents_first_and_then_its_finalizer() {
        let owner = || {
            let metadata =
                json!({"uid": "d", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FOREGROUND]});
            mk_item("deployments", "web", metadata)
        };
        let dependent =
            mk_item("replicasets", "web-1", json!({"uid": "r", "ownerReferences": [owned_by("d")]}));
        assert_eq!(decided(vec![owner(), dependent], "deployments/web"), ["delete web-1 Foreground"]);
        let writes = decided(vec![owner()], "deployments/web");
        assert!(writes[0].contains(r#""finalizers":[]"#), "{writes:?}");
    }

    #[test]
    fn orphans_lose_their_reference_before_the_owner_goes() {
        let metadata =
            json!({"uid": "d", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [ORPHAN]});
        let owner = mk_item("deployments", "web", metadata);
        let dependent =
            mk_item("replicasets", "web-1", json!({"uid": "r", "ownerReferences": [owned_by("d")]}));
        let writes = decided(vec![owner, dependent], "deployments/web");
        assert!(
            writes[0].starts_with("patch web-1") && writes[0].contains(r#""ownerReferences":[]"#),
            "{writes:?}"
        );
    }

    #[test]
    fn the_deletion_of_an_owner_concerns_its_dependents() {
        let mut collector = Collector::default();
        let owner = mk_item("deployments", "web", json!({"uid": "d"}));
        collector.observe(&Observed::Put(owner.clone()));
        let dependent =
            mk_item("replicasets", "web-1", json!({"uid": "r", "ownerReferences": [owned_by("d")]}));
        collector.observe(&Observed::Put(dependent.clone()));
        let gone = Observed::Delete { key: owner.key.clone(), previous: owner };
        assert_eq!(collector.observe(&gone), [Subject::Object(dependent.key)]);
    }
}
