//! The end of a pod: deleted, or over.

use super::action::{Action, Slot};
use super::containers::kill;
use super::memory::{Decision, Memory, View};
use super::status;
use crate::observe::listing::Instance;
use crate::spec::{grace_seconds, init_containers, is_sidecar};

/// The pod is being deleted, or is no longer in the API: end it and leave nothing behind.
pub fn go(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) {
    if !end_containers(view, memory, decision) {
        return;
    }
    if memory.last_words.is_none() {
        memory.last_words = Some(Box::new(status::last(view, memory)));
    }
    if !stop_sandboxes(view, memory, decision) {
        return;
    }
    for sandbox in &view.observed.sandboxes {
        if !memory.held(&Slot::OldSandbox(sandbox.id.clone()), view.now, decision) {
            decision.act(memory, Action::RemoveSandbox(sandbox.id.clone()), "the pod is deleted");
        }
    }
    let orphans = view
        .observed
        .instances
        .iter()
        .filter(|instance| view.observed.sandboxes.iter().all(|sandbox| sandbox.id != instance.sandbox));
    for instance in orphans {
        if !memory.held(&Slot::Instance(instance.id.clone()), view.now, decision) {
            let action = Action::RemoveInstance { id: instance.id.clone(), log: instance.log_path.clone() };
            decision.act(memory, action, "the pod is deleted");
        }
    }
    let busy = memory.under_way.keys().any(|slot| !matches!(slot, Slot::Image(_)));
    if view.observed.is_empty()
        && !busy
        && !memory.discarded
        && !memory.held(&Slot::Folders, view.now, decision)
    {
        decision.act(memory, Action::Discard, "nothing of the pod runs any more");
    }
}

/// The pod is over: nothing of it runs on, but its dead containers stay for their logs.
pub fn rest(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) {
    if end_containers(view, memory, decision) {
        stop_sandboxes(view, memory, decision);
    }
}

/// Ends containers, then sidecars in reverse order. Whether nothing runs any more and nothing is being started.
fn end_containers(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) -> bool {
    let live: Vec<&Instance> =
        view.observed.instances.iter().filter(|instance| instance.state.is_live()).collect();
    let sidecars: Vec<&str> = init_containers(view.pod)
        .iter()
        .filter(|container| is_sidecar(container))
        .map(|container| container.name.as_str())
        .collect();
    let (beside, main): (Vec<&Instance>, Vec<&Instance>) =
        live.iter().partition(|instance| sidecars.contains(&instance.name.as_str()));
    let grace = grace_seconds(view.pod);
    for instance in &main {
        kill(view, memory, decision, instance, grace, format!("Stopping container {}", instance.name));
    }
    if main.is_empty()
        && let Some(last) =
            sidecars.iter().rev().find_map(|name| beside.iter().find(|one| one.name == **name))
    {
        kill(
            view,
            memory,
            decision,
            last,
            remaining(view, grace),
            format!("Stopping container {}", last.name),
        );
    }
    let starting = memory.starting() || memory.under_way.contains_key(&Slot::Sandbox);
    live.is_empty() && !starting
}

/// What is left of the grace period for sidecars, which end after the others.
fn remaining(view: &View<'_>, grace: i64) -> i64 {
    match &view.pod.metadata.deletion_timestamp {
        Some(deadline) => deadline.0.duration_since(view.now).as_secs().clamp(1, grace.max(1)),
        None => grace,
    }
}

/// Whether every sandbox was stopped.
fn stop_sandboxes(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) -> bool {
    let mut all = true;
    for sandbox in &view.observed.sandboxes {
        if memory.stopped.contains(&sandbox.id) {
            continue;
        }
        all = false;
        if !memory.held(&Slot::OldSandbox(sandbox.id.clone()), view.now, decision) {
            let action = Action::StopSandbox(sandbox.id.clone());
            decision.act(memory, action, "nothing is to run in it any more");
        }
    }
    all
}
