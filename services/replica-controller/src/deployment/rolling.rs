//! One step of a rolling update: up if there is room, else down if enough pods serve. Pure.

use super::decide::Drafts;
use super::draft::{Draft, sum};
use super::new_set;
use crate::observe::Deployment;

/// Takes a step; returns why.
pub fn step(deployment: &Deployment, drafts: &mut Drafts<'_>) -> &'static str {
    if scale_new(deployment, drafts) {
        return "the new set has room to grow, or is too large";
    }
    match scale_old(deployment, drafts) {
        true => "enough pods serve for old ones to go",
        false => "nothing to step to",
    }
}

fn scale_new(deployment: &Deployment, drafts: &mut Drafts<'_>) -> bool {
    let total = sum(drafts.all(), |draft| draft.replicas);
    let bounds = drafts.bounds;
    let Some(new) = &mut drafts.new else { return false };
    let wanted = match new.replicas > deployment.replicas {
        true => deployment.replicas,
        false => new_set::size(deployment, bounds, total, new.replicas),
    };
    let scales = wanted != new.replicas;
    if scales {
        new.scale(wanted, deployment, bounds.surge);
    }
    scales
}

fn scale_old(deployment: &Deployment, drafts: &mut Drafts<'_>) -> bool {
    let Some(new) = &drafts.new else { return false };
    let new_unavailable = new.replicas - new.available();
    let least = deployment.replicas - drafts.bounds.unavailable;
    // What may go without counting on pods of the new set that do not serve yet.
    let spare = sum(drafts.all(), |draft| draft.replicas) - least - new_unavailable;
    if spare <= 0 || !drafts.old.iter().any(Draft::is_active) {
        return false;
    }
    // Pods that do not serve can go whatever serves; only then those that do.
    let unhealthy = shrink(deployment, drafts, spare, |old| old.replicas - old.available());
    let serving = sum(drafts.all(), Draft::available);
    let healthy = shrink(deployment, drafts, serving - least, |old| old.replicas);
    unhealthy + healthy > 0
}

/// Takes up to `most` pods from the old sets, oldest first, and from each what `spare` says.
fn shrink(deployment: &Deployment, drafts: &mut Drafts<'_>, most: i32, spare: fn(&Draft<'_>) -> i32) -> i32 {
    let surge = drafts.bounds.surge;
    let mut taken = 0;
    for old in drafts.active_old() {
        let count = spare(old).min(most - taken);
        if count > 0 {
            old.scale(old.replicas - count, deployment, surge);
            taken += count;
        }
    }
    taken
}
