//! What to do about one DaemonSet, from what was observed. Pure.
//!
//! ```text
//!  owned, orphans ──claim──> pods by node ──spot──> create | delete ──nothing to do──> rolling ──> status
//!  revisions ──────────────> which hashes are of the present template ──────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::command::Write;
use client::revisions::{self, Present, Subject};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSetStatus};
use k8s_openapi::jiff::Timestamp;

use super::demand::Verdict;
use super::rolling::{self, Step};
use super::spot::{Measure, Spot};
use super::status;
use crate::attempts::Trouble;
use crate::observe::daemon_pods::HASH_LABEL;
use crate::observe::{DaemonPod, DaemonSet, next_available};

/// Pods that one decision makes or deletes: bounded, so that one large set does not hold up the others.
pub const BURST: usize = 500;

/// What is known of a set.
pub struct Observation<'a, 'f> {
    /// The set.
    pub set: &'a DaemonSet,
    /// What it makes of every node.
    pub nodes: &'a BTreeMap<String, Verdict>,
    /// The pods that it manages.
    pub owned: Vec<&'a DaemonPod>,
    /// The pods that it selects and nobody manages.
    pub orphans: Vec<&'a DaemonPod>,
    /// The revisions that it manages.
    pub revisions: Vec<&'a ControllerRevision>,
    /// The revisions that it selects and nobody manages.
    pub orphan_revisions: Vec<&'a ControllerRevision>,
    /// Whether there is a revision of that name, whosever it is.
    pub named: &'f dyn Fn(&str) -> bool,
    /// Until when failed pods on a node stay.
    pub held: &'f dyn Fn(&str) -> Option<Timestamp>,
    /// What went wrong the last time.
    pub trouble: Option<&'a Trouble>,
}

/// What to do about it, and why.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Pods to manage from now on.
    pub adopt: Vec<&'a DaemonPod>,
    /// Pods to let go, because their labels no longer fit.
    pub release: Vec<&'a DaemonPod>,
    /// Revisions to manage from now on.
    pub adopt_revisions: Vec<&'a ControllerRevision>,
    /// What makes the present template's revision the newest.
    pub revision: Option<Write>,
    /// Revisions beyond the history limit.
    pub superfluous: Vec<&'a ControllerRevision>,
    /// The hash of the present template.
    pub hash: String,
    /// Nodes that get a pod.
    pub create: Vec<&'a str>,
    /// Pods to delete.
    pub delete: Vec<&'a DaemonPod>,
    /// Those of them that ended by themselves.
    pub ended: Vec<&'a DaemonPod>,
    /// The status to write, if it differs from what is written.
    pub status: Option<DaemonSetStatus>,
    /// Whether no node lacks its pod.
    pub is_complete: bool,
    /// When to decide again, whatever happens.
    pub again_after: Option<Duration>,
    /// For the log.
    pub reason: &'static str,
}

/// Decides about a set.
pub fn decide<'a>(observation: &Observation<'a, '_>, now: Timestamp) -> Plan<'a> {
    let set = observation.set;
    if set.deleting || set.selector.is_everything() {
        return Plan { reason: "the set is being deleted, or selects everything", ..Plan::default() };
    }
    let mut plan = claim(observation);
    let known = known_revisions(observation);
    let present = subject(set).present(&known, observation.named);
    let hashes = hashes(&present);
    let spots = spots(observation, &plan.adopt);
    let wanted = spots.iter().filter(|spot| spot.is_wanted()).count();
    let measure = Measure {
        set,
        is_present: &|hash| hashes.contains(hash),
        surges: rolling::surge(&set.update, wanted) > 0,
        held: observation.held,
        now,
    };
    let held = see_to_nodes(&spots, &measure, &mut plan);
    if plan.is_idle() {
        let Step { delete, create } = rolling::step(&set.update, &spots, &measure);
        plan.reason = if delete.is_empty() && create.is_empty() { "as wanted" } else { "old pods make way" };
        (plan.delete, plan.create) = (delete, create);
    }
    plan.bound(observation.trouble);
    // What is done now changes the numbers at once, so they are written after it; unless it fails.
    if plan.is_idle() || observation.trouble.is_some() {
        let next = status::calculate(&spots, &measure, present.collisions);
        plan.status = (next != set.status).then_some(next);
    }
    plan.again_after = again_after(&spots, &measure, held);
    let used: BTreeSet<&str> = spots.iter().flat_map(|spot| &spot.pods).map(|pod| pod.hash()).collect();
    let needed = |one: &ControllerRevision| {
        let hash = revisions::hash(one, HASH_LABEL);
        revisions::name(one) == present.name || used.contains(hash)
    };
    plan.superfluous = revisions::superfluous(&known, needed, set.history_limit);
    (plan.hash, plan.revision) = (present.hash, present.write);
    plan
}

