//! What to do about one Deployment, from what was observed. Pure.
//!
//! ```text
//!  sets ──claim──> drafts ──which is the new one?──> new set, revision
//!                                 │
//!          paused or rescaled? ───┼──> scale, all sets in proportion
//!          Recreate ──────────────┼──> old ones down to nothing, then the new one up
//!          RollingUpdate ─────────┴──> a step up, or a step down
//!                                 └──> history, status
//! ```
//! One decision is one step: the next is taken when its writes, and what the ReplicaSet controller made of them, are
//! seen.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::jiff::Timestamp;

use super::bounds::{Bounds, bounds};
use super::draft::{DESIRED_REPLICAS, Draft};
use super::{history, new_set, proportion, recreate, rolling, status, template};
use crate::observe::{Deployment, Set, Strategy};

/// Looks up a set by name.
pub type Named<'a> = Box<dyn Fn(&str) -> Option<&'a Set> + 'a>;

/// What is known of a Deployment.
pub struct Observation<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// The sets that it manages.
    pub owned: Vec<&'a Set>,
    /// The sets that it selects and nobody manages.
    pub orphans: Vec<&'a Set>,
    /// The set with a name in its namespace, whoever manages it.
    pub named: Named<'a>,
    /// Why the new set could not be made the last time.
    pub create_error: Option<&'a str>,
}

/// What to do about it, and why.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Sets to manage from now on.
    pub adopt: Vec<&'a Set>,
    /// Sets to let go, because their labels no longer fit.
    pub release: Vec<&'a Set>,
    /// The new set to make, if there is none.
    pub create: Option<NewSet<'a>>,
    /// Sets to change.
    pub change: Vec<Draft<'a>>,
    /// Sets that are history.
    pub delete: Vec<&'a Set>,
    /// The revision to note in the Deployment's annotations, if it is another.
    pub revision: Option<String>,
    /// The status to write, if it differs from what is written.
    pub status: Option<DeploymentStatus>,
    /// When a rollout will have taken too long.
    pub again_after: Option<Duration>,
    /// For the log.
    pub reason: &'static str,
}

/// A set to make.
#[derive(Clone, Debug)]
pub struct NewSet<'a> {
    /// Name, size and annotations.
    pub draft: Draft<'a>,
    /// Value of the hash label.
    pub hash: String,
}

/// The sets of a Deployment while a decision is made.
pub struct Drafts<'a> {
    /// The set of the Deployment's template, if there is one.
    pub new: Option<Draft<'a>>,
    /// The others, oldest first.
    pub old: Vec<Draft<'a>>,
    /// What a rollout may add and take away.
    pub bounds: Bounds,
}

/// Decides about a Deployment.
pub fn decide<'a>(observation: &Observation<'a>, now: Timestamp) -> Plan<'a> {
    let deployment = observation.deployment;
    if deployment.selector.is_everything() {
        return Plan { reason: "it selects everything, which is refused", ..Plan::default() };
    }
    let mut plan = claim(observation);
    let name = new_set::name(observation);
    let mut drafts = drafts(observation, &plan, &name.hash);
    if deployment.deleting {
        plan.status = changed(deployment, status::counts(deployment, &deployment.status, &drafts, now));
        plan.reason = "it is being deleted";
        return plan;
    }
    let mut base = status::with_pause(deployment, now);
    let is_rescaled = is_rescaled(deployment, &drafts);
    new_set::revise(deployment, &mut drafts);
    if drafts.new.is_some() {
        base = status::with_found_set(deployment, base, &drafts, now);
    }
    if deployment.paused || is_rescaled {
        proportion::scale(deployment, &mut drafts);
        if deployment.paused {
            plan.delete = history::to_delete(deployment, &drafts);
        }
        plan.reason = if deployment.paused { "paused" } else { "rescaled" };
        let next = status::counts(deployment, &base, &drafts, now);
        return finish(observation, plan, drafts, None, next, now);
    }
    let wants_new_set = drafts.new.is_none() && may_create(deployment, &drafts);
    if wants_new_set {
        base.collision_count = name.collisions;
        drafts.new = Some(new_set::draft(deployment, &drafts, name.name.clone()));
    }
    let next = match observation.create_error.filter(|_| wants_new_set) {
        Some(error) => {
            plan.reason = "the new set cannot be made";
            let base = status::with_create_error(deployment, base, &name.name, error, now);
            status::counts(deployment, &base, &drafts, now)
        }
        None => {
            if wants_new_set {
                base = status::with_created_set(deployment, base, &name.name, now);
            }
            plan.reason = step(deployment, &mut drafts);
            status::rollout(deployment, &base, &drafts, now)
        }
    };
    if status::is_complete(deployment, &next) {
        plan.delete = history::to_delete(deployment, &drafts);
    }
    let hash = wants_new_set.then_some(name.hash);
    finish(observation, plan, drafts, hash, next, now)
}

