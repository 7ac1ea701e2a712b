//! One step of a recreation: all old pods go before a new one comes. Pure.

use super::decide::Drafts;
use super::draft::Draft;
use crate::observe::Deployment;

/// Takes a step; returns why.
pub fn step(deployment: &Deployment, drafts: &mut Drafts<'_>) -> &'static str {
    let surge = drafts.bounds.surge;
    let mut scaled = false;
    for old in drafts.active_old() {
        old.scale(0, deployment, surge);
        scaled = true;
    }
    if scaled {
        return "old pods are to go first";
    }
    if old_pods_run(drafts) {
        return "old pods are still there";
    }
    match &mut drafts.new {
        Some(new) if new.replicas != deployment.replicas => {
            new.scale(deployment.replicas, deployment, surge);
            "the old pods are gone"
        }
        _ => "nothing to step to",
    }
}

/// Whether a pod of an old set may still run. The sets' own statuses tell, once they are about what was asked last.
pub fn old_pods_run(drafts: &Drafts<'_>) -> bool {
    drafts.old.iter().any(|old: &Draft<'_>| {
        let status = old.status();
        let generation = old.set.map_or(0, |set| set.generation);
        old.replicas > 0
            || status.replicas > 0
            || status.terminating_replicas.unwrap_or(0) > 0
            || status.observed_generation.unwrap_or(0) < generation
    })
}