// === impl Plan ===

impl Plan<'_> {
    /// Whether no pod comes or goes.
    fn is_idle(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }

    fn bound(&mut self, trouble: Option<&Trouble>) {
        // One at a time while they fail, so that a refusal is not asked for five hundred times.
        self.create.truncate(if trouble.is_some() { 1 } else { BURST });
        self.delete.truncate(BURST);
        let delete = &self.delete;
        self.ended.retain(|pod| delete.contains(pod));
    }
}

fn subject(set: &DaemonSet) -> Subject<'_> {
    Subject {
        key: &set.key,
        kind: "DaemonSet",
        uid: &set.uid,
        annotations: &set.annotations,
        template: &set.template.0,
        collisions: set.status.collision_count,
        hash_label: HASH_LABEL,
    }
}

fn claim<'a>(observation: &Observation<'a, '_>) -> Plan<'a> {
    let selected = |pod: &DaemonPod| observation.set.selects(&pod.pod.labels);
    let living = |pods: &[&'a DaemonPod]| -> Vec<&'a DaemonPod> {
        pods.iter().copied().filter(|pod| !pod.pod.deleting).collect()
    };
    Plan {
        adopt: living(&observation.orphans),
        release: living(&observation.owned).into_iter().filter(|pod| !selected(pod)).collect(),
        adopt_revisions: observation.orphan_revisions.clone(),
        ..Plan::default()
    }
}

/// In the order of their numbers.
fn known_revisions<'a>(observation: &Observation<'a, '_>) -> Vec<&'a ControllerRevision> {
    let all = observation.revisions.iter().chain(&observation.orphan_revisions);
    let mut known: Vec<&ControllerRevision> = all.copied().collect();
    known.sort_by_key(|revision| revision.revision);
    known
}

/// A copy of the revision, or one whose hash was another's name by chance, means the same template: pods of it are
/// not replaced for that.
fn hashes(present: &Present<'_>) -> BTreeSet<String> {
    let same = present.same.iter().map(|one| revisions::hash(one, HASH_LABEL).to_owned());
    same.chain([present.hash.clone()]).collect()
}

/// Every node there is, and every node that a pod names.
fn spots<'a>(observation: &Observation<'a, '_>, adopted: &[&'a DaemonPod]) -> Vec<Spot<'a>> {
    let mut by_node: BTreeMap<&str, Vec<&DaemonPod>> =
        observation.nodes.keys().map(|node| (node.as_str(), Vec::new())).collect();
    let members = observation.owned.iter().filter(|pod| observation.set.selects(&pod.pod.labels));
    let places = members.chain(adopted).filter(|pod| !pod.node.is_empty() && !pod.pod.is_gone());
    places.for_each(|pod| by_node.entry(&pod.node).or_default().push(pod));
    let spot = |(node, pods)| Spot::new(node, observation.nodes.get(node).copied(), pods);
    by_node.into_iter().map(spot).collect()
}

/// Pods that are missing or too much; returns when the first failed pod may go.
fn see_to_nodes<'a>(spots: &[Spot<'a>], measure: &Measure<'_>, plan: &mut Plan<'a>) -> Option<Timestamp> {
    let mut held = None;
    for spot in spots {
        let todo = spot.todo(measure);
        plan.create.extend(todo.create.then_some(spot.node));
        plan.delete.extend(todo.delete);
        plan.ended.extend(todo.ended);
        held = [held, todo.again_at].into_iter().flatten().min();
    }
    plan.is_complete = plan.create.is_empty();
    plan.reason = "pods are missing or too many";
    held
}

fn again_after(spots: &[Spot<'_>], measure: &Measure<'_>, held: Option<Timestamp>) -> Option<Duration> {
    let pods = spots.iter().flat_map(|spot| &spot.pods).map(|pod| &pod.pod);
    let available = next_available(pods, measure.set.min_ready_seconds, measure.now);
    let held = held.and_then(|until| Duration::try_from(until - measure.now).ok());
    [available, held].into_iter().flatten().min()
}
