//! PURE: the pod of an ordinal, and what a pod's state means.

use bus::command::{Resource, Write};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::claims;

/// Label with the name of the revision that a pod was made from.
pub const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The reference by which a set manages what it makes.
pub fn owner_reference(set: &StatefulSet) -> Value {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let (name, uid) = (text(&set.metadata.name), text(&set.metadata.uid));
    client::ownership::controller_reference("apps/v1", "StatefulSet", &name, &uid)
}

/// `<set>-<ordinal>`.
pub fn name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or_default())
}

/// The ordinal in a pod's name.
pub fn ordinal(pod: &Pod) -> Option<i32> {
    pod.metadata.name.as_deref()?.rsplit_once('-')?.1.parse().ok()
}

/// The revision that a pod was made from.
pub fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)).map_or("", String::as_str)
}

/// Whether a pod has ended.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether nothing of a pod has started yet.
pub fn is_pending(pod: &Pod) -> bool {
    phase(pod) == "Pending"
}

/// Whether a pod is being deleted.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a pod runs and is ready.
pub fn is_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && ready_since(pod).is_some()
}

/// Whether a pod has been ready for `seconds`.
pub fn is_available(pod: &Pod, seconds: i32, now: Timestamp) -> bool {
    let Some(since) = ready_since(pod).filter(|_| is_ready(pod)) else { return false };
    seconds == 0 || now.duration_since(since) >= SignedDuration::from_secs(i64::from(seconds))
}

/// The write that makes the pod of an ordinal.
pub fn create(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Write {
    let name = name(set, ordinal);
    let mut pod = json!(template);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(set.metadata.namespace);
    metadata["ownerReferences"] = json!([owner_reference(set)]);
    metadata["labels"][REVISION_LABEL] = json!(revision);
    metadata["labels"][NAME_LABEL] = json!(name);
    metadata["labels"][INDEX_LABEL] = json!(ordinal.to_string());
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = json!(set.spec.as_ref().and_then(|spec| spec.service_name.clone()));
    for (claim, template) in claims::of(set, ordinal) {
        mount_claim(&mut pod["spec"], &template["metadata"]["name"], &claim);
    }
    Write::Create {
        resource: Resource::new("", "v1", "pods"),
        namespace: set.metadata.namespace.clone().unwrap_or_default(),
        object: pod.to_string().into(),
    }
}

/// The write that deletes exactly this pod.
pub fn delete(pod: &Pod) -> Write {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.metadata.uid},
    });
    Write::Delete {
        resource: Resource::new("", "v1", "pods"),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        options: options.to_string().into(),
    }
}

/// The claim takes the place of a volume of the same name.
fn mount_claim(spec: &mut Value, name: &Value, claim: &str) {
    let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
    match spec["volumes"].as_array_mut() {
        Some(volumes) => {
            volumes.retain(|volume| volume["name"] != *name);
            volumes.push(volume);
        }
        None => spec["volumes"] = json!([volume]),
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|one| one.type_ == "Ready" && one.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}
