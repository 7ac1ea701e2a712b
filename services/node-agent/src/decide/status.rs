//! What to say of a pod: its status, from what is there and what was tried.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::Slot;
use super::backoff::Failure;
use super::conditions;
use super::containers::{ERROR_SHOWN, restarts};
use super::memory::{Memory, View};
use super::pod::{has_final_phase, in_messages};
use crate::observe::listing::{Exit, Instance, State};
use crate::spec::container::hash;
use crate::spec::image::{self, Reference};
use crate::spec::resources::qos_class;
use crate::spec::{init_containers, is_sidecar, of};

/// The pod's status as it is now.
pub fn now(view: &View<'_>, memory: &Memory) -> PodStatus {
    match &memory.last_words {
        Some(last) => PodStatus::clone(last),
        // What was final once stays as it was said then.
        None if has_final_phase(view.pod) => view.pod.status.clone().unwrap_or_default(),
        None => made(view, memory, memory.ended.is_some()),
    }
}

/// The pod's status when nothing of it runs any more or ever will.
pub fn last(view: &View<'_>, memory: &Memory) -> PodStatus {
    if has_final_phase(view.pod) {
        return view.pod.status.clone().unwrap_or_default();
    }
    made(view, memory, true)
}

/// Begins with what others wrote into the status and replaces what is the agent's.
fn made(view: &View<'_>, memory: &Memory, final_: bool) -> PodStatus {
    let mut status = view.pod.status.clone().unwrap_or_default();
    let init: Vec<ContainerStatus> = init_containers(view.pod)
        .iter()
        .map(|container| of_container(view, memory, container, final_))
        .collect();
    let main: Vec<ContainerStatus> = of(view.pod)
        .containers
        .iter()
        .map(|container| of_container(view, memory, container, final_))
        .collect();
    let phase = phase(view.pod, &init, &main, memory.ended.is_some(), final_);
    let addresses = memory.addresses(view.pod, view.settings);
    status.phase = Some(phase.to_owned());
    if let Some(ended) = &memory.ended {
        status.reason = Some(ended.reason.clone());
        status.message = Some(ended.message.clone());
    }
    status.host_ip = addresses.host_ips.first().cloned();
    status.host_ips = Some(addresses.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
    if !addresses.pod_ips.is_empty() {
        status.pod_ip = addresses.pod_ips.first().cloned();
        status.pod_ips = Some(addresses.pod_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
    }
    if status.start_time.is_none() {
        status.start_time = Some(seconds(memory.since));
    }
    if status.qos_class.is_none() {
        status.qos_class = Some(qos_class(view.pod).as_str().to_owned());
    }
    status.observed_generation = view.pod.metadata.generation.or(status.observed_generation);
    let has_sandbox = view.observed.ready_sandbox().is_some();
    conditions::put(&mut status, view.pod, &init, &main, has_sandbox, view.now);
    status.init_container_statuses = Some(init).filter(|list| !list.is_empty());
    status.container_statuses = Some(main).filter(|list| !list.is_empty());
    status
}

/// The API's status of a container, if it has one.
pub fn known<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|known| known.name == container)
}