fn step(deployment: &Deployment, drafts: &mut Drafts<'_>) -> &'static str {
    match deployment.strategy {
        Strategy::Recreate => recreate::step(deployment, drafts),
        Strategy::RollingUpdate { .. } => rolling::step(deployment, drafts),
    }
}

/// Under Recreate the new set comes when the last old pod is gone.
fn may_create(deployment: &Deployment, drafts: &Drafts<'_>) -> bool {
    deployment.strategy != Strategy::Recreate || !recreate::old_pods_run(drafts)
}

/// Whether the Deployment's size is another than when its sets were last scaled.
fn is_rescaled(deployment: &Deployment, drafts: &Drafts<'_>) -> bool {
    let wanted = i64::from(deployment.replicas);
    let active = drafts.all().filter(|draft| draft.is_active());
    active.filter_map(|draft| draft.number(DESIRED_REPLICAS)).any(|desired| desired != wanted)
}

fn changed(deployment: &Deployment, next: DeploymentStatus) -> Option<DeploymentStatus> {
    (next != deployment.status).then_some(next)
}

fn finish<'a>(
    observation: &Observation<'a>,
    mut plan: Plan<'a>,
    drafts: Drafts<'a>,
    create: Option<String>,
    next: DeploymentStatus,
    now: Timestamp,
) -> Plan<'a> {
    let deployment = observation.deployment;
    plan.revision = new_set::revision_to_note(deployment, &drafts);
    plan.again_after = status::next_look(deployment, &next, now);
    plan.status = changed(deployment, next);
    let Drafts { new, old, .. } = drafts;
    match (new, create) {
        (Some(draft), Some(hash)) => plan.create = Some(NewSet { draft, hash }),
        (Some(draft), None) if draft.differs() => plan.change.push(draft),
        _ => {}
    }
    plan.change.extend(old.into_iter().filter(Draft::differs));
    plan
}

fn claim<'a>(observation: &Observation<'a>) -> Plan<'a> {
    let deployment = observation.deployment;
    if deployment.deleting {
        return Plan::default();
    }
    let fits = |set: &&&Set| deployment.selects(&set.labels);
    Plan {
        adopt: observation.orphans.iter().filter(fits).filter(|set| !set.deleting).copied().collect(),
        release: observation.owned.iter().filter(|set| !fits(set)).copied().collect(),
        ..Plan::default()
    }
}

fn drafts<'a>(observation: &Observation<'a>, plan: &Plan<'a>, hash: &str) -> Drafts<'a> {
    let deployment = observation.deployment;
    let kept = observation.owned.iter().filter(|set| deployment.selects(&set.labels));
    let mut old: Vec<Draft<'a>> = kept.chain(&plan.adopt).map(|set| Draft::of(set)).collect();
    old.sort_by(|a, b| a.created().cmp(&b.created()));
    // Should several have the template, the oldest of them is the new one, so that the choice is stable.
    let is_new = |draft: &Draft<'_>| {
        draft.set.is_some_and(|set| template::same(&deployment.template, &set.template, hash))
    };
    let new = old.iter().position(is_new).map(|at| old.remove(at));
    Drafts { new, old, bounds: bounds(deployment) }
}

// === impl Drafts ===

impl<'a> Drafts<'a> {
    /// The old ones and the new one.
    pub fn all(&self) -> impl Iterator<Item = &Draft<'a>> {
        self.old.iter().chain(&self.new)
    }

    /// Old ones with pods.
    pub fn active_old(&mut self) -> impl Iterator<Item = &mut Draft<'a>> {
        self.old.iter_mut().filter(|draft| draft.is_active())
    }
}
