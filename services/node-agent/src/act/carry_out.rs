//! From an action to its outcome.

use std::time::Duration;

use cri::CriError;
use cri::v1::AuthConfig;
use tokio::time::Instant;

use super::runtime::{Answer, ImageRecord, Runtime};
use crate::decide::action::{Action, Check, Kill, Note, Severity, Slot, Start};
use crate::decide::outcome::{Ensured, ImageProblem, Outcome, StartProblem};
use crate::observe::listing::PodIdentity;
use crate::spec::image::{PullPolicy, Reference};

/// A hook that runs longer is stuck; upstream waits for ever, and users call that a hang.
const POST_START_PATIENCE: Duration = Duration::from_secs(300);
/// What a container has to end in after its preStop hook has used up the grace period.
const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);
/// An HTTP or TCP hook that gets no answer.
const HOOK_ANSWER: Duration = Duration::from_secs(30);

/// Carries an action out. What happens on the way is told to `tell`; it all ends in one outcome.
pub async fn carry_out<R: Runtime>(
    runtime: &R,
    pod: &PodIdentity,
    action: Action,
    tell: &(dyn Fn(Note) + Send + Sync),
) -> Outcome {
    let slot = action.slot();
    match action {
        Action::PrepareVolumes(plan) => Outcome::Volumes(runtime.prepare_volumes(pod, plan).await),
        Action::RunSandbox(config) => known(runtime.run_sandbox(*config).await, slot, Outcome::Sandbox),
        Action::StopSandbox(id) => {
            let stopped = absent_is_fine(runtime.stop_sandbox(&id).await);
            known(stopped, slot, |result| Outcome::SandboxStopped(id, result))
        }
        Action::RemoveSandbox(id) => {
            let removed = absent_is_fine(runtime.remove_sandbox(&id).await);
            known(removed, slot, |result| Outcome::SandboxRemoved(id, result))
        }
        Action::EnsureImage { container, field_path, image, policy, credentials } => {
            let pulling = || {
                let message = format!("Pulling image {image:?}");
                tell(Note::container(field_path.clone(), Severity::Normal, "Pulling", message));
            };
            match ensure(runtime, &image, policy, credentials, &pulling).await {
                Err(error) if error.is_down() => Outcome::Unknown(slot),
                Err(error) => {
                    let problem = ImageProblem::Pull(error.to_string());
                    Outcome::Image(container.clone(), image.clone(), Err(problem))
                }
                Ok(result) => Outcome::Image(container.clone(), image.clone(), result),
            }
        }
        Action::Start(start) => {
            let container = start.container.clone();
            match begin(runtime, pod, *start).await {
                Err(Begin::Down) => Outcome::Unknown(slot),
                Err(Begin::Problem(problem)) => Outcome::Started(container, Err(problem)),
                Ok(()) => Outcome::Started(container, Ok(())),
            }
        }
        Action::Kill(kill) => {
            let id = kill.id.clone();
            let killed = absent_is_fine(end(runtime, &kill, tell).await);
            known(killed, slot, |result| Outcome::Killed(id, result))
        }
        Action::RemoveInstance { id, log } => {
            let removed = absent_is_fine(runtime.remove(&id).await);
            if removed.is_ok() {
                super::disk::remove_log(&log);
            }
            known(removed, slot, |result| Outcome::Removed(id, result))
        }
        Action::Discard => Outcome::Discarded(runtime.discard(pod).await),
    }
}

/// The runtime's answer in words, unless it was away.
fn known<T>(
    result: Result<T, CriError>,
    slot: Slot,
    outcome: impl FnOnce(Result<T, String>) -> Outcome,
) -> Outcome {
    match result {
        Err(error) if error.is_down() => Outcome::Unknown(slot),
        result => outcome(result.map_err(|error| error.to_string())),
    }
}

