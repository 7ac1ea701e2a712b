//! PURE: a job's pods: how one is made, what its state means, and how its end is kept until it is counted.

use std::collections::BTreeSet;

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Holds a pod until its end is counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How a pod has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All its containers succeeded.
    Succeeded,
    /// One did not, or it was deleted before it could.
    Failed,
}

/// How a pod has ended, if it has. One that is being deleted and has not succeeded counts as failed.
pub fn end(pod: &Pod) -> Option<End> {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Succeeded") => Some(End::Succeeded),
        Some("Failed") => Some(End::Failed),
        _ if is_terminating(pod) => Some(End::Failed),
        _ => None,
    }
}

/// Whether a pod is being deleted.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a pod runs and is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|one| one.type_ == "Ready").any(|one| one.status == "True")
}

/// Whether a pod's end is still to be counted.
pub fn is_held(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
}

/// The pod's uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The completion index of a pod of an indexed job.
pub fn index(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// When a pod has failed.
pub fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended =
        statuses.iter().filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    ended.map(|time| time.0).max()
}

/// The write that makes a pod of the job, with an index if the job has such.
pub fn create(job: &Job, index: Option<i32>) -> Write {
    let name = job.metadata.name.clone().unwrap_or_default();
    let mut pod = job.spec.as_ref().map(|spec| json!(spec.template)).unwrap_or_default();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let metadata = &mut pod["metadata"];
    metadata["namespace"] = json!(job.metadata.namespace);
    metadata["finalizers"] = json!([FINALIZER]);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    match index {
        None => metadata["generateName"] = json!(format!("{name}-")),
        Some(index) => {
            metadata["generateName"] = json!(format!("{name}-{index}-"));
            metadata["annotations"][INDEX] = json!(index.to_string());
            metadata["labels"][INDEX] = json!(index.to_string());
            pod["spec"]["hostname"] = json!(format!("{name}-{index}"));
            tell_index(&mut pod["spec"], index);
        }
    }
    Write::Create {
        resource: Resource::new("", "v1", "pods"),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        object: pod.to_string().into(),
    }
}

fn tell_index(spec: &mut Value, index: i32) {
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let variable = json!({"name": "JOB_COMPLETION_INDEX", "value": index.to_string()});
            match container["env"].as_array_mut() {
                Some(variables) => variables.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
    }
}

/// The write that deletes exactly this pod.
pub fn delete(pod: &Pod) -> Write {
    let options =
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.metadata.uid}});
    Write::Delete {
        resource: Resource::new("", "v1", "pods"),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        options: options.to_string().into(),
    }
}

/// The write that lets go of a pod whose end is noted.
pub fn release(pod: &Pod) -> Write {
    let rest: Vec<&String> =
        pod.metadata.finalizers.iter().flatten().filter(|one| *one != FINALIZER).collect();
    let metadata = json!({
        "uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": rest,
    });
    Write::Patch {
        resource: Resource::new("", "v1", "pods"),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: json!({"metadata": metadata}).to_string().into(),
    }
}

/// Indexes as the API writes them: `0-3,5`.
pub fn write_indexes(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let texts = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// Indexes as the API writes them; what is no index is left out.
pub fn read_indexes(text: &str) -> BTreeSet<i32> {
    let run = |part: &str| -> Option<std::ops::RangeInclusive<i32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(run).flatten().collect()
}