fn of_container(view: &View<'_>, memory: &Memory, container: &Container, final_: bool) -> ContainerStatus {
    let mut instances = view.observed.of(&container.name);
    let (newest, before) = (instances.next(), instances.next());
    let known = known(view.pod, &container.name);
    let state = match newest {
        None => vanished(known, final_).unwrap_or_else(|| waiting(view, memory, container)),
        Some(instance) => state_of(view, memory, container, instance, final_),
    };
    let has_ended_before = state.waiting.is_some();
    let last = match newest {
        Some(instance) if has_ended_before && instance.state.exit().is_some() => Some(instance),
        _ => before,
    };
    let last_state = match last.and_then(|instance| Some((instance, instance.state.exit()?))) {
        Some((instance, exit)) => Some(terminated(instance, exit)),
        // The runtime has forgotten it; the API may remember.
        None => known.and_then(|known| known.last_state.clone()),
    };
    let running = newest.filter(|instance| matches!(instance.state, State::Running { .. }));
    let hook_done = !memory.under_way.contains_key(&Slot::Container(container.name.clone()));
    let started = running.is_some_and(|instance| {
        hook_done && (container.startup_probe.is_none() || memory.has_started(&container.name, &instance.id))
    });
    let ready = match running {
        Some(instance) => {
            started && (container.readiness_probe.is_none() || memory.is_ready(&container.name, &instance.id))
        }
        // An init container that has done its work is ready.
        None => is_init(view.pod, container) && exit_code(&state) == Some(0),
    };
    ContainerStatus {
        name: container.name.clone(),
        ready,
        started: Some(started),
        restart_count: restart_count(newest, known),
        image: shown_image(container, newest),
        image_id: newest.map(|instance| instance.image_id.clone()).unwrap_or_default(),
        container_id: newest.map(container_id),
        state: Some(state),
        last_state,
        ..Default::default()
    }
}

/// The image that runs under the name that the spec gives it; the runtime only knows the image's first name.
fn shown_image(container: &Container, newest: Option<&Instance>) -> String {
    let name = image::name(container);
    match newest {
        None => name.to_owned(),
        Some(instance) if instance.hash != hash(container) => instance.image.clone(),
        Some(instance) => {
            Reference::parse(name).map_or_else(|_| instance.image.clone(), |full| full.to_string())
        }
    }
}

fn state_of(
    view: &View<'_>,
    memory: &Memory,
    container: &Container,
    instance: &Instance,
    final_: bool,
) -> ContainerState {
    match &instance.state {
        State::Running { started } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(seconds(*started)) }),
            ..Default::default()
        },
        State::Created => waiting(view, memory, container),
        State::Unknown => lost(),
        State::Exited(exit) => {
            let again = !final_ && restarts(view.pod, container, exit.code);
            let held = again.then(|| held_back(view, memory, container, exit)).flatten();
            held.map_or_else(|| terminated(instance, exit), |(reason, message)| wait(&reason, message))
        }
    }
}

/// Why a container that ended and is to run again does not, if it waits.
fn held_back(
    view: &View<'_>,
    memory: &Memory,
    container: &Container,
    exit: &Exit,
) -> Option<(String, Option<String>)> {
    // It is being started: the wait that counts already is the next one's.
    if memory.under_way.contains_key(&Slot::Container(container.name.clone())) {
        return None;
    }
    if let Some(failure) = failure(view, memory, container) {
        return Some(failure);
    }
    let crashes = &memory.containers.get(&container.name)?.crashes;
    let wait = crashes.holds(exit.finished).filter(|wait| view.now < exit.finished + *wait)?;
    let message = format!(
        "back-off {} restarting failed container={} pod={}",
        minutes(wait),
        container.name,
        in_messages(view.pod)
    );
    Some(("CrashLoopBackOff".to_owned(), Some(message)))
}

/// What failed for a container and has not succeeded since.
fn failure(view: &View<'_>, memory: &Memory, container: &Container) -> Option<(String, Option<String>)> {
    let start = memory.failures.get(&Slot::Container(container.name.clone()));
    if let Some(start) = start.filter(|start| is_current(start, memory, view.now)) {
        return Some((start.reason.to_owned(), Some(start.message.clone())));
    }
    let pull = memory.failures.get(&Slot::Image(container.name.clone()))?;
    if pull.reason == "ErrImagePull" && view.now >= pull.at + ERROR_SHOWN {
        let image = image::name(container);
        let message = format!("Back-off pulling image {image:?}: ErrImagePull: {}", pull.message);
        return Some(("ImagePullBackOff".to_owned(), Some(message)));
    }
    Some((pull.reason.to_owned(), Some(pull.message.clone())))
}

/// A container that was started and ended at once shows the error only until its restart is waited for.
fn is_current(failure: &Failure, memory: &Memory, now: Timestamp) -> bool {
    let passing = matches!(failure.reason, "RunContainerError" | "PostStartHookError");
    failure.version == memory.version && (!passing || now < failure.again())
}