fn absent_is_fine(result: Result<(), CriError>) -> Result<(), CriError> {
    result.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

async fn ensure<R: Runtime>(
    runtime: &R,
    image: &str,
    policy: PullPolicy,
    credentials: Vec<AuthConfig>,
    pulling: &(dyn Fn() + Send + Sync),
) -> Result<Result<Ensured, ImageProblem>, CriError> {
    let here = |record: ImageRecord, pulled| Ok(Ok(Ensured { image: record.image, pulled }));
    let present = runtime.image(image).await?.filter(|record| match policy {
        // An image from an archive came from no registry, so there is none that could have a newer one.
        PullPolicy::Always => Reference::parse(image).is_ok_and(|asked| record.is_from_archive(&asked)),
        PullPolicy::IfNotPresent | PullPolicy::Never => true,
    });
    match (present, policy) {
        (Some(record), _) => return here(record, None),
        (None, PullPolicy::Never) => return Ok(Err(ImageProblem::Never)),
        (None, _) => (),
    }
    pulling();
    let began = Instant::now();
    if let Err(error) = pull(runtime, image, credentials).await {
        return match error.is_down() {
            true => Err(error),
            false => Ok(Err(ImageProblem::Pull(error.to_string()))),
        };
    }
    match runtime.image(image).await? {
        Some(record) => {
            let size = record.size;
            here(record, Some((began.elapsed(), size)))
        }
        None => Ok(Err(ImageProblem::Pull("the image was pulled and is not there".to_owned()))),
    }
}

/// Tries each credential in turn, or none at all; the last error counts.
async fn pull<R: Runtime>(runtime: &R, image: &str, credentials: Vec<AuthConfig>) -> Result<(), CriError> {
    let tries: Vec<Option<AuthConfig>> =
        if credentials.is_empty() { vec![None] } else { credentials.into_iter().map(Some).collect() };
    let mut last = Ok(());
    for auth in tries {
        last = runtime.pull(image, auth).await;
        if last.is_ok() {
            return last;
        }
    }
    last
}

enum Begin {
    Down,
    Problem(StartProblem),
}

async fn begin<R: Runtime>(runtime: &R, pod: &PodIdentity, start: Start) -> Result<(), Begin> {
    let problem = |of: fn(String) -> StartProblem| {
        move |error: CriError| match error.is_down() {
            true => Begin::Down,
            false => Begin::Problem(of(error.to_string())),
        }
    };
    let prepared = runtime.prepare_start(pod, &start).await;
    prepared.map_err(|why| Begin::Problem(StartProblem::Create(why)))?;
    let Start { sandbox, blueprint, sandbox_config, post_start, .. } = start;
    let id = runtime
        .create(&sandbox, blueprint.config, sandbox_config)
        .await
        .map_err(problem(StartProblem::Create))?;
    runtime.start(&id).await.map_err(problem(StartProblem::Run))?;
    let Some(hook) = post_start else { return Ok(()) };
    let answer = try_out(runtime, &id, &hook, POST_START_PATIENCE).await;
    if answer.passed {
        return Ok(());
    }
    // A container whose hook failed is ended; what comes then follows from its restart policy.
    runtime.stop(&id, GRACE_AFTER_HOOK).await.map_err(problem(StartProblem::PostStart))?;
    Err(Begin::Problem(StartProblem::PostStart(answer.output)))
}

async fn end<R: Runtime>(
    runtime: &R,
    kill: &Kill,
    tell: &(dyn Fn(Note) + Send + Sync),
) -> Result<(), CriError> {
    let grace = Duration::from_secs(u64::try_from(kill.grace_seconds).unwrap_or(0));
    let began = Instant::now();
    if let Some(hook) = kill.pre_stop.as_ref().filter(|_| !grace.is_zero()) {
        let answer = try_out(runtime, &kill.id, hook, grace).await;
        if !answer.passed {
            let path = kill.field_path.clone();
            let message = format!("PreStopHook failed: {}", answer.output);
            tell(Note::container(path, Severity::Warning, "FailedPreStopHook", message));
        }
    }
    let left = match kill.pre_stop {
        Some(_) => grace.saturating_sub(began.elapsed()).max(GRACE_AFTER_HOOK.min(grace)),
        None => grace,
    };
    runtime.stop(&kill.id, left).await
}

/// Carries out a hook or a probe.
pub async fn try_out<R: Runtime>(runtime: &R, id: &str, check: &Check, patience: Duration) -> Answer {
    match check {
        Check::Exec(command) => match runtime.exec(id, command.clone(), patience).await {
            Ok(answer) => answer,
            Err(error) => Answer::failed(error.to_string()),
        },
        Check::Sleep(seconds) => {
            let wanted = Duration::from_secs(u64::try_from(*seconds).unwrap_or(0));
            tokio::time::sleep(wanted.min(patience)).await;
            Answer::passed("")
        }
        check => runtime.reach(check, patience.min(HOOK_ANSWER)).await,
    }
}
