//! A plan about a set as writes to the API.

use bus::command::{PatchFormat, Resource, Write};
use client::ownership;
use serde_json::{Map, Value, json};

use super::decide::Plan;
use crate::observe::{Pod, Set};

/// What a write is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// A pod is to come.
    Create,
    /// This pod is to go.
    Delete(String),
    /// Something about which nobody is told.
    Quiet,
}

/// Longest name that leaves room for the suffix of generated ones.
const GENERATED_PREFIX_MAX: usize = 247;

/// The writes of a plan, and what each is for.
pub fn writes(set: &Set, plan: &Plan<'_>) -> (Vec<Write>, Vec<Intent>) {
    let mut writes = Vec::new();
    let mut intents = Vec::new();
    let mut add = |write, intent| {
        writes.push(write);
        intents.push(intent);
    };
    plan.adopt.iter().for_each(|pod| add(adopt(set, pod), Intent::Quiet));
    plan.release.iter().for_each(|pod| add(release(set, pod), Intent::Quiet));
    if plan.create > 0 {
        let create = create(set);
        (0..plan.create).for_each(|_| add(create.clone(), Intent::Create));
    }
    plan.delete.iter().for_each(|pod| add(delete(set, pod), Intent::Delete(pod.name.clone())));
    if let Some(status) = &plan.status {
        add(patch_status(set, &crate::patch::status(status)), Intent::Quiet);
    }
    (writes, intents)
}

/// The name in an object's JSON.
pub fn name(json: &[u8]) -> String {
    let object: Value = serde_json::from_slice(json).unwrap_or_default();
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn pods() -> Resource {
    Resource::new("", "v1", "pods")
}

/// All pods of a decision are made from the same bytes.
fn create(set: &Set) -> Write {
    let mut prefix = set.name().to_owned();
    prefix.truncate(GENERATED_PREFIX_MAX);
    let mut metadata = Map::new();
    metadata.insert("generateName".to_owned(), json!(prefix + "-"));
    metadata.insert("namespace".to_owned(), json!(set.key.namespace()));
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = set.template.0.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("ownerReferences".to_owned(), json!([reference(set)]));
    let spec = set.template.0.get("spec").cloned().unwrap_or_default();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    Write::Create {
        resource: pods(),
        namespace: set.key.namespace().to_owned(),
        object: pod.to_string().into(),
    }
}

fn reference(set: &Set) -> Value {
    let (api_version, kind) = set.type_names();
    ownership::controller_reference(api_version, kind, set.name(), &set.uid)
}

fn adopt(set: &Set, pod: &Pod) -> Write {
    patch_pod(set, pod, ownership::adopt(reference(set), &pod.uid))
}

fn release(set: &Set, pod: &Pod) -> Write {
    patch_pod(set, pod, ownership::release(&set.uid, &pod.uid))
}

fn patch_pod(set: &Set, pod: &Pod, patch: Value) -> Write {
    Write::Patch {
        resource: pods(),
        namespace: set.key.namespace().to_owned(),
        name: pod.name.clone(),
        subresource: String::new(),
        format: PatchFormat::Strategic,
        patch: patch.to_string().into(),
    }
}

/// Only this very pod, not another that has its name by now.
fn delete(set: &Set, pod: &Pod) -> Write {
    Write::Delete {
        resource: pods(),
        namespace: set.key.namespace().to_owned(),
        name: pod.name.clone(),
        options: json!({"preconditions": {"uid": pod.uid}}).to_string().into(),
    }
}

fn patch_status(set: &Set, patch: &Value) -> Write {
    let plural = set.key.resource();
    Write::Patch {
        resource: Resource::new(set.key.group(), "v1", plural),
        namespace: set.key.namespace().to_owned(),
        name: set.name().to_owned(),
        subresource: "status".to_owned(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}
