//! What to do next for one container of a pod that is to run.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::action::{Action, Check, Kill, Note, Severity, Slot, Start};
use super::backoff;
use super::memory::{Decision, Memory, View};
use super::pod::in_messages;
use crate::observe::listing::{Exit, Instance, Sandbox, State};
use crate::spec::container::blueprint;
use crate::spec::credentials::credentials;
use crate::spec::env::Sources;
use crate::spec::image::{self, Reference};
use crate::spec::{all_containers, grace_seconds, hosts, init_containers, is_sidecar, of, sandbox, uid};

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It runs and has passed its startup probe, if it has one.
    Started,
    /// It is on its way, or waits.
    Waiting,
    /// It has ended and stays so.
    Done,
}

/// A pull that failed shows its own error for so long; then that it waits.
pub const ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(2);

/// Whether a container that ended with `code` is started again.
pub fn restarts(pod: &Pod, container: &Container, code: i32) -> bool {
    let is_init = init_containers(pod).iter().any(|init| init.name == container.name);
    match of(pod).restart_policy.as_deref().unwrap_or("Always") {
        _ if is_init && is_sidecar(container) => true,
        "Never" => false,
        "OnFailure" => code != 0,
        _ => !is_init || code != 0,
    }
}

/// Brings a container towards running, or ends an instance that should not be.
pub fn advance(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
    sandbox: &Sandbox,
) -> Progress {
    if memory.under_way.contains_key(&Slot::Container(container.name.clone())) {
        return Progress::Waiting;
    }
    let newest = view.observed.newest(&container.name);
    let here = newest.filter(|newest| newest.sandbox == sandbox.id);
    match here.map(|instance| (instance, &instance.state)) {
        Some((instance, State::Running { .. })) => running(view, memory, decision, container, instance),
        Some((instance, State::Unknown)) => {
            let message = format!("Container {} is in unknown state, try killing it", container.name);
            kill(view, memory, decision, instance, grace_seconds(view.pod), message);
            Progress::Waiting
        }
        Some((instance, State::Created)) => {
            // The agent ended between making and starting it.
            let slot = Slot::Instance(instance.id.clone());
            if !memory.held(&slot, view.now, decision) {
                let action =
                    Action::RemoveInstance { id: instance.id.clone(), log: instance.log_path.clone() };
                decision.act(memory, action, "it was made and never started");
            }
            Progress::Waiting
        }
        _ => {
            let exit = newest.and_then(|newest| newest.state.exit());
            let is_first_here = here.is_none();
            match exit {
                Some(exit) if !runs_again(view.pod, container, exit, is_first_here) => Progress::Done,
                exit => {
                    start_again(view, memory, decision, container, sandbox, exit);
                    Progress::Waiting
                }
            }
        }
    }
}

/// Whether a container is to be started in a sandbox that is yet to be made.
pub fn is_to_run(view: &View<'_>, container: &Container) -> bool {
    let exit = view.observed.newest(&container.name).and_then(|newest| newest.state.exit());
    exit.is_none_or(|exit| runs_again(view.pod, container, exit, true))
}

/// In a new sandbox init containers do their work again, others by the pod's policy.
fn runs_again(pod: &Pod, container: &Container, exit: &Exit, is_first_here: bool) -> bool {
    let is_init = init_containers(pod).iter().any(|init| init.name == container.name);
    (is_init && is_first_here) || restarts(pod, container, exit.code)
}

fn running(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
    instance: &Instance,
) -> Progress {
    let name = &container.name;
    if !instance.hash.is_empty() && instance.hash != crate::spec::container::hash(container) {
        let message = format!("Container {name} definition changed, will be restarted");
        kill(view, memory, decision, instance, grace_seconds(view.pod), message);
        return Progress::Waiting;
    }
    if let Some(probe) = memory.probes(name, &instance.id).and_then(|probes| probes.failed) {
        let message = format!("Container {name} failed {probe} probe, will be restarted");
        let spec = if probe == "startup" { &container.startup_probe } else { &container.liveness_probe };
        let own = spec.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        kill(view, memory, decision, instance, own.unwrap_or(grace_seconds(view.pod)), message);
        return Progress::Waiting;
    }
    match container.startup_probe.is_none() || memory.has_started(name, &instance.id) {
        true => Progress::Started,
        false => Progress::Waiting,
    }
}

