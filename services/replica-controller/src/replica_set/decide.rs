//! What to do about one set, from what was observed. Pure.
//!
//! ```text
//!  owned, orphans ──claim──> members ──count──> create | delete ──nothing to do──> status
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::jiff::Timestamp;
use model::Key;

use super::rank;
use super::status;
use crate::attempts::Trouble;
use crate::observe::{Pod, Set, next_available};

/// Pods that one decision makes or deletes: bounded, so that one large set does not hold up the others.
pub const BURST: usize = 500;

/// What is known of a set.
pub struct Observation<'a> {
    /// The set.
    pub set: &'a Set,
    /// The pods that it manages.
    pub owned: Vec<(&'a Key, &'a Pod)>,
    /// The pods that it selects and nobody manages.
    pub orphans: Vec<(&'a Key, &'a Pod)>,
    /// Active pods of it and its siblings per node; asked for only when pods must be chosen.
    pub related_per_node: &'a dyn Fn() -> BTreeMap<String, usize>,
    /// What went wrong the last time.
    pub trouble: Option<&'a Trouble>,
}

/// What to do about it, and why.
#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// Pods to manage from now on.
    pub adopt: Vec<&'a Pod>,
    /// Pods to let go, because their labels no longer fit.
    pub release: Vec<&'a Pod>,
    /// Pods to make.
    pub create: usize,
    /// Pods to delete.
    pub delete: Vec<&'a Pod>,
    /// The status to write, if it differs from what is written.
    pub status: Option<ReplicaSetStatus>,
    /// Whether there are as many pods as are wanted.
    pub is_at_size: bool,
    /// When pods become available just by time.
    pub again_after: Option<Duration>,
    /// For the log.
    pub reason: &'static str,
}

/// Decides about a set.
pub fn decide<'a>(observation: &Observation<'a>, now: Timestamp) -> Plan<'a> {
    let set = observation.set;
    let mut plan = claim(observation);
    let terminating =
        observation.owned.iter().filter(|(_, pod)| selected(set, pod) && pod.is_terminating()).count();
    let members: Vec<&Pod> = members(observation).chain(plan.adopt.iter().copied()).collect();
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    plan.is_at_size = members.len() == wanted || set.deleting;
    plan.reason = "as wanted";
    if set.deleting {
        plan.reason = "the set is being deleted";
    } else if members.len() < wanted {
        plan.create = creations(wanted - members.len(), observation.trouble);
        plan.reason = "too few pods";
    } else if members.len() > wanted {
        let count = (members.len() - wanted).min(BURST);
        plan.delete = rank::first_to_go(&members, count, observation.related_per_node, now);
        plan.reason = "too many pods";
    }
    plan.again_after = next_available(members.iter().copied(), set.min_ready_seconds, now);
    // What is done now changes the numbers at once, so they are written after it; unless it fails.
    if plan.create == 0 && plan.delete.is_empty() || observation.trouble.is_some() {
        let trouble = observation.trouble.filter(|_| !plan.is_at_size);
        let next = status::calculate(set, &members, terminating, trouble, now);
        plan.status = (next != set.status).then_some(next);
    }
    plan
}

/// One at a time while they fail, so that a refusal is not asked for five hundred times.
fn creations(missing: usize, trouble: Option<&Trouble>) -> usize {
    match trouble {
        Some(_) => 1,
        None => missing.min(BURST),
    }
}

fn claim<'a>(observation: &Observation<'a>) -> Plan<'a> {
    let set = observation.set;
    if set.deleting || set.selector.is_everything() {
        return Plan::default();
    }
    let pods = |list: &[(&'a Key, &'a Pod)]| {
        list.iter().map(|(_, pod)| *pod).filter(|pod| pod.is_active()).collect()
    };
    let owned: Vec<&Pod> = pods(&observation.owned);
    Plan {
        adopt: pods(&observation.orphans),
        release: owned.into_iter().filter(|pod| !selected(set, pod)).collect(),
        ..Plan::default()
    }
}

fn members<'a>(observation: &Observation<'a>) -> impl Iterator<Item = &'a Pod> {
    let set = observation.set;
    observation.owned.iter().map(|(_, pod)| *pod).filter(move |pod| pod.is_active() && selected(set, pod))
}

fn selected(set: &Set, pod: &Pod) -> bool {
    set.selects(&pod.labels)
}
