//! PURE: the next step of a job.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::command::{Resource, Write};
use client::{Decision, Note, NoteKind};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::pods::{self, End};
use super::status::{self, Tally, Verdict};

/// Pods made in one decision: a batch on the bus.
const CREATIONS_MAX: i32 = 500;
/// After the first failure, doubled with each further one.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_LATEST: SignedDuration = SignedDuration::from_secs(600);

/// What to do about `job`, given its pods.
pub fn decide(job: &Job, family: &[&Pod], now: Timestamp) -> Decision {
    let Some(spec) = &job.spec else { return Decision { reason: "it has no spec", ..Decision::default() } };
    if spec.managed_by.as_deref().is_some_and(|by| by != "kubernetes.io/job-controller") {
        return Decision { reason: "somebody else manages it", ..Decision::default() };
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Decision { writes: releases(family), reason: "it is being deleted", ..Decision::default() };
    }
    let tally = Tally::take(job, family);
    if status::ended(job).is_some() {
        return after_the_end(job, spec, family, now);
    }
    let mut decision = Decision::default();
    let verdict = verdict(job, spec, &tally, now);
    match &verdict {
        Some(verdict) => stop(job, family, verdict, &mut decision),
        None if status::is_suspended(job) => suspend(family, &mut decision),
        None => work(job, spec, family, &tally, now, &mut decision),
    }
    decision.writes.extend(noted_releases(job, family));
    decision.writes.extend(status::update(job, family, &tally, verdict.as_ref(), now));
    if let Some(left) = deadline(job, spec).map(|deadline| until(deadline, now)) {
        decision.again_after = Some(decision.again_after.map_or(left, |after| after.min(left)));
    }
    decision
}

fn until(when: Timestamp, now: Timestamp) -> Duration {
    when.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

fn deadline(job: &Job, spec: &JobSpec) -> Option<Timestamp> {
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(spec.active_deadline_seconds?)).ok()
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn verdict(job: &Job, spec: &JobSpec, tally: &Tally, now: Timestamp) -> Option<Verdict> {
    if tally.failed > spec.backoff_limit.unwrap_or(6) {
        let message = "Job has reached the specified backoff limit".to_owned();
        return Some(Verdict { kind: "Failed", reason: "BackoffLimitExceeded", message });
    }
    if deadline(job, spec).is_some_and(|deadline| deadline <= now) {
        let message = "Job was active longer than specified deadline".to_owned();
        return Some(Verdict { kind: "Failed", reason: "DeadlineExceeded", message });
    }
    let complete = match (spec.completions, is_indexed(spec)) {
        (Some(wanted), true) => tally.indexes.len() as i32 >= wanted,
        (Some(wanted), false) => tally.succeeded >= wanted,
        // Without a number of completions the first success ends it.
        (None, _) => tally.succeeded > 0,
    };
    let message = "Reached expected number of succeeded pods".to_owned();
    complete.then_some(Verdict { kind: "Complete", reason: "CompletionsReached", message })
}

/// Pods that go on are ended when the job is; those of a job without completions that succeed may finish.
fn stop(job: &Job, family: &[&Pod], verdict: &Verdict, decision: &mut Decision) {
    decision.reason = "it has ended";
    let finish =
        verdict.kind == "Complete" && job.spec.as_ref().is_some_and(|spec| spec.completions.is_none());
    if !finish {
        decision
            .writes
            .extend(family.iter().filter(|pod| pods::end(pod).is_none()).map(|pod| pods::delete(pod)));
    }
    let (severity, reason) = match verdict.kind {
        "Complete" => (NoteKind::Normal, "Completed"),
        _ => (NoteKind::Warning, verdict.reason),
    };
    let message =
        if verdict.kind == "Complete" { "Job completed".to_owned() } else { verdict.message.clone() };
    decision.notes.push(note(job, severity, reason, message));
}

fn suspend(family: &[&Pod], decision: &mut Decision) {
    decision.reason = "it is suspended";
    decision.writes.extend(family.iter().filter(|pod| pods::end(pod).is_none()).map(|pod| pods::delete(pod)));
}

fn work(job: &Job, spec: &JobSpec, family: &[&Pod], tally: &Tally, now: Timestamp, decision: &mut Decision) {
    let active: Vec<&&Pod> = family.iter().filter(|pod| pods::end(pod).is_none()).collect();
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.succeeded),
        None => parallelism,
    };
    let missing = (wanted - active.len() as i32).min(CREATIONS_MAX);
    if missing < 0 {
        decision.reason = "fewer pods are wanted";
        let surplus = usize::try_from(-missing).unwrap_or(0);
        // Those that are not ready lose the least.
        let (late, early): (Vec<&&Pod>, Vec<&&Pod>) =
            active.into_iter().partition(|pod| !pods::is_ready(pod));
        decision.writes.extend(late.into_iter().chain(early).take(surplus).map(|pod| pods::delete(pod)));
        return;
    }
    if missing == 0 {
        decision.reason = "its pods are under way";
        return;
    }
    if let Some(wait) = backoff(family, tally.failed, now) {
        decision.reason = "pods have failed, the next waits";
        decision.again_after = Some(wait);
        return;
    }
    decision.reason = "pods are missing";
    if is_indexed(spec) {
        let taken: BTreeSet<i32> =
            active.iter().filter_map(|pod| pods::index(pod)).chain(tally.indexes.iter().copied()).collect();
        let free = (0..spec.completions.unwrap_or(0)).filter(|index| !taken.contains(index));
        let count = usize::try_from(missing).unwrap_or(0);
        decision.writes.extend(free.take(count).map(|index| pods::create(job, Some(index))));
    } else {
        decision.writes.extend((0..missing).map(|_| pods::create(job, None)));
    }
}