fn waiting(view: &View<'_>, memory: &Memory, container: &Container) -> ContainerState {
    if let Some((reason, message)) = failure(view, memory, container) {
        return wait(&reason, message);
    }
    let has_init = !init_containers(view.pod).is_empty();
    wait(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
}

/// The state of a container that the runtime does not have: as the API knows it, if it had run.
fn vanished(known: Option<&ContainerStatus>, final_: bool) -> Option<ContainerState> {
    let state = known?.state.as_ref()?;
    if state.terminated.is_some() {
        return Some(state.clone());
    }
    (final_ && state.running.is_some()).then(lost)
}

fn lost() -> ContainerState {
    const KILLED: i32 = 137;
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: KILLED,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn terminated(instance: &Instance, exit: &Exit) -> ContainerState {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            reason: text(&exit.reason),
            message: text(&exit.message),
            started_at: Some(seconds(exit.started.unwrap_or(Timestamp::UNIX_EPOCH))),
            finished_at: Some(seconds(exit.finished)),
            container_id: Some(container_id(instance)),
            signal: None,
        }),
        ..Default::default()
    }
}

fn wait(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..Default::default()
    }
}

fn container_id(instance: &Instance) -> String {
    format!("containerd://{}", instance.id)
}

fn restart_count(newest: Option<&Instance>, known: Option<&ContainerStatus>) -> i32 {
    match newest {
        Some(instance) => i32::try_from(instance.attempt).unwrap_or(i32::MAX),
        None => known.map_or(0, |known| known.restart_count),
    }
}

fn is_init(pod: &Pod, container: &Container) -> bool {
    init_containers(pod).iter().any(|init| init.name == container.name)
}

/// The exit code of a state that is an end.
pub fn exit_code(state: &ContainerState) -> Option<i32> {
    state.terminated.as_ref().map(|terminated| terminated.exit_code)
}

/// Where the pod is in its life. `ended`: whatever its containers say, it is over and has failed; `final_`: nothing of
/// it will run again.
fn phase(
    pod: &Pod,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    ended: bool,
    final_: bool,
) -> &'static str {
    if ended {
        return "Failed";
    }
    let policy = of(pod).restart_policy.as_deref().unwrap_or("Always");
    let code = |status: &ContainerStatus| status.state.as_ref().and_then(exit_code);
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    // Ended, or ended and waiting to be started again.
    let has_ended = |status: &ContainerStatus| {
        code(status).is_some() || status.last_state.as_ref().is_some_and(|last| last.terminated.is_some())
    };
    let mut pending_init = false;
    for (container, status) in init_containers(pod).iter().zip(init) {
        match code(status) {
            _ if is_sidecar(container) => {
                pending_init |= status.started != Some(true) && !runs(status) && !has_ended(status)
            }
            Some(0) => (),
            Some(_) if policy == "Never" => return "Failed",
            _ => pending_init = true,
        }
    }
    let begun = main.iter().any(|status| runs(status) || has_ended(status));
    if final_ && !main.iter().any(runs) {
        return if main.iter().all(|status| code(status) == Some(0)) { "Succeeded" } else { "Failed" };
    }
    if pending_init && !begun {
        return "Pending";
    }
    if main.iter().any(|status| !runs(status) && !has_ended(status)) {
        return "Pending";
    }
    if main.iter().any(runs) || policy == "Always" {
        return "Running";
    }
    let codes: Vec<Option<i32>> = main.iter().map(code).collect();
    match policy {
        _ if codes.iter().all(|code| *code == Some(0)) => "Succeeded",
        "Never" if codes.iter().all(Option::is_some) => "Failed",
        _ => "Running",
    }
}

/// The API keeps whole seconds; two times are equal only when both are.
pub fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).expect("a second of a valid time is a valid time"))
}

/// As Go prints durations: `10s`, `2m40s`, `5m0s`.
fn minutes(wait: SignedDuration) -> String {
    match wait.as_secs() {
        seconds if seconds < 60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}
