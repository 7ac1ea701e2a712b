//! The real machine: containerd by CRI, volumes and logs on the disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use cri::v1::{
    AuthConfig, Container, ContainerConfig, ContainerState, ContainerStatus, Image, PodSandbox,
    PodSandboxConfig, PodSandboxState,
};
use cri::{Client, CriError, Events};
use futures::stream::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore};
use tracing::warn;

use super::runtime::{Answer, Health, ImageRecord, Runtime};
use super::tokens::Tokens;
use super::{checks, disk, local_volume, volumes};
use crate::decide::action::{Check, Start};
use crate::node::facts::{self, Facts};
use crate::observe::listing::{Exit, Instance, Listing, PodIdentity, Sandbox, State};
use crate::settings::Paths;
use crate::spec::container::LocalImage;
use crate::spec::names;
use crate::spec::security::ImageUser;
use crate::spec::volumes::Plan;

/// containerd tells of what happens; a look now and then finds what was missed. Each costs about a millisecond.
const TRUST: Duration = Duration::from_secs(5);
/// Questions about single containers under way together; more would queue in containerd.
const QUESTIONS: usize = 8;
/// Images being fetched at a time: a few share the line, many would starve each other.
const PULLS: usize = 4;
/// Bytes of a container's last words.
const MESSAGE_MAX: usize = 4096;
/// Bytes and lines of its log that stand in for them.
const LOG_TAIL_BYTES: u64 = 2048;
const LOG_TAIL_LINES: usize = 80;
/// Bytes of what a command printed that an event shows.
const OUTPUT_MAX: usize = 10 * 1024;

/// containerd behind a socket.
#[derive(Clone)]
pub struct Containerd {
    client: Client,
    paths: Paths,
    tokens: Tokens,
    /// What does not change any more: addresses of sandboxes, states of containers.
    details: Arc<SyncMutex<Details>>,
    events: Arc<Mutex<Option<Events>>>,
    pulls: Arc<Semaphore>,
}

#[derive(Default)]
struct Details {
    addresses: HashMap<String, Vec<String>>,
    /// By container, with the state that it was asked for in.
    containers: HashMap<String, (ContainerState, Instance)>,
}

// === impl Containerd ===

impl Containerd {
    /// Nothing is connected yet.
    pub fn new(client: Client, paths: Paths, tokens: Tokens) -> Self {
        let pulls = Arc::new(Semaphore::new(PULLS));
        Containerd { client, paths, tokens, details: Arc::default(), events: Arc::default(), pulls }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sandbox(&self, listed: PodSandbox) -> Result<Option<Sandbox>, CriError> {
        let Some(pod) = identity(&listed.labels) else { return Ok(None) };
        let ready = listed.state() == PodSandboxState::SandboxReady;
        let known = self.known().addresses.get(&listed.id).cloned();
        let ips = match (ready, known) {
            (false, _) => Vec::new(),
            (true, Some(ips)) => ips,
            (true, None) => match self.client.sandbox_status(&listed.id).await {
                Ok(status) => {
                    let network = status.network.unwrap_or_default();
                    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
                    let ips: Vec<String> =
                        std::iter::once(network.ip).chain(more).filter(|ip| !ip.is_empty()).collect();
                    self.known().addresses.insert(listed.id.clone(), ips.clone());
                    ips
                }
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) if is_about_one(&error) => {
                    warn!(sandbox = listed.id, "its addresses are not known: {error}");
                    Vec::new()
                }
                Err(error) => return Err(error),
            },
        };
        let attempt = listed.metadata.map_or(0, |metadata| metadata.attempt);
        let created = nanoseconds(listed.created_at);
        Ok(Some(Sandbox { id: listed.id, pod, attempt, created, ready, ips }))
    }

    async fn container(&self, listed: Container) -> Result<Option<Instance>, CriError> {
        let Some(pod) = identity(&listed.labels) else { return Ok(None) };
        let Some(name) = listed.labels.get(names::CONTAINER_NAME) else { return Ok(None) };
        let state = listed.state();
        if let Some((asked_in, known)) = self.known().containers.get(&listed.id)
            && *asked_in == state
        {
            return Ok(Some(known.clone()));
        }
        let status = match self.client.container_status(&listed.id).await {
            Ok(status) => status,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if is_about_one(&error) => {
                warn!(container = listed.id, "its status is not known: {error}");
                return Ok(Some(instance(&listed, pod, name, &as_listed(&listed))));
            }
            Err(error) => return Err(error),
        };
        // Between the two answers it may have gone on: the second is the newer one.
        let state = status.state();
        let instance = instance(&listed, pod, name, &status);
        self.known().containers.insert(listed.id.clone(), (state, instance.clone()));
        Ok(Some(instance))
    }
}

