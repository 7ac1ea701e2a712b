//! A plan about a set as writes to the API.

use bus::command::{PatchFormat, Resource, Write};
use client::ownership;
use serde_json::Value;

use super::decide::Plan;
use crate::attempts::Intent;
use crate::observe::Set;
use crate::pods;

/// The writes of a plan, and what each is for.
pub fn writes(set: &Set, plan: &Plan<'_>) -> (Vec<Write>, Vec<Intent>) {
    let mut writes = Vec::new();
    let mut intents = Vec::new();
    let mut add = |write, intent| {
        writes.push(write);
        intents.push(intent);
    };
    for pod in &plan.adopt {
        add(pods::patch(&set.key, pod, &ownership::adopt(reference(set), &pod.uid)), Intent::Quiet);
    }
    for pod in &plan.release {
        add(pods::patch(&set.key, pod, &ownership::release(&set.uid, &pod.uid)), Intent::Quiet);
    }
    if plan.create > 0 {
        // All pods of a decision are made from the same bytes.
        let create = pods::create(&set.key, &pods::from_template(&set.key, &reference(set), &set.template));
        (0..plan.create).for_each(|_| add(create.clone(), Intent::Create));
    }
    plan.delete.iter().for_each(|pod| add(pods::delete(&set.key, pod), Intent::Delete(pod.name.clone())));
    if let Some(status) = &plan.status {
        add(patch_status(set, &crate::patch::status(status)), Intent::Quiet);
    }
    (writes, intents)
}

fn reference(set: &Set) -> Value {
    let (api_version, kind) = set.type_names();
    ownership::controller_reference(api_version, kind, set.name(), &set.uid)
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
