//! The calls, one method each, every one with a deadline.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::CriError;
use crate::events::events_client::EventsClient;
use crate::events::{Envelope, SubscribeRequest, TaskExit};
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::v1::*;

/// Calls that only look.
const LOOK: Duration = Duration::from_secs(10);
/// A subscription that is refused, or for which nobody is there, is answered at once.
const REFUSAL: Duration = Duration::from_millis(200);
/// Calls that make or remove something: the network plugin and the disk may be slow, a hung one must end.
const WORK: Duration = Duration::from_secs(240);
/// A pull that takes longer than this is stuck.
const PULL: Duration = Duration::from_secs(3600);
/// What a stop may take beyond the grace period.
const STOP_EXTRA: Duration = Duration::from_secs(60);
/// A list of 500 containers with all their labels is about a megabyte.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// A connection to a runtime. It is made by the first call, and again after it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    events: EventsClient<Channel>,
}

/// Says that something happened in the runtime; what it was, the lists tell.
pub struct Events {
    state: EventsState,
}

/// containerd answers a subscription with its first event, which may be long in coming.
enum EventsState {
    /// Asked for; it stands unless it was refused.
    Opening(Opening),
    /// Answered.
    Open(Box<Streaming<Envelope>>),
}

type Opening = Pin<Box<dyn Future<Output = Result<Response<Streaming<Envelope>>, Status>> + Send>>;

/// Everything that a list of sandboxes or containers is filtered by: labels that all must match.
pub type Labels = HashMap<String, String>;

#[derive(Clone)]
struct UnixConnector {
    socket: PathBuf,
}

// === impl Client ===

