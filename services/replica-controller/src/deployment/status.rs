//! A Deployment's status and conditions. Pure.
//!
//! Each function takes the status as it is known at its step and returns the next one, so that a decision reads as a
//! chain: pause, new set, rollout.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::decide::Drafts;
use super::draft::{Draft, sum};
use crate::observe::{Deployment, whole_seconds};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";
const FOUND_NEW_SET: &str = "FoundNewReplicaSet";
const NEW_SET_CREATED: &str = "NewReplicaSetCreated";
const CREATE_FAILED: &str = "ReplicaSetCreateError";
const SET_UPDATED: &str = "ReplicaSetUpdated";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";

/// The deadline is looked at again this much after it, so that clocks that tick in seconds agree that it has passed.
const SKEW: Duration = Duration::from_secs(1);

/// With a note that progress is not expected while the Deployment is paused, and is again once it is resumed.
pub fn with_pause(deployment: &Deployment, now: Timestamp) -> DeploymentStatus {
    let mut status = deployment.status.clone();
    let reason = reason(&status, PROGRESSING);
    if deployment.progress_deadline_seconds.is_none() || reason == Some(DEADLINE_EXCEEDED) {
        return status;
    }
    let was_paused = reason == Some(PAUSED);
    match (deployment.paused, was_paused) {
        (true, false) => set(&mut status, PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now),
        (false, true) => set(&mut status, PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now),
        _ => {}
    }
    status
}

/// With a start from which progress can be told, for a new set that was there already.
pub fn with_found_set(
    deployment: &Deployment,
    mut status: DeploymentStatus,
    drafts: &Drafts<'_>,
    now: Timestamp,
) -> DeploymentStatus {
    let unknown = find(&status, PROGRESSING).is_none();
    if let Some(new) =
        drafts.new.as_ref().filter(|_| unknown && deployment.progress_deadline_seconds.is_some())
    {
        let message = format!("Found new replica set {:?}", new.name);
        set(&mut status, PROGRESSING, "True", FOUND_NEW_SET, &message, now);
    }
    status
}

/// With a note that the new set was made.
pub fn with_created_set(
    deployment: &Deployment,
    mut status: DeploymentStatus,
    name: &str,
    now: Timestamp,
) -> DeploymentStatus {
    if deployment.progress_deadline_seconds.is_some() {
        let message = format!("Created new replica set {name:?}");
        set(&mut status, PROGRESSING, "True", NEW_SET_CREATED, &message, now);
    }
    status
}

/// With a note that the new set could not be made.
pub fn with_create_error(
    deployment: &Deployment,
    mut status: DeploymentStatus,
    name: &str,
    error: &str,
    now: Timestamp,
) -> DeploymentStatus {
    if deployment.progress_deadline_seconds.is_some() {
        set(&mut status, PROGRESSING, "False", CREATE_FAILED, &create_error(name, error), now);
    }
    status
}

/// Why a set was not made, in upstream's words.
pub fn create_error(name: &str, error: &str) -> String {
    format!("Failed to create new replica set {name:?}: {error}")
}

/// The pods of all sets counted, and whether enough of them serve.
pub fn counts(
    deployment: &Deployment,
    base: &DeploymentStatus,
    drafts: &Drafts<'_>,
    now: Timestamp,
) -> DeploymentStatus {
    let total = |number: fn(&Draft<'_>) -> i32| sum(drafts.all(), number);
    let available = total(|draft| draft.status().available_replicas.unwrap_or(0));
    let unavailable = (total(|draft| draft.replicas) - available).max(0);
    let updated = drafts.new.as_ref().map_or(0, |new| new.status().replicas);
    let mut status = DeploymentStatus {
        observed_generation: Some(deployment.generation),
        replicas: unless_zero(total(|draft| draft.status().replicas)),
        updated_replicas: unless_zero(updated),
        ready_replicas: unless_zero(total(|draft| draft.status().ready_replicas.unwrap_or(0))),
        available_replicas: unless_zero(available),
        unavailable_replicas: unless_zero(unavailable),
        terminating_replicas: Some(total(|draft| draft.status().terminating_replicas.unwrap_or(0))),
        collision_count: base.collision_count,
        conditions: base.conditions.clone(),
    };
    if available >= deployment.replicas - drafts.bounds.unavailable {
        let message = "Deployment has minimum availability.";
        set(&mut status, AVAILABLE, "True", "MinimumReplicasAvailable", message, now);
    } else {
        let message = "Deployment does not have minimum availability.";
        set(&mut status, AVAILABLE, "False", "MinimumReplicasUnavailable", message, now);
    }
    status
}

/// The status in a rollout: counts, progress, and what hinders the sets.
pub fn rollout(
    deployment: &Deployment,
    base: &DeploymentStatus,
    drafts: &Drafts<'_>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut next = counts(deployment, base, drafts, now);
    match deployment.progress_deadline_seconds {
        None => remove(&mut next, PROGRESSING),
        Some(deadline) => judge_progress(deployment, base, &mut next, drafts, deadline, now),
    }
    match failure(drafts) {
        Some(failure) => put(&mut next, failure),
        None => remove(&mut next, REPLICA_FAILURE),
    }
    next
}

/// Whether all that is wanted is there, updated, and serves.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let all = |number: Option<i32>| number.unwrap_or(0) == deployment.replicas;
    all(status.updated_replicas)
        && all(status.replicas)
        && all(status.available_replicas)
        && status.observed_generation >= Some(deployment.generation)
}