fn start_again(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
    sandbox: &Sandbox,
    exit: Option<&Exit>,
) {
    let slot = Slot::Container(container.name.clone());
    // Both are asked, as either may have the next moment at which the status changes.
    let is_held = memory.held(&slot, view.now, decision);
    let waits = exit.is_some_and(|exit| waits_after(view, memory, decision, container, exit));
    if is_held || waits || !ensure_image(view, memory, decision, container) {
        return;
    }
    // One start at a time, in the spec's order: a container may rely on the postStart hook of the one before it.
    if memory.starting() {
        return;
    }
    match start(view, memory, container, sandbox) {
        Ok(start) => {
            let known = memory.container(&container.name);
            known.image = None;
            if let Some(exit) = exit {
                known.crashes.restarted(exit.finished, view.now);
            }
            decision.act(memory, Action::Start(Box::new(start)), "it is to run and does not");
        }
        Err(error) => {
            let message = format!("Error: {error}");
            decision.notes.push(Note::container(
                field_path(view.pod, &container.name),
                Severity::Warning,
                "Failed",
                message,
            ));
            let reason = "CreateContainerConfigError";
            memory.failed(slot.clone(), reason, error.to_string(), view.now, backoff::FIRST);
            memory.held(&slot, view.now, decision);
        }
    }
}

/// Whether a container that ended must wait before it is started again.
fn waits_after(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
    exit: &Exit,
) -> bool {
    let instance = view.observed.newest(&container.name).map_or("", |newest| newest.id.as_str());
    let known = memory.container(&container.name);
    let Some(until) = known.crashes.until(exit.finished).filter(|until| view.now < *until) else {
        return false;
    };
    decision.wake_at(until);
    if known.told_waiting != instance {
        known.told_waiting = instance.to_owned();
        let message = format!(
            "Back-off restarting failed container {} in pod {}",
            container.name,
            in_messages(view.pod)
        );
        let path = field_path(view.pod, &container.name);
        decision.notes.push(Note::container(path, Severity::Warning, "BackOff", message));
    }
    true
}

fn start(
    view: &View<'_>,
    memory: &mut Memory,
    container: &Container,
    sandbox: &Sandbox,
) -> Result<Start, crate::spec::env::ConfigError> {
    let addresses = memory.addresses(view.pod, view.settings);
    let sources = Sources {
        pod: view.pod,
        references: view.references,
        addresses: &addresses,
        settings: view.settings,
    };
    let image = memory.container(&container.name).image.clone().unwrap_or_default();
    let blueprint = blueprint(container, next_attempt(view, &container.name), &image, &sources)?;
    let ip = addresses.pod_ips.first().map_or("", String::as_str);
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    Ok(Start {
        container: container.name.clone(),
        sandbox: sandbox.id.clone(),
        sandbox_config: sandbox::config(view.pod, sandbox.attempt, view.settings),
        blueprint,
        hosts: (
            view.settings.paths.hosts(uid(view.pod)),
            hosts::file(view.pod, &addresses.pod_ips, view.settings),
        ),
        post_start: hook.and_then(|hook| Check::hook(hook, container, ip)),
    })
}

/// Counts on from the newest instance, or from what the API remembers when the runtime has none.
fn next_attempt(view: &View<'_>, container: &str) -> u32 {
    if let Some(newest) = view.observed.newest(container) {
        return newest.attempt + 1;
    }
    let known = super::status::known(view.pod, container);
    let has_run = known.is_some_and(|known| known.container_id.as_deref().is_some_and(|id| !id.is_empty()));
    match known.and_then(|known| u32::try_from(known.restart_count).ok()) {
        Some(count) if has_run => count + 1,
        Some(count) => count,
        None => 0,
    }
}

