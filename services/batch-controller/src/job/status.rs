//! PURE: the status of a job: what was counted, what is noted, and whether it has ended.

use std::collections::BTreeSet;

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::pods::{self, End};

/// How a job has ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Complete` or `Failed`.
    pub kind: &'static str,
    /// `CompletionsReached`, `BackoffLimitExceeded`, `DeadlineExceeded`.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

/// Counts of a job after taking in what its pods show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ends counted or noted, by how.
    pub succeeded: i32,
    /// Ends counted or noted, by how.
    pub failed: i32,
    /// Indexes that have succeeded.
    pub indexes: BTreeSet<i32>,
    counted_succeeded: i32,
    counted_failed: i32,
    noted_succeeded: Vec<String>,
    noted_failed: Vec<String>,
}

// === impl Tally ===

impl Tally {
    /// What the status says, with noted uids counted whose pods are released, and new ends noted.
    pub fn take(job: &Job, family: &[&Pod]) -> Tally {
        let status = job.status.clone().unwrap_or_default();
        let noted = status.uncounted_terminated_pods.unwrap_or_default();
        let held = |uid: &String| family.iter().any(|pod| pods::uid(pod) == uid && pods::is_held(pod));
        let (mut noted_succeeded, released_succeeded): (Vec<String>, Vec<String>) =
            noted.succeeded.unwrap_or_default().into_iter().partition(held);
        let (mut noted_failed, released_failed): (Vec<String>, Vec<String>) =
            noted.failed.unwrap_or_default().into_iter().partition(held);
        let counted_succeeded = status.succeeded.unwrap_or(0) + released_succeeded.len() as i32;
        let counted_failed = status.failed.unwrap_or(0) + released_failed.len() as i32;
        let mut indexes = pods::read_indexes(status.completed_indexes.as_deref().unwrap_or_default());
        for pod in family.iter().filter(|pod| pods::is_held(pod)) {
            let uid = pods::uid(pod).to_owned();
            if noted_succeeded.contains(&uid) || noted_failed.contains(&uid) {
                continue;
            }
            match pods::end(pod) {
                // An index succeeds once, whatever a second pod of it did.
                Some(End::Succeeded) if pods::index(pod).is_some_and(|index| !indexes.insert(index)) => {}
                Some(End::Succeeded) => noted_succeeded.push(uid),
                Some(End::Failed) => noted_failed.push(uid),
                None => {}
            }
        }
        Tally {
            succeeded: counted_succeeded + noted_succeeded.len() as i32,
            failed: counted_failed + noted_failed.len() as i32,
            indexes,
            counted_succeeded,
            counted_failed,
            noted_succeeded,
            noted_failed,
        }
    }
}

/// The condition that says that a job has ended, if it has.
pub fn ended(job: &Job) -> Option<&str> {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ends =
        conditions.filter(|one| one.status == "True" && ["Complete", "Failed"].contains(&one.type_.as_str()));
    ends.next().map(|one| one.type_.as_str())
}

/// The write that brings the status up to date, if it is not.
pub fn update(
    job: &Job,
    family: &[&Pod],
    tally: &Tally,
    verdict: Option<&Verdict>,
    now: Timestamp,
) -> Option<Write> {
    let wanted = status(job, family, tally, verdict, now);
    let present = job.status.as_ref().map(|status| json!(status)).unwrap_or_default();
    let says_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(|value| value.as_array().is_some_and(Vec::is_empty)),
        Value::Bool(_) => false,
    };
    let differs = wanted.as_object()?.iter().any(|(field, value)| {
        present[field] != *value && !(says_nothing(&present[field]) && says_nothing(value))
    });
    differs.then(|| Write::Patch {
        resource: Resource::new("batch", "v1", "jobs"),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        subresource: "status".to_owned(),
        format: PatchFormat::Merge,
        // The counts build on what was read: a status that has changed since must be counted again.
        patch: json!({
            "metadata": {"uid": job.metadata.uid, "resourceVersion": job.metadata.resource_version},
            "status": wanted,
        })
        .to_string()
        .into(),
    })
}

fn status(job: &Job, family: &[&Pod], tally: &Tally, verdict: Option<&Verdict>, now: Timestamp) -> Value {
    let suspended = is_suspended(job);
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let active = family.iter().filter(|pod| pods::end(pod).is_none());
    let (active, ready): (Vec<&&Pod>, Vec<&&Pod>) =
        (active.clone().collect(), active.filter(|pod| pods::is_ready(pod)).collect());
    let terminating = family.iter().filter(|pod| pods::is_terminating(pod)).count();
    let old = job.status.clone().unwrap_or_default();
    let start = if suspended {
        Value::Null
    } else {
        old.start_time.as_ref().map_or(json!(time), |start| json!(start))
    };
    let mut status = json!({
        "active": active.len(), "ready": ready.len(), "terminating": terminating,
        "succeeded": tally.counted_succeeded, "failed": tally.counted_failed,
        "uncountedTerminatedPods": {"succeeded": tally.noted_succeeded, "failed": tally.noted_failed},
        "startTime": start,
    });
    if job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed") {
        status["completedIndexes"] = json!(pods::write_indexes(&tally.indexes));
    }
    let mut conditions: Vec<Value> = old.conditions.iter().flatten().map(|one| json!(one)).collect();
    let settled = active.is_empty() && tally.noted_succeeded.is_empty() && tally.noted_failed.is_empty();
    // The end is told when every pod is counted: nobody who waits for it sees the counts change afterwards.
    if let Some(verdict) = verdict.filter(|_| settled) {
        put_condition(&mut conditions, verdict.kind, "True", verdict.reason, &verdict.message, &time);
        if verdict.kind == "Complete" {
            put_condition(
                &mut conditions,
                "SuccessCriteriaMet",
                "True",
                verdict.reason,
                &verdict.message,
                &time,
            );
            status["completionTime"] = json!(time);
        } else {
            put_condition(&mut conditions, "FailureTarget", "True", verdict.reason, &verdict.message, &time);
        }
    }
    let was_suspended = conditions.iter().any(|one| one["type"] == "Suspended" && one["status"] == "True");
    if suspended && !was_suspended {
        put_condition(&mut conditions, "Suspended", "True", "JobSuspended", "Job suspended", &time);
    } else if !suspended && was_suspended {
        put_condition(&mut conditions, "Suspended", "False", "JobResumed", "Job resumed", &time);
        status["startTime"] = json!(time);
    }
    status["conditions"] = json!(conditions);
    status
}

/// Whether a job is to have no pods for now.
pub fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

fn put_condition(
    conditions: &mut Vec<Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    time: &str,
) {
    let condition = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastProbeTime": time, "lastTransitionTime": time,
    });
    match conditions.iter_mut().find(|one| one["type"] == kind) {
        Some(present) if present["status"] == status => {}
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
}
