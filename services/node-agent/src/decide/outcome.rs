//! What came of an action, and what is learned from it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::action::{Note, Severity, Slot};
use super::backoff;
use super::containers::{ERROR_SHOWN, field_path};
use super::memory::{Memory, Probes};
use super::pod::RETRY;
use crate::spec::container::LocalImage;

/// The end of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The volumes hold what they should, and until when, or why not.
    Volumes(Result<Option<Timestamp>, String>),
    /// The sandbox runs, or why not.
    Sandbox(Result<(), String>),
    /// A sandbox was stopped.
    SandboxStopped(String, Result<(), String>),
    /// A sandbox was removed.
    SandboxRemoved(String, Result<(), String>),
    /// A container's image is here.
    Image(String, String, Result<Ensured, ImageProblem>),
    /// A container was started.
    Started(String, Result<(), StartProblem>),
    /// An instance has ended.
    Killed(String, Result<(), String>),
    /// An instance was removed.
    Removed(String, Result<(), String>),
    /// The pod's folders are gone.
    Discarded(Result<(), String>),
    /// The runtime was away: nothing is known, and nothing is held against anybody.
    Unknown(Slot),
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The image.
    pub image: LocalImage,
    /// How long it took to fetch, and its size; `None` when it was here already.
    pub pulled: Option<(Duration, u64)>,
}

/// Why an image is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageProblem {
    /// It is not here and must not be fetched.
    Never,
    /// The registry or the runtime says this.
    Pull(String),
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartProblem {
    /// Something on the disk, or the runtime refused to make it.
    Create(String),
    /// It was made and could not be started.
    Run(String),
    /// Its postStart hook failed and it was ended.
    PostStart(String),
}

/// Ends and removals that failed are tried again soon, and without a word to users.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// Takes an outcome in; returns what to tell in events.
pub fn learn(outcome: Outcome, pod: &Pod, memory: &mut Memory, now: Timestamp) -> Vec<Note> {
    let slot = outcome.slot();
    memory.under_way.remove(&slot);
    match outcome {
        Outcome::Volumes(Ok(renew)) => {
            memory.volumes.ready = memory.volumes.pending.take();
            memory.volumes.renew = renew;
            succeeded(memory, &slot)
        }
        Outcome::Volumes(Err(why)) => {
            memory.volumes.planned = None;
            failed(memory, slot, "FailedMount", why.clone(), now, RETRY);
            vec![Note::pod(Severity::Warning, "FailedMount", why)]
        }
        Outcome::Sandbox(Ok(())) => succeeded(memory, &slot),
        Outcome::Sandbox(Err(why)) => {
            let message = format!("Failed to create pod sandbox: {why}");
            failed(memory, slot, "FailedCreatePodSandBox", why, now, RETRY);
            vec![Note::pod(Severity::Warning, "FailedCreatePodSandBox", message)]
        }
        Outcome::SandboxStopped(id, Ok(())) => {
            memory.stopped.insert(id);
            succeeded(memory, &slot)
        }
        Outcome::SandboxStopped(_, Err(why)) => {
            let message = format!("error killing pod: {why}");
            failed(memory, slot, "FailedKillPod", why, now, SOON);
            vec![Note::pod(Severity::Warning, "FailedKillPod", message)]
        }
        Outcome::SandboxRemoved(id, Ok(())) => {
            memory.stopped.remove(&id);
            succeeded(memory, &slot)
        }
        Outcome::Image(container, image, result) => {
            image_result(pod, memory, &container, &image, result, now)
        }
        Outcome::Started(container, result) => start_result(pod, memory, &container, result, now),
        Outcome::Killed(_, Ok(())) | Outcome::Removed(_, Ok(())) => succeeded(memory, &slot),
        Outcome::Killed(_, Err(why)) => {
            let message = format!("error killing pod: {why}");
            failed(memory, slot, "FailedKillPod", why, now, SOON);
            vec![Note::pod(Severity::Warning, "FailedKillPod", message)]
        }
        Outcome::SandboxRemoved(_, Err(why))
        | Outcome::Removed(_, Err(why))
        | Outcome::Discarded(Err(why)) => {
            failed(memory, slot, "FailedCleanUp", why, now, SOON);
            Vec::new()
        }
        Outcome::Discarded(Ok(())) => {
            memory.discarded = true;
            succeeded(memory, &slot)
        }
        Outcome::Unknown(Slot::Volumes) => {
            memory.volumes.planned = None;
            Vec::new()
        }
        Outcome::Unknown(_) => Vec::new(),
    }
}

fn succeeded(memory: &mut Memory, slot: &Slot) -> Vec<Note> {
    memory.failures.remove(slot);
    Vec::new()
}

fn failed(
    memory: &mut Memory,
    slot: Slot,
    reason: &'static str,
    why: String,
    now: Timestamp,
    first: SignedDuration,
) {
    memory.failed(slot, reason, why, now, first);
}