/// How long the next pod has to wait after the last failure.
fn backoff(family: &[&Pod], failed: i32, now: Timestamp) -> Option<Duration> {
    let failures = family.iter().filter(|pod| pods::end(pod) == Some(End::Failed));
    let last = failures.filter_map(|pod| pods::ended_at(pod)).max()?;
    let doublings = u32::try_from(failed - 1).unwrap_or(0).min(10);
    let delay = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_LATEST);
    let due = last.checked_add(delay).ok()?;
    (due > now).then(|| until(due, now))
}

/// Pods whose end the status notes are let go.
fn noted_releases(job: &Job, family: &[&Pod]) -> Vec<Write> {
    let noted =
        job.status.as_ref().and_then(|status| status.uncounted_terminated_pods.clone()).unwrap_or_default();
    let uids: Vec<String> = noted.succeeded.into_iter().chain(noted.failed).flatten().collect();
    let again = |pod: &&&Pod| {
        let succeeded_twice = pods::end(pod) == Some(End::Succeeded)
            && pods::index(pod).is_some_and(|index| completed(job).contains(&index));
        pods::is_held(pod) && (uids.iter().any(|uid| uid == pods::uid(pod)) || succeeded_twice)
    };
    family.iter().filter(again).map(|pod| pods::release(pod)).collect()
}

fn completed(job: &Job) -> BTreeSet<i32> {
    let text = job.status.as_ref().and_then(|status| status.completed_indexes.as_deref());
    pods::read_indexes(text.unwrap_or_default())
}

fn releases(family: &[&Pod]) -> Vec<Write> {
    family.iter().filter(|pod| pods::is_held(pod)).map(|pod| pods::release(pod)).collect()
}

fn after_the_end(job: &Job, spec: &JobSpec, family: &[&Pod], now: Timestamp) -> Decision {
    let writes = releases(family);
    let Some(seconds) = spec.ttl_seconds_after_finished else {
        return Decision { writes, reason: "it has ended", ..Decision::default() };
    };
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ends = conditions.filter(|one| ["Complete", "Failed"].contains(&one.type_.as_str()));
    let ended =
        ends.filter_map(|one| one.last_transition_time.as_ref()).map(|time| time.0).max().unwrap_or(now);
    let due = ended.checked_add(SignedDuration::from_secs(i64::from(seconds))).unwrap_or(Timestamp::MAX);
    if due > now {
        return Decision {
            writes,
            again_after: Some(until(due, now)),
            reason: "it has ended",
            ..Decision::default()
        };
    }
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
        "preconditions": {"uid": job.metadata.uid},
    });
    let delete = Write::Delete {
        resource: Resource::new("batch", "v1", "jobs"),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        options: options.to_string().into(),
    };
    Decision { writes: vec![delete], reason: "its time after the end is over", ..Decision::default() }
}

fn note(job: &Job, severity: NoteKind, reason: &str, message: String) -> Note {
    Note {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        uid: job.metadata.uid.clone().unwrap_or_default(),
        severity,
        reason: reason.to_owned(),
        message,
    }
}