impl Runtime for Containerd {
    fn facts(&self) -> Facts {
        facts::gather(&self.paths.pods())
    }

    async fn health(&self) -> Result<Health, CriError> {
        let (version, conditions) = tokio::try_join!(self.client.version(), self.client.status())?;
        let broken = conditions.into_iter().find(|condition| !condition.status);
        let problem = broken.map(|condition| {
            let what = if condition.r#type == "NetworkReady" { "runtime network" } else { "runtime" };
            format!(
                "container {what} not ready: {}=false reason:{} message:{}",
                condition.r#type, condition.reason, condition.message
            )
        });
        Ok(Health {
            version: format!("{}://{}", version.runtime_name, plain(&version.runtime_version)),
            problem,
        })
    }

    async fn list(&self) -> Result<Listing, CriError> {
        let (sandboxes, containers) = tokio::try_join!(
            self.client.list_sandboxes(HashMap::new()),
            self.client.list_containers(HashMap::new())
        )?;
        {
            let mut known = self.known();
            known.addresses.retain(|id, _| sandboxes.iter().any(|sandbox| sandbox.id == *id));
            known.containers.retain(|id, _| containers.iter().any(|container| container.id == *id));
        }
        let sandboxes = futures::stream::iter(sandboxes)
            .map(|sandbox| self.sandbox(sandbox))
            .buffered(QUESTIONS)
            .try_filter_map(async |found| Ok(found))
            .try_collect();
        let containers = futures::stream::iter(containers)
            .map(|container| self.container(container))
            .buffered(QUESTIONS)
            .try_filter_map(async |found| Ok(found))
            .try_collect();
        let (sandboxes, containers) = tokio::try_join!(sandboxes, containers)?;
        Ok(Listing { sandboxes, containers })
    }

    async fn changed(&self) -> Result<(), CriError> {
        let mut events = self.events.lock().await;
        if events.is_none() {
            *events = Some(self.client.subscribe().await?);
            // Something may have happened before.
            return Ok(());
        }
        let Some(stream) = events.as_mut() else { return Ok(()) };
        match stream.next().await {
            Ok(_) => Ok(()),
            Err(error) => {
                *events = None;
                Err(error)
            }
        }
    }