/// When the deadline for progress passes, if one runs.
pub fn next_look(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deployment.progress_deadline_seconds?;
    let progressing = find(status, PROGRESSING)?;
    let over = matches!(progressing.reason.as_deref(), Some(DEADLINE_EXCEEDED | NEW_SET_AVAILABLE | PAUSED));
    if over || is_complete(deployment, status) {
        return None;
    }
    let at = due(progressing, deadline)?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default() + SKEW)
}

fn judge_progress(
    deployment: &Deployment,
    base: &DeploymentStatus,
    next: &mut DeploymentStatus,
    drafts: &Drafts<'_>,
    deadline: i32,
    now: Timestamp,
) {
    // The last rollout has ended and no other has begun: there is no progress to be made.
    let is_over =
        next.replicas == next.updated_replicas && reason(base, PROGRESSING) == Some(NEW_SET_AVAILABLE);
    if is_over {
        return;
    }
    let subject = match &drafts.new {
        Some(new) => format!("ReplicaSet {:?}", new.name),
        None => format!("Deployment {:?}", deployment.name()),
    };
    if is_complete(deployment, next) {
        let message = format!("{subject} has successfully progressed.");
        set(next, PROGRESSING, "True", NEW_SET_AVAILABLE, &message, now);
    } else if has_progressed(base, next) {
        let message = format!("{subject} is progressing.");
        renew(next, "True", SET_UPDATED, &message, now);
    } else if has_timed_out(next, deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        set(next, PROGRESSING, "False", DEADLINE_EXCEEDED, &message, now);
    }
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let number = |number: Option<i32>| number.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(after.updated_replicas) > number(before.updated_replicas)
        || old(after) < old(before)
        || number(after.ready_replicas) > number(before.ready_replicas)
        || number(after.available_replicas) > number(before.available_replicas)
}

fn has_timed_out(status: &DeploymentStatus, deadline: i32, now: Timestamp) -> bool {
    let Some(progressing) = find(status, PROGRESSING) else { return false };
    match progressing.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(DEADLINE_EXCEEDED) => true,
        _ => due(progressing, deadline).is_some_and(|due| due < now),
    }
}

fn due(progressing: &DeploymentCondition, deadline: i32) -> Option<Timestamp> {
    let since = progressing.last_update_time.as_ref()?.0;
    since.checked_add(SignedDuration::from_secs(deadline.into())).ok()
}

/// What hinders the new set, else what hinders an old one.
fn failure(drafts: &Drafts<'_>) -> Option<DeploymentCondition> {
    let of = |draft: &Draft<'_>| {
        let conditions = draft.status().conditions.unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_ == REPLICA_FAILURE)
    };
    let condition = drafts.new.iter().chain(&drafts.old).find_map(of)?;
    Some(DeploymentCondition {
        type_: condition.type_,
        status: condition.status,
        reason: condition.reason,
        message: condition.message,
        last_transition_time: condition.last_transition_time.clone(),
        last_update_time: condition.last_transition_time,
    })
}

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn reason<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a str> {
    find(status, kind)?.reason.as_deref()
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
    status.conditions.take_if(|conditions| conditions.is_empty());
}

/// Sets a condition unless it says the same already; its time of transition stays while its status does.
fn set(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    put(status, condition(kind, value, reason, message, now));
}

fn put(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(known) = find(status, &condition.type_) {
        if known.status == condition.status && known.reason == condition.reason {
            return;
        }
        if known.status == condition.status {
            condition.last_transition_time = known.last_transition_time.clone();
        }
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

/// As [`set`], but a progress that is already told is told again: its time is what the deadline counts from.
fn renew(status: &mut DeploymentStatus, value: &str, reason: &str, message: &str, now: Timestamp) {
    let mut condition = condition(PROGRESSING, value, reason, message, now);
    if let Some(known) = find(status, PROGRESSING).filter(|known| known.status == value) {
        condition.last_transition_time = known.last_transition_time.clone();
    }
    remove(status, PROGRESSING);
    status.conditions.get_or_insert_default().push(condition);
}

fn condition(kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    let now = Some(Time(whole_seconds(now)));
    DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: now.clone(),
        last_update_time: now,
    }
}

fn unless_zero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
