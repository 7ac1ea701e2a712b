//! A plan about a DaemonSet as writes to the API, and what people are told of it.

use bus::command::{PatchFormat, Resource, Write};
use client::{Note, NoteKind, ownership, revisions};
use serde_json::Value;

use super::decide::Plan;
use super::pod;
use crate::attempts::{Intent, Told};
use crate::observe::{DaemonPod, DaemonSet, Phase};
use crate::pods;

/// `apiVersion` and `kind`.
pub const TYPE_NAMES: (&str, &str) = ("apps/v1", "DaemonSet");

/// The writes of a plan, and what each is for.
pub fn writes(set: &DaemonSet, plan: &Plan<'_>) -> (Vec<Write>, Vec<Intent>) {
    let mut writes = Vec::new();
    let mut intents = Vec::new();
    let mut add = |write, intent| {
        writes.push(write);
        intents.push(intent);
    };
    let key = &set.key;
    plan.revision.iter().for_each(|write| add(write.clone(), Intent::Quiet));
    for revision in &plan.adopt_revisions {
        let adopt = ownership::adopt(reference(set), revision.metadata.uid.as_deref().unwrap_or_default());
        add(revisions::patch(revision, PatchFormat::Strategic, &adopt), Intent::Quiet);
    }
    plan.superfluous.iter().for_each(|revision| add(revisions::delete(revision), Intent::Quiet));
    for pod in &plan.adopt {
        add(pods::patch(key, &pod.pod, &ownership::adopt(reference(set), &pod.pod.uid)), Intent::Quiet);
    }
    for pod in &plan.release {
        add(pods::patch(key, &pod.pod, &ownership::release(&set.uid, &pod.pod.uid)), Intent::Quiet);
    }
    if !plan.create.is_empty() {
        let blueprint = pod::blueprint(set, &plan.hash);
        plan.create
            .iter()
            .for_each(|node| add(pods::create(key, &pod::pinned(&blueprint, node)), Intent::Create));
    }
    for pod in &plan.delete {
        add(pods::delete(key, &pod.pod), Intent::Delete(pod.pod.name.clone()));
    }
    if let Some(status) = &plan.status {
        add(patch_status(set, &crate::patch::status(status)), Intent::Quiet);
    }
    (writes, intents)
}

/// What is told of pods that ended by themselves.
pub fn ended(set: &DaemonSet, pod: &DaemonPod) -> Note {
    let place = format!("pod {}/{} on node {}", set.key.namespace(), pod.pod.name, pod.node);
    let told = match pod.pod.phase {
        Phase::Failed => Told {
            severity: NoteKind::Warning,
            reason: "FailedDaemonPod",
            message: format!("Found failed daemon {place}, will try to kill it"),
        },
        _ => Told {
            severity: NoteKind::Normal,
            reason: "SucceededDaemonPod",
            message: format!("Found succeeded daemon {place}, will try to delete it"),
        },
    };
    told.about(TYPE_NAMES, &set.key, &set.uid)
}

fn reference(set: &DaemonSet) -> Value {
    let (api_version, kind) = TYPE_NAMES;
    ownership::controller_reference(api_version, kind, set.key.name(), &set.uid)
}

fn patch_status(set: &DaemonSet, patch: &Value) -> Write {
    Write::Patch {
        resource: Resource::new("apps", "v1", "daemonsets"),
        namespace: set.key.namespace().to_owned(),
        name: set.key.name().to_owned(),
        subresource: "status".to_owned(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}
