//! A set's status. Pure.

use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::attempts::Trouble;
use crate::observe::{Pod, Set, whole_seconds};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The status of a set with these pods.
pub fn calculate(
    set: &Set,
    members: &[&Pod],
    terminating: usize,
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let labels = set.template.labels();
    let count = |holds: &dyn Fn(&Pod) -> bool| number(members.iter().filter(|pod| holds(pod)).count());
    ReplicaSetStatus {
        replicas: number(members.len()),
        fully_labeled_replicas: unless_zero(count(&|pod| {
            labels.iter().all(|(name, value)| pod.labels.get(name) == Some(value))
        })),
        ready_replicas: unless_zero(count(&Pod::is_ready)),
        available_replicas: unless_zero(count(&|pod| pod.is_available(set.min_ready_seconds, now))),
        terminating_replicas: (!set.is_replication_controller()).then(|| number(terminating)),
        observed_generation: Some(set.generation),
        conditions: conditions(set, trouble, now),
    }
}

fn conditions(set: &Set, trouble: Option<&Trouble>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = set.status.conditions.clone().unwrap_or_default();
    let known = conditions.iter().any(|one| one.type_ == REPLICA_FAILURE);
    match trouble {
        // The first failure is told; the ones after it follow from it.
        Some(_) if known => {}
        Some(Trouble { reason, message }) => conditions.push(ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            last_transition_time: Some(Time(whole_seconds(now))),
        }),
        None => conditions.retain(|one| one.type_ != REPLICA_FAILURE),
    }
    (!conditions.is_empty()).then_some(conditions)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn unless_zero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
