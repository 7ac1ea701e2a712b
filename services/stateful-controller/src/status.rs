//! PURE: the status of a set.

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::pods;
use crate::revision::Revisions;

/// The write that brings the status up to date, if it is not.
pub fn update(
    set: &StatefulSet,
    family: &[&Pod],
    revisions: &Revisions<'_>,
    now: Timestamp,
) -> Option<Write> {
    let wanted = status(set, family, revisions, now);
    let present = set.status.as_ref().map(|status| json!(status)).unwrap_or_default();
    let differs = wanted.as_object()?.iter().any(|(field, value)| {
        let zero = value.as_i64() == Some(0) && present[field].is_null();
        present[field] != *value && !zero
    });
    differs.then(|| Write::Patch {
        resource: Resource::new("apps", "v1", "statefulsets"),
        namespace: set.metadata.namespace.clone().unwrap_or_default(),
        name: set.metadata.name.clone().unwrap_or_default(),
        subresource: "status".to_owned(),
        format: PatchFormat::Merge,
        patch: json!({"metadata": {"uid": set.metadata.uid}, "status": wanted}).to_string().into(),
    })
}

fn status(set: &StatefulSet, family: &[&Pod], revisions: &Revisions<'_>, now: Timestamp) -> Value {
    let spec = set.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let count = |test: &dyn Fn(&Pod) -> bool| family.iter().filter(|pod| test(pod)).count();
    let alive = |pod: &Pod| !pods::is_terminating(pod);
    let of = |name: &str| count(&|pod| alive(pod) && pods::revision(pod) == name);
    let replicas = count(&|pod| !pods::has_ended(pod));
    let (updated, ready) = (of(&revisions.update), count(&|pod| pods::is_ready(pod)));
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    // An update is complete when nothing of the older revision is left: then the new one is the current one.
    let complete =
        updated == replicas && updated == ready && usize::try_from(wanted).is_ok_and(|n| n == updated);
    let current = if complete { &revisions.update } else { &revisions.current };
    json!({
        "observedGeneration": set.metadata.generation,
        "replicas": replicas,
        "readyReplicas": ready,
        "availableReplicas": count(&|pod| pods::is_available(pod, seconds, now)),
        "currentReplicas": of(current),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": revisions.update,
        "collisionCount": 0,
    })
}
