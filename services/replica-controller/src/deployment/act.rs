//! A plan about a Deployment as writes to the API.

use bus::command::{PatchFormat, Resource, Write};
use client::ownership;
use serde_json::{Map, Value, json};

use super::decide::{NewSet, Plan};
use super::draft::Draft;
use super::template;
use crate::observe::{Deployment, Set};
use crate::patch;

/// What a write is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// A new set of this name and size.
    Create {
        /// Its name.
        name: String,
        /// Its size.
        replicas: i32,
    },
    /// A set gets another size.
    Scale {
        /// Its name.
        name: String,
        /// Its size before.
        from: i32,
        /// Its size after.
        to: i32,
    },
    /// Something about which nobody is told.
    Quiet,
}

/// The writes of a plan, and what each is for.
pub fn writes(deployment: &Deployment, plan: &Plan<'_>) -> (Vec<Write>, Vec<Intent>) {
    let mut writes = Vec::new();
    let mut intents = Vec::new();
    let mut add = |write, intent| {
        writes.push(write);
        intents.push(intent);
    };
    for set in &plan.adopt {
        let reference = reference(deployment);
        add(patch_set(set, PatchFormat::Strategic, &ownership::adopt(reference, &set.uid)), Intent::Quiet);
    }
    for set in &plan.release {
        let release = ownership::release(&deployment.uid, &set.uid);
        add(patch_set(set, PatchFormat::Strategic, &release), Intent::Quiet);
    }
    if let Some(new) = &plan.create {
        let intent = Intent::Create { name: new.draft.name.clone(), replicas: new.draft.replicas };
        add(create(deployment, new), intent);
    }
    for draft in &plan.change {
        if let Some(set) = draft.set {
            add(patch_set(set, PatchFormat::Merge, &change(set, draft)), scaling(set, draft));
        }
    }
    plan.delete.iter().for_each(|set| add(delete(set), Intent::Quiet));
    if let Some(revision) = &plan.revision {
        let annotations = json!({"metadata": {"annotations": {super::draft::REVISION: revision}}});
        add(patch_deployment(deployment, "", &annotations), Intent::Quiet);
    }
    if let Some(status) = &plan.status {
        add(patch_deployment(deployment, "status", &patch::status(status)), Intent::Quiet);
    }
    (writes, intents)
}

fn sets() -> Resource {
    Resource::new("apps", "v1", "replicasets")
}

fn create(deployment: &Deployment, new: &NewSet<'_>) -> Write {
    let template = template::with_hash(&deployment.template, &new.hash);
    let labels = template.0.pointer("/metadata/labels").cloned().unwrap_or_default();
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": new.draft.name, "namespace": deployment.key.namespace(), "labels": labels,
            "annotations": new.draft.annotations, "ownerReferences": [reference(deployment)],
        },
        "spec": {
            "replicas": new.draft.replicas, "minReadySeconds": new.draft.min_ready_seconds,
            "selector": template::selector_with_hash(&deployment.selector_json, &new.hash),
            "template": template.0,
        },
    });
    Write::Create {
        resource: sets(),
        namespace: deployment.key.namespace().to_owned(),
        object: set.to_string().into(),
    }
}

fn reference(deployment: &Deployment) -> Value {
    ownership::controller_reference("apps/v1", "Deployment", deployment.name(), &deployment.uid)
}

fn change(set: &Set, draft: &Draft<'_>) -> Value {
    let annotations: Map<String, Value> = draft
        .annotations
        .iter()
        .filter(|(name, value)| set.annotations.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let mut metadata = json!({"uid": set.uid});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    let mut spec = Map::new();
    if draft.replicas != set.replicas {
        spec.insert("replicas".to_owned(), json!(draft.replicas));
    }
    if draft.min_ready_seconds != set.min_ready_seconds {
        spec.insert("minReadySeconds".to_owned(), json!(draft.min_ready_seconds));
    }
    json!({"metadata": metadata, "spec": spec})
}

fn scaling(set: &Set, draft: &Draft<'_>) -> Intent {
    match draft.replicas == set.replicas {
        true => Intent::Quiet,
        false => Intent::Scale { name: draft.name.clone(), from: set.replicas, to: draft.replicas },
    }
}

fn patch_set(set: &Set, format: PatchFormat, patch: &Value) -> Write {
    Write::Patch {
        resource: sets(),
        namespace: set.key.namespace().to_owned(),
        name: set.name().to_owned(),
        subresource: String::new(),
        format,
        patch: patch.to_string().into(),
    }
}

fn delete(set: &Set) -> Write {
    // Its pods are gone; should one come in the meantime it goes too.
    let options = json!({"preconditions": {"uid": set.uid}, "propagationPolicy": "Background"});
    Write::Delete {
        resource: sets(),
        namespace: set.key.namespace().to_owned(),
        name: set.name().to_owned(),
        options: options.to_string().into(),
    }
}

fn patch_deployment(deployment: &Deployment, subresource: &str, patch: &Value) -> Write {
    Write::Patch {
        resource: Resource::new("apps", "v1", "deployments"),
        namespace: deployment.key.namespace().to_owned(),
        name: deployment.name().to_owned(),
        subresource: subresource.to_owned(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}