    fn trust(&self) -> Duration {
        TRUST
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, CriError> {
        Ok(self.client.list_images().await?.into_iter().map(image_record).collect())
    }

    async fn image(&self, name: &str) -> Result<Option<ImageRecord>, CriError> {
        Ok(self.client.image_status(name).await?.map(image_record))
    }

    async fn pull(&self, name: &str, auth: Option<AuthConfig>) -> Result<(), CriError> {
        let _place = self.pulls.acquire().await.expect("the semaphore is never closed");
        self.client.pull_image(name, auth, None).await.map(drop)
    }

    async fn run_sandbox(&self, config: PodSandboxConfig) -> Result<(), CriError> {
        self.client.run_sandbox(config, "").await.map(drop)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.client.stop_sandbox(id).await
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.client.remove_sandbox(id).await
    }

    async fn create(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, CriError> {
        self.client.create_container(sandbox, config, sandbox_config).await
    }

    async fn start(&self, id: &str) -> Result<(), CriError> {
        self.client.start_container(id).await
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), CriError> {
        self.client.stop_container(id, grace).await
    }

    async fn remove(&self, id: &str) -> Result<(), CriError> {
        self.client.remove_container(id).await
    }

    async fn exec(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<Answer, CriError> {
        let shown = command.join(" ");
        match self.client.exec_sync(id, command, timeout).await {
            Ok(done) => {
                let mut output = [done.stdout, done.stderr].concat();
                output.truncate(OUTPUT_MAX);
                let output = String::from_utf8_lossy(&output).into_owned();
                Ok(Answer { passed: done.exit_code == 0, output })
            }
            Err(CriError::TimedOut(_)) => {
                Ok(Answer::failed(format!("command {shown:?} timed out after {timeout:?}")))
            }
            Err(error) => Err(error),
        }
    }

    async fn reach(&self, check: &Check, timeout: Duration) -> Answer {
        checks::reach(check, timeout).await
    }

    async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        self.client.reopen_log(id).await
    }

    async fn prepare_volumes(&self, pod: &PodIdentity, mut plan: Plan) -> Result<Option<Timestamp>, String> {
        let renew = self.tokens.fill(pod, &mut plan, Timestamp::now()).await?;
        on_disk(move || volumes::prepare(&plan)).await?;
        Ok(renew)
    }

    async fn prepare_start(&self, pod: &PodIdentity, start: &Start) -> Result<(), String> {
        let (paths, pod, start) = (self.paths.clone(), pod.clone(), start.clone());
        on_disk(move || disk::prepare_start(&paths, &pod, &start)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), String> {
        let (paths, name) = (self.paths.clone(), name.to_owned());
        on_disk(move || local_volume::remove(&paths, &name)).await
    }

    async fn discard(&self, pod: &PodIdentity) -> Result<(), String> {
        let (paths, pod) = (self.paths.clone(), pod.clone());
        on_disk(move || disk::discard(&paths, &pod)).await
    }

    fn folders(&self) -> Vec<PodIdentity> {
        disk::folders(&self.paths)
    }
}

/// Whether the runtime answers but cannot tell of this one: then the others are none the worse for it.
fn is_about_one(error: &CriError) -> bool {
    matches!(error, CriError::Refused { .. })
}

/// What the list alone tells of a container.
fn as_listed(listed: &Container) -> ContainerStatus {
    ContainerStatus {
        state: listed.state,
        created_at: listed.created_at,
        started_at: listed.created_at,
        finished_at: listed.created_at,
        exit_code: if listed.state() == ContainerState::ContainerExited { 255 } else { 0 },
        image: listed.image.clone(),
        image_ref: listed.image_ref.clone(),
        annotations: listed.annotations.clone(),
        ..Default::default()
    }
}

/// The disk may be slow; other pods do not wait for it.
async fn on_disk(work: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(format!("the work was cut short: {error}")),
    }
}

fn identity(labels: &HashMap<String, String>) -> Option<PodIdentity> {
    let label = |name: &str| labels.get(name).cloned();
    Some(PodIdentity {
        namespace: label(names::POD_NAMESPACE)?,
        name: label(names::POD_NAME)?,
        uid: label(names::POD_UID)?,
    })
}

fn instance(listed: &Container, pod: PodIdentity, name: &str, status: &ContainerStatus) -> Instance {
    let annotation = |name: &str| status.annotations.get(name).map_or("", String::as_str);
    let image = status.image.as_ref().or(listed.image.as_ref()).map(|image| image.image.clone());
    let state = match status.state() {
        ContainerState::ContainerCreated => State::Created,
        ContainerState::ContainerRunning => State::Running { started: nanoseconds(status.started_at) },
        ContainerState::ContainerExited => State::Exited(exit(status)),
        ContainerState::ContainerUnknown => State::Unknown,
    };
    Instance {
        id: listed.id.clone(),
        sandbox: listed.pod_sandbox_id.clone(),
        pod,
        name: name.to_owned(),
        attempt: annotation(names::RESTART_COUNT).parse().unwrap_or(0),
        created: nanoseconds(status.created_at),
        state,
        image: image.unwrap_or_default(),
        image_id: status.image_ref.clone(),
        hash: annotation(names::HASH).to_owned(),
        log_path: PathBuf::from(&status.log_path),
        grace_seconds: annotation(names::GRACE_PERIOD).parse().unwrap_or(30),
    }
}

fn exit(status: &ContainerStatus) -> Exit {
    let reason = match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    Exit {
        started: (status.started_at > 0).then(|| nanoseconds(status.started_at)),
        finished: nanoseconds(status.finished_at),
        code: status.exit_code,
        reason: reason.to_owned(),
        message: [status.message.clone(), last_words(status)]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
    }
}

/// What the container wrote into its termination file, or the end of its log when its spec says so.
fn last_words(status: &ContainerStatus) -> String {
    let annotation = |name: &str| status.annotations.get(name).map_or("", String::as_str);
    let path = annotation(names::TERMINATION_PATH);
    let file = status.mounts.iter().find(|mount| mount.container_path == path);
    let words = file.and_then(|file| disk::read_start(file.host_path.as_ref(), MESSAGE_MAX).ok());
    let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
    let may_use_log = annotation(names::TERMINATION_POLICY) == "FallbackToLogsOnError";
    if words.is_empty() && may_use_log && status.exit_code != 0 {
        return log_tail(&status.log_path);
    }
    words
}

fn log_tail(path: &str) -> String {
    // Each line carries its time, its stream and whether it is whole before its text.
    let raw = disk::read_end(path.as_ref(), LOG_TAIL_BYTES * 2).unwrap_or_default();
    let text = String::from_utf8_lossy(&raw).into_owned();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let lines = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
    let joined = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut cut = joined.len().saturating_sub(LOG_TAIL_BYTES as usize);
    while !joined.is_char_boundary(cut) {
        cut += 1;
    }
    joined[cut..].to_owned()
}

fn image_record(image: Image) -> ImageRecord {
    let mut names = image.repo_digests;
    names.extend(image.repo_tags);
    let user = ImageUser { uid: image.uid.map(|uid| uid.value), name: image.username };
    ImageRecord { image: LocalImage { id: image.id, user }, names, size: image.size }
}

fn nanoseconds(time: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Debian puts its own suffix after `~`, as in `1.6.20~ds1`.
fn plain(version: &str) -> &str {
    version.split('~').next().unwrap_or(version)
}
