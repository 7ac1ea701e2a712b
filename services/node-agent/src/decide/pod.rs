//! What to do next for one pod.
//!
//! ```text
//!  wanted ──> volumes ──> sandbox ──> init containers, one after the other ──> containers
//!                            └ images are fetched meanwhile                       │ restarted by policy
//!  over (all done, deadline passed) ──> stop what is left, keep the dead for their logs
//!  deleted ──> containers, then sidecars, then sandbox, then folders ──> gone
//! ```

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::action::{Action, Note, Severity, Slot};
use super::backoff;
use super::containers::{self, Progress};
use super::memory::{Decision, Ended, Memory, View};
use super::wind_down;
use crate::observe::listing::{Sandbox, State};
use crate::spec::env::Sources;
use crate::spec::{claims, init_containers, is_sidecar, name, namespace, of, sandbox, uid, volumes};

/// A volume or a sandbox that failed is tried again soon: most often something else was not there yet.
pub const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// Decides. `memory` is the pod's own; nothing else is changed.
pub fn decide(view: &View<'_>, memory: &mut Memory) -> Decision {
    let mut decision = Decision::default();
    if let Some(sandbox) = view.observed.ready_sandbox()
        && !sandbox.ips.is_empty()
    {
        memory.ips.clone_from(&sandbox.ips);
    }
    if view.removed || view.pod.metadata.deletion_timestamp.is_some() {
        wind_down::go(view, memory, &mut decision);
    } else if is_over(view, memory, &mut decision) {
        wind_down::rest(view, memory, &mut decision);
    } else {
        run(view, memory, &mut decision);
    }
    decision
}

/// Whether no container will be started any more.
fn is_over(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) -> bool {
    if memory.ended.is_some() || has_final_phase(view.pod) || all_done(view) {
        return true;
    }
    if has_lost_sandbox(view) {
        let message = "The pod's sandbox is gone, and its containers are never started again".to_owned();
        memory.ended = Some(Ended { reason: "SandboxLost".to_owned(), message });
        return true;
    }
    let Some(seconds) = of(view.pod).active_deadline_seconds else { return false };
    let deadline = memory.since + SignedDuration::from_secs(seconds);
    if view.now < deadline {
        decision.wake_at(deadline);
        return false;
    }
    let message = "Pod was active on the node longer than the specified deadline".to_owned();
    decision.notes.push(Note::pod(Severity::Normal, "DeadlineExceeded", message.clone()));
    memory.ended = Some(Ended { reason: "DeadlineExceeded".to_owned(), message });
    true
}

