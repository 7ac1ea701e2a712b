//! Writes of pods, as every controller of pods here sends them.

use bus::command::{PatchFormat, Resource, Write};
use model::Key;
use serde_json::{Map, Value, json};

use crate::observe::{Pod, Template};

/// Longest name that leaves room for the suffix of generated ones.
const GENERATED_PREFIX_MAX: usize = 247;

/// A pod of `owner`, made from its template: JSON, so that nothing is lost of fields that we do not know.
pub fn from_template(owner: &Key, reference: &Value, template: &Template) -> Value {
    let mut prefix = owner.name().to_owned();
    prefix.truncate(GENERATED_PREFIX_MAX);
    let mut metadata = Map::new();
    metadata.insert("generateName".to_owned(), json!(prefix + "-"));
    metadata.insert("namespace".to_owned(), json!(owner.namespace()));
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.0.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("ownerReferences".to_owned(), json!([reference]));
    let spec = template.0.get("spec").cloned().unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Makes a pod beside its owner.
pub fn create(owner: &Key, pod: &Value) -> Write {
    Write::Create {
        resource: resource(),
        namespace: owner.namespace().to_owned(),
        object: pod.to_string().into(),
    }
}

/// Changes whose a pod is.
pub fn patch(owner: &Key, pod: &Pod, patch: &Value) -> Write {
    Write::Patch {
        resource: resource(),
        namespace: owner.namespace().to_owned(),
        name: pod.name.clone(),
        subresource: String::new(),
        format: PatchFormat::Strategic,
        patch: patch.to_string().into(),
    }
}

/// Deletes only this very pod, not another that has its name by now.
pub fn delete(owner: &Key, pod: &Pod) -> Write {
    Write::Delete {
        resource: resource(),
        namespace: owner.namespace().to_owned(),
        name: pod.name.clone(),
        options: json!({"preconditions": {"uid": pod.uid}}).to_string().into(),
    }
}

fn resource() -> Resource {
    Resource::new("", "v1", "pods")
}