fn image_result(
    pod: &Pod,
    memory: &mut Memory,
    container: &str,
    image: &str,
    result: Result<Ensured, ImageProblem>,
    now: Timestamp,
) -> Vec<Note> {
    let path = field_path(pod, container);
    let slot = Slot::Image(container.to_owned());
    let note = |severity, reason, message: String| Note::container(path.clone(), severity, reason, message);
    match result {
        Ok(ensured) => {
            memory.container(container).image = Some(ensured.image);
            memory.failures.remove(&slot);
            let message = match ensured.pulled {
                None => format!("Container image {image:?} already present on machine"),
                Some((took, bytes)) => {
                    let took = in_seconds(took);
                    format!(
                        "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {bytes} bytes."
                    )
                }
            };
            vec![note(Severity::Normal, "Pulled", message)]
        }
        Err(ImageProblem::Never) => {
            let why = format!("Container image {image:?} is not present with pull policy of Never");
            failed(memory, slot, "ErrImageNeverPull", why.clone(), now, backoff::FIRST);
            vec![
                note(Severity::Warning, "ErrImageNeverPull", why),
                note(Severity::Warning, "Failed", "Error: ErrImageNeverPull".to_owned()),
            ]
        }
        Err(ImageProblem::Pull(why)) => {
            let message = format!("Failed to pull image {image:?}: {why}");
            failed(memory, slot, "ErrImagePull", why, now, backoff::FIRST);
            vec![
                note(Severity::Warning, "Failed", message),
                note(Severity::Warning, "Failed", "Error: ErrImagePull".to_owned()),
            ]
        }
    }
}

fn start_result(
    pod: &Pod,
    memory: &mut Memory,
    container: &str,
    result: Result<(), StartProblem>,
    now: Timestamp,
) -> Vec<Note> {
    let path = field_path(pod, container);
    let slot = Slot::Container(container.to_owned());
    let normal = |reason, what: &str| Note::container(path.clone(), Severity::Normal, reason, what);
    let warning = |reason, why: String| Note::container(path.clone(), Severity::Warning, reason, why);
    memory.container(container).probes = Probes::default();
    match result {
        Ok(()) => {
            memory.failures.remove(&slot);
            vec![normal("Created", "Container created"), normal("Started", "Container started")]
        }
        Err(StartProblem::Create(why)) => {
            failed(memory, slot, "CreateContainerError", why.clone(), now, backoff::FIRST);
            vec![warning("Failed", format!("Error: {why}"))]
        }
        Err(StartProblem::Run(why)) => {
            ended_at_once(memory, slot, "RunContainerError", why.clone(), now);
            vec![normal("Created", "Container created"), warning("Failed", format!("Error: {why}"))]
        }
        Err(StartProblem::PostStart(why)) => {
            ended_at_once(memory, slot, "PostStartHookError", why.clone(), now);
            vec![
                normal("Created", "Container created"),
                normal("Started", "Container started"),
                warning("FailedPostStartHook", format!("PostStartHook failed: {why}")),
            ]
        }
    }
}

/// The instance that failed is there and counts among the container's restarts, which have a wait of their own: this
/// one only lets users see the error.
fn ended_at_once(memory: &mut Memory, slot: Slot, reason: &'static str, why: String, now: Timestamp) {
    memory.failures.remove(&slot);
    failed(memory, slot, reason, why, now, ERROR_SHOWN);
}

/// As Go prints durations: `1.234s`, `56ms`.
fn in_seconds(took: Duration) -> String {
    match took.as_millis() {
        millis if millis < 1000 => format!("{millis}ms"),
        millis => format!("{}s", millis as f64 / 1000.0),
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether it failed.
    pub fn is_failure(&self) -> bool {
        match self {
            Outcome::Volumes(result) => result.is_err(),
            Outcome::Image(_, _, result) => result.is_err(),
            Outcome::Started(_, result) => result.is_err(),
            Outcome::Sandbox(result)
            | Outcome::SandboxStopped(_, result)
            | Outcome::SandboxRemoved(_, result)
            | Outcome::Killed(_, result)
            | Outcome::Removed(_, result)
            | Outcome::Discarded(result) => result.is_err(),
            Outcome::Unknown(_) => true,
        }
    }

    /// What the action worked on.
    pub fn slot(&self) -> Slot {
        match self {
            Outcome::Volumes(_) => Slot::Volumes,
            Outcome::Sandbox(_) => Slot::Sandbox,
            Outcome::SandboxStopped(id, _) | Outcome::SandboxRemoved(id, _) => Slot::OldSandbox(id.clone()),
            Outcome::Image(container, ..) => Slot::Image(container.clone()),
            Outcome::Started(container, _) => Slot::Container(container.clone()),
            Outcome::Killed(id, _) | Outcome::Removed(id, _) => Slot::Instance(id.clone()),
            Outcome::Discarded(_) => Slot::Folders,
            Outcome::Unknown(slot) => slot.clone(),
        }
    }
}