/// Whether a container's image is here; otherwise sees to it.
pub fn ensure_image(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
) -> bool {
    if memory.container(&container.name).image.is_some() {
        return true;
    }
    let slot = Slot::Image(container.name.clone());
    if memory.held(&slot, view.now, decision) {
        tell_of_waiting_pull(view, memory, decision, container);
        return false;
    }
    let name = image::name(container);
    match Reference::parse(name) {
        Ok(reference) => {
            let action = Action::EnsureImage {
                container: container.name.clone(),
                field_path: field_path(view.pod, &container.name),
                image: name.to_owned(),
                policy: image::policy(container),
                credentials: credentials(&reference, view.pod, view.references),
            };
            decision.act(memory, action, "a container needs its image");
        }
        Err(invalid) => {
            let path = field_path(view.pod, &container.name);
            let note =
                |reason, message: String| Note::container(path.clone(), Severity::Warning, reason, message);
            decision.notes.push(note("InspectFailed", invalid.to_string()));
            decision.notes.push(note("Failed", "Error: InvalidImageName".to_owned()));
            memory.failed(slot.clone(), "InvalidImageName", invalid.to_string(), view.now, backoff::FIRST);
            memory.held(&slot, view.now, decision);
        }
    }
    false
}

/// After a while the error gives way to the wait, once each time.
fn tell_of_waiting_pull(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    container: &Container,
) {
    let slot = Slot::Image(container.name.clone());
    let Some(failure) = memory.failures.get(&slot).filter(|failure| failure.reason == "ErrImagePull") else {
        return;
    };
    if memory.under_way.contains_key(&slot) {
        return;
    }
    if view.now < failure.at + ERROR_SHOWN {
        decision.wake_at(failure.at + ERROR_SHOWN);
        return;
    }
    let told = format!("pull {}", failure.at);
    let known = memory.container(&container.name);
    if known.told_waiting != told {
        known.told_waiting = told;
        let path = field_path(view.pod, &container.name);
        let back_off = format!("Back-off pulling image {:?}", image::name(container));
        decision.notes.push(Note::container(path.clone(), Severity::Normal, "BackOff", back_off));
        let message = "Error: ImagePullBackOff".to_owned();
        decision.notes.push(Note::container(path, Severity::Warning, "Failed", message));
    }
}

/// Ends an instance, unless that is under way with no more time to it.
pub fn kill(
    view: &View<'_>,
    memory: &mut Memory,
    decision: &mut Decision,
    instance: &Instance,
    grace_seconds: i64,
    message: String,
) {
    let slot = Slot::Instance(instance.id.clone());
    let deadline = view.now + SignedDuration::from_secs(grace_seconds);
    let first = match memory.under_way.get(&slot) {
        // A later, shorter grace period wins.
        Some(Some(known)) if deadline + SignedDuration::from_secs(1) < *known => false,
        Some(_) => return,
        None if memory.held(&slot, view.now, decision) => return,
        None => true,
    };
    let container = all_containers(view.pod).find(|container| container.name == instance.name);
    let ip = memory.addresses(view.pod, view.settings).pod_ips.into_iter().next().unwrap_or_default();
    let hook = container.and_then(|container| {
        let handler = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
        Check::hook(handler, container, &ip)
    });
    let path = field_path(view.pod, &instance.name);
    if first {
        decision.notes.push(Note::container(path.clone(), Severity::Normal, "Killing", message));
    }
    let action = Action::Kill(Kill {
        id: instance.id.clone(),
        field_path: path,
        grace_seconds,
        pre_stop: hook.filter(|_| first),
    });
    decision.act(memory, action, "it is not to run");
    memory.under_way.insert(slot, Some(deadline));
}

/// A container's place in the spec, as events name it.
pub fn field_path(pod: &Pod, container: &str) -> String {
    let is_init = init_containers(pod).iter().any(|init| init.name == container);
    let list = if is_init { "initContainers" } else { "containers" };
    format!("spec.{list}{{{container}}}")
}