impl Client {
    /// A client of the runtime behind `socket`; nothing is connected yet.
    pub fn new(socket: &Path) -> Self {
        // The URI only fills the request's authority, which nobody reads.
        let channel = Endpoint::from_static("http://containerd")
            .connect_with_connector_lazy(UnixConnector { socket: socket.to_owned() });
        Client {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX),
            events: EventsClient::new(channel),
        }
    }

    /// The runtime's name and version.
    pub async fn version(&self) -> Result<VersionResponse, CriError> {
        let mut client = self.runtime.clone();
        call("Version", LOOK, client.version(VersionRequest::default())).await
    }

    /// Whether runtime and network are ready.
    pub async fn status(&self) -> Result<Vec<RuntimeCondition>, CriError> {
        let mut client = self.runtime.clone();
        let response = call("Status", LOOK, client.status(StatusRequest::default())).await?;
        Ok(response.status.unwrap_or_default().conditions)
    }

    /// Makes and starts a sandbox; returns its id.
    pub async fn run_sandbox(&self, config: PodSandboxConfig, handler: &str) -> Result<String, CriError> {
        let mut client = self.runtime.clone();
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(call("RunPodSandbox", WORK, client.run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    /// Kills what runs in a sandbox and gives its network back. May be repeated.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call("StopPodSandbox", WORK, client.stop_pod_sandbox(request)).await.map(drop)
    }

    /// Removes a sandbox with all its containers. May be repeated.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call("RemovePodSandbox", WORK, client.remove_pod_sandbox(request)).await.map(drop)
    }

    /// A sandbox with its addresses.
    pub async fn sandbox_status(&self, id: &str) -> Result<PodSandboxStatus, CriError> {
        let mut client = self.runtime.clone();
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let response = call("PodSandboxStatus", LOOK, client.pod_sandbox_status(request)).await?;
        response.status.ok_or_else(|| CriError::NotFound(format!("no status of sandbox {id}")))
    }

    /// What the runtime says of a sandbox besides its status: with containerd JSON under the key `info`.
    pub async fn sandbox_info(&self, id: &str) -> Result<HashMap<String, String>, CriError> {
        let mut client = self.runtime.clone();
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        Ok(call("PodSandboxStatus", LOOK, client.pod_sandbox_status(request)).await?.info)
    }

    /// Every sandbox that has these labels.
    pub async fn list_sandboxes(&self, labels: Labels) -> Result<Vec<PodSandbox>, CriError> {
        let mut client = self.runtime.clone();
        let filter = PodSandboxFilter { label_selector: labels, ..Default::default() };
        let request = ListPodSandboxRequest { filter: Some(filter) };
        Ok(call("ListPodSandbox", LOOK, client.list_pod_sandbox(request)).await?.items)
    }

    /// Makes a container in a sandbox; returns its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, CriError> {
        let mut client = self.runtime.clone();
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(call("CreateContainer", WORK, client.create_container(request)).await?.container_id)
    }

    /// Starts a container that was made.
    pub async fn start_container(&self, id: &str) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let request = StartContainerRequest { container_id: id.to_owned() };
        call("StartContainer", WORK, client.start_container(request)).await.map(drop)
    }

    /// Asks a container to end, and kills it after `grace`. Returns when it has ended. May be repeated.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let timeout = grace.as_secs() as i64;
        let request = StopContainerRequest { container_id: id.to_owned(), timeout };
        call("StopContainer", grace + STOP_EXTRA, client.stop_container(request)).await.map(drop)
    }

    /// Removes a container that has ended. May be repeated.
    pub async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let request = RemoveContainerRequest { container_id: id.to_owned() };
        call("RemoveContainer", WORK, client.remove_container(request)).await.map(drop)
    }

    /// A container with times, exit code and reason.
    pub async fn container_status(&self, id: &str) -> Result<ContainerStatus, CriError> {
        let mut client = self.runtime.clone();
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let response = call("ContainerStatus", LOOK, client.container_status(request)).await?;
        response.status.ok_or_else(|| CriError::NotFound(format!("no status of container {id}")))
    }

    /// Every container that has these labels.
    pub async fn list_containers(&self, labels: Labels) -> Result<Vec<Container>, CriError> {
        let mut client = self.runtime.clone();
        let filter = ContainerFilter { label_selector: labels, ..Default::default() };
        let request = ListContainersRequest { filter: Some(filter) };
        Ok(call("ListContainers", LOOK, client.list_containers(request)).await?.containers)
    }

    /// Makes the runtime open a container's log anew, after its file was moved away.
    pub async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        let mut client = self.runtime.clone();
        let request = ReopenContainerLogRequest { container_id: id.to_owned() };
        call("ReopenContainerLog", LOOK, client.reopen_container_log(request)).await.map(drop)
    }

    /// Runs a command in a container to its end and returns what it printed; killed after `timeout`.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Result<ExecSyncResponse, CriError> {
        let mut client = self.runtime.clone();
        let seconds = timeout.as_secs_f64().ceil() as i64;
        let request = ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: seconds };
        // The runtime ends the command by itself; the margin is for its answer.
        call("ExecSync", timeout + LOOK, client.exec_sync(request)).await
    }

    /// The URL on which the runtime streams a command's input and output.
    pub async fn exec(&self, request: ExecRequest) -> Result<String, CriError> {
        let mut client = self.runtime.clone();
        Ok(call("Exec", LOOK, client.exec(request)).await?.url)
    }

    /// The URL on which the runtime streams a container's own input and output.
    pub async fn attach(&self, request: AttachRequest) -> Result<String, CriError> {
        let mut client = self.runtime.clone();
        Ok(call("Attach", LOOK, client.attach(request)).await?.url)
    }

    /// The URL on which the runtime streams connections into a sandbox.
    pub async fn port_forward(&self, request: PortForwardRequest) -> Result<String, CriError> {
        let mut client = self.runtime.clone();
        Ok(call("PortForward", LOOK, client.port_forward(request)).await?.url)
    }

    /// Every image.
    pub async fn list_images(&self) -> Result<Vec<Image>, CriError> {
        let mut client = self.images.clone();
        let request = ListImagesRequest { filter: None };
        Ok(call("ListImages", LOOK, client.list_images(request)).await?.images)
    }

    /// The image of that name, if it is here.
    pub async fn image_status(&self, image: &str) -> Result<Option<Image>, CriError> {
        let mut client = self.images.clone();
        let request = ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
        match call("ImageStatus", LOOK, client.image_status(request)).await {
            Ok(response) => Ok(response.image),
            Err(CriError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches an image from its registry; returns the name by which containers refer to it.
    pub async fn pull_image(
        &self,
        image: &str,
        auth: Option<AuthConfig>,
        sandbox: Option<PodSandboxConfig>,
    ) -> Result<String, CriError> {
        let mut client = self.images.clone();
        let request = PullImageRequest { image: Some(image_spec(image)), auth, sandbox_config: sandbox };
        Ok(call("PullImage", PULL, client.pull_image(request)).await?.image_ref)
    }

    /// Hears of everything that happens to containers. Only containerd offers it, in every version.
    pub async fn subscribe(&self) -> Result<Events, CriError> {
        let mut client = self.events.clone();
        // A value with a slash must be quoted, or containerd refuses the filter.
        let filters =
            ["start", "exit", "oom"].map(|what| format!(r#"namespace==k8s.io,topic=="/tasks/{what}""#));
        let request = SubscribeRequest { filters: filters.to_vec() };
        let mut opening: Opening = Box::pin(async move { client.subscribe(request).await });
        let state = match tokio::time::timeout(REFUSAL, &mut opening).await {
            Ok(Ok(response)) => EventsState::Open(Box::new(response.into_inner())),
            Ok(Err(status)) => return Err(CriError::from_status("Subscribe", &status)),
            Err(_) => EventsState::Opening(opening),
        };
        Ok(Events { state })
    }
}

fn image_spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), ..Default::default() }
}

async fn call<T>(
    name: &'static str,
    patience: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CriError> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(CriError::from_status(name, &status)),
        Err(_) => Err(CriError::TimedOut(name)),
    }
}

// === impl Events ===

impl Events {
    /// Returns at the next event of a container; an error when the stream has ended.
    pub async fn next(&mut self) -> Result<(), CriError> {
        loop {
            let stream = match &mut self.state {
                EventsState::Open(stream) => stream,
                EventsState::Opening(opening) => match opening.await {
                    Ok(response) => {
                        self.state = EventsState::Open(Box::new(response.into_inner()));
                        continue;
                    }
                    Err(status) => return Err(CriError::from_status("Subscribe", &status)),
                },
            };
            match stream.message().await {
                Ok(Some(envelope)) if is_of_command(&envelope) => continue,
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err(CriError::Down("the event stream ended".to_owned())),
                Err(status) => return Err(CriError::from_status("Subscribe", &status)),
            }
        }
    }
}

/// Whether only a command in a container has ended, as those of probes do all the time.
fn is_of_command(envelope: &Envelope) -> bool {
    let Some(event) = envelope.event.as_ref().filter(|_| envelope.topic == "/tasks/exit") else {
        return false;
    };
    TaskExit::decode(event.value.as_slice()).is_ok_and(|exit| exit.id != exit.container_id)
}

// === impl UnixConnector ===

impl tower_service::Service<tonic::codegen::http::Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> Self::Future {
        let socket = self.socket.clone();
        Box::pin(async move { Ok(TokioIo::new(UnixStream::connect(socket).await?)) })
    }
}