/// The API knows the pod as succeeded or failed: that is final.
pub fn has_final_phase(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Every container has ended and none is to be started again.
fn all_done(view: &View<'_>) -> bool {
    let ended_for_good = |container: &Container| {
        let exit = view.observed.newest(&container.name).and_then(|instance| instance.state.exit());
        exit.is_some_and(|exit| !containers::restarts(view.pod, container, exit.code))
    };
    let init_failed = init_containers(view.pod).iter().any(|container| {
        let exit = view.observed.newest(&container.name).and_then(|instance| instance.state.exit());
        exit.is_some_and(|exit| exit.code != 0) && ended_for_good(container)
    });
    let containers = &of(view.pod).containers;
    init_failed || (!containers.is_empty() && containers.iter().all(ended_for_good))
}

/// A pod that is never restarted has lost its sandbox: what did not run in it never will.
fn has_lost_sandbox(view: &View<'_>) -> bool {
    of(view.pod).restart_policy.as_deref() == Some("Never")
        && !view.observed.instances.is_empty()
        && view.observed.ready_sandbox().is_none()
        && !view.observed.instances.iter().any(|instance| instance.state.is_live())
}

fn run(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) {
    if is_refused(view, memory, decision) || !prepare_volumes(view, memory, decision) {
        return;
    }
    let Some(sandbox) = ready_sandbox(view, memory, decision) else {
        let first = first_containers(view.pod).iter();
        for container in first.filter(|container| containers::is_to_run(view, container)) {
            containers::ensure_image(view, memory, decision, container);
        }
        return;
    };
    clear_away(view, memory, decision);
    if initialize(view, memory, decision, sandbox) {
        for container in &of(view.pod).containers {
            containers::advance(view, memory, decision, container, sandbox);
        }
    }
}

/// Whether the pod asks for what this node does not have; says so now and then.
fn is_refused(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) -> bool {
    let Some(why) = sandbox::refusal(view.pod) else { return false };
    if !memory.held(&Slot::Sandbox, view.now, decision) {
        let message = format!("Failed to create pod sandbox: {why}");
        decision.notes.push(Note::pod(Severity::Warning, "FailedCreatePodSandBox", message));
        memory.failed(Slot::Sandbox, "FailedCreatePodSandBox", why, view.now, backoff::FIRST);
        memory.held(&Slot::Sandbox, view.now, decision);
    }
    true
}

/// The containers that are started first in a new sandbox.
fn first_containers(pod: &Pod) -> &[Container] {
    match init_containers(pod) {
        [first, ..] => std::slice::from_ref(first),
        [] => &of(pod).containers,
    }
}

/// Whether the volumes are there; keeps them up to date as what they show changes.
fn prepare_volumes(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) -> bool {
    let is_ready = memory.volumes.ready.is_some();
    let is_due = memory.volumes.renew.is_some_and(|renew| renew <= view.now);
    let up_to_date = is_ready && !is_due && memory.volumes.planned == Some(memory.version);
    if let Some(renew) = memory.volumes.renew.filter(|_| !is_due) {
        decision.wake_at(renew);
    }
    if up_to_date || memory.held(&Slot::Volumes, view.now, decision) {
        return is_ready;
    }
    memory.volumes.planned = Some(memory.version);
    let addresses = memory.addresses(view.pod, view.settings);
    let sources = Sources {
        pod: view.pod,
        references: view.references,
        addresses: &addresses,
        settings: view.settings,
    };
    memory.volumes.persistent.extend(claims::volumes(&sources));
    match volumes::plan(&sources) {
        Ok(plan) if memory.volumes.ready == Some(plan.digest()) && !is_due => (),
        Ok(plan) => {
            memory.volumes.pending = Some(plan.digest());
            decision.act(memory, Action::PrepareVolumes(plan), "the volumes do not hold what they should");
        }
        Err(problem) => {
            memory.failed(Slot::Volumes, "FailedMount", problem.to_string(), view.now, RETRY);
            memory.volumes.planned = None;
            decision.notes.push(Note::pod(Severity::Warning, "FailedMount", problem.to_string()));
            // Until then nothing can change but by an event, which comes with a new version.
            memory.held(&Slot::Volumes, view.now, decision);
        }
    }
    memory.volumes.ready.is_some()
}

/// The sandbox to start containers in; makes one when there is none.
fn ready_sandbox<'a>(view: &View<'a>, memory: &mut Memory, decision: &mut Decision) -> Option<&'a Sandbox> {
    if let Some(sandbox) = view.observed.ready_sandbox() {
        return Some(sandbox);
    }
    let newest = view.observed.sandboxes.first();
    if let Some(dead) = newest.filter(|dead| !memory.stopped.contains(&dead.id)) {
        if !memory.held(&Slot::OldSandbox(dead.id.clone()), view.now, decision) {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            decision.notes.push(Note::pod(Severity::Normal, "SandboxChanged", message));
            decision.act(memory, Action::StopSandbox(dead.id.clone()), "the sandbox does not run any more");
        }
        return None;
    }
    if !memory.held(&Slot::Sandbox, view.now, decision) {
        let attempt = newest.map_or(0, |sandbox| sandbox.attempt + 1);
        let config = sandbox::config(view.pod, attempt, view.settings);
        decision.act(memory, Action::RunSandbox(Box::new(config)), "there is no sandbox");
    }
    None
}

/// Removes what nobody asks for any more: all but the last two instances of each container, and old sandboxes
/// without instances.
fn clear_away(view: &View<'_>, memory: &mut Memory, decision: &mut Decision) {
    const KEPT: usize = 2;
    for container in crate::spec::all_containers(view.pod) {
        for old in view.observed.of(&container.name).skip(KEPT) {
            let slot = Slot::Instance(old.id.clone());
            if !old.state.is_live() && !memory.held(&slot, view.now, decision) {
                let action = Action::RemoveInstance { id: old.id.clone(), log: old.log_path.clone() };
                decision.act(memory, action, "newer instances are kept");
            }
        }
    }
    for old in view.observed.sandboxes.iter().skip(1) {
        let id = old.id.clone();
        if memory.held(&Slot::OldSandbox(id.clone()), view.now, decision) {
            continue;
        }
        if !memory.stopped.contains(&id) {
            decision.act(memory, Action::StopSandbox(id), "there is a newer sandbox");
        } else if !view.observed.instances.iter().any(|instance| instance.sandbox == id) {
            decision.act(memory, Action::RemoveSandbox(id), "there is a newer sandbox");
        }
    }
}

/// Whether the init containers are through; starts the next of them. Sidecars among them are kept running.
fn initialize(view: &View<'_>, memory: &mut Memory, decision: &mut Decision, sandbox: &Sandbox) -> bool {
    let has_begun = of(view.pod).containers.iter().any(|container| {
        view.observed.newest(&container.name).is_some_and(|newest| newest.sandbox == sandbox.id)
    });
    for container in init_containers(view.pod) {
        if is_sidecar(container) {
            let progress = containers::advance(view, memory, decision, container, sandbox);
            if progress != Progress::Started && !has_begun {
                return false;
            }
        } else if !has_begun && !has_succeeded(view, container, sandbox) {
            containers::advance(view, memory, decision, container, sandbox);
            return false;
        }
    }
    true
}

/// Whether an init container has done its work in this sandbox.
pub fn has_succeeded(view: &View<'_>, container: &Container, sandbox: &Sandbox) -> bool {
    let newest = view.observed.newest(&container.name);
    newest.is_some_and(|newest| {
        newest.sandbox == sandbox.id && matches!(&newest.state, State::Exited(exit) if exit.code == 0)
    })
}

/// The pod in messages: `name_namespace(uid)`.
pub fn in_messages(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}
