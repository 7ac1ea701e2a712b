//! What is to be done, with no choice left in it.

use std::path::PathBuf;

use cri::v1::{AuthConfig, PodSandboxConfig};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::spec::container::Blueprint;
use crate::spec::image::PullPolicy;
use crate::spec::volumes::Plan;

/// One deed for one pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Makes the volumes hold what the plan says.
    PrepareVolumes(Plan),
    /// Makes and starts a sandbox.
    RunSandbox(Box<PodSandboxConfig>),
    /// Kills what is left in a sandbox and gives its network back.
    StopSandbox(String),
    /// Removes a stopped sandbox and its containers.
    RemoveSandbox(String),
    /// Makes sure that the node has a container's image.
    EnsureImage {
        /// For this container.
        container: String,
        /// Its place in the spec, for events.
        field_path: String,
        /// The image.
        image: String,
        /// Whether to fetch it.
        policy: PullPolicy,
        /// As whom, to be tried in this order; nobody when empty.
        credentials: Vec<AuthConfig>,
    },
    /// Makes and starts an instance of a container.
    Start(Box<Start>),
    /// Ends an instance.
    Kill(Kill),
    /// Removes an instance that has ended, with its log.
    RemoveInstance {
        /// The runtime's id.
        id: String,
        /// Its log.
        log: PathBuf,
    },
    /// Removes the pod's folders: nothing of it is left after this.
    Discard,
}

/// What an action works on: two actions for the same slot are never under way together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The volumes.
    Volumes,
    /// The sandbox that is being made.
    Sandbox,
    /// A sandbox that is being stopped or removed.
    OldSandbox(String),
    /// A container's image.
    Image(String),
    /// A container that is being started.
    Container(String),
    /// An instance that is being ended or removed.
    Instance(String),
    /// The pod's folders.
    Folders,
}

/// A start.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The container's name.
    pub container: String,
    /// In this sandbox.
    pub sandbox: String,
    /// What that sandbox was made from.
    pub sandbox_config: PodSandboxConfig,
    /// What it is to be.
    pub blueprint: Blueprint,
    /// The pod's `/etc/hosts`: where and what.
    pub hosts: (PathBuf, String),
    /// What is done right after the start; the container counts as started only then.
    pub post_start: Option<Check>,
}

/// An end.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// The runtime's id.
    pub id: String,
    /// The container's place in the spec, for events.
    pub field_path: String,
    /// Seconds until it is killed.
    pub grace_seconds: i64,
    /// What is done before it is asked to end; takes its time from the grace period.
    pub pre_stop: Option<Check>,
}

/// Something to try in or at a container: a lifecycle hook or a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Run this.
    Exec(Vec<String>),
    /// Ask this.
    Http {
        /// Over TLS, whose certificate is not checked.
        tls: bool,
        /// Whom.
        host: String,
        /// Where.
        port: u16,
        /// What.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// Connect to this.
    Tcp {
        /// Whom.
        host: String,
        /// Where.
        port: u16,
    },
    /// Ask the gRPC health service.
    Grpc {
        /// Whom.
        host: String,
        /// Where.
        port: u16,
        /// The service's name, empty for the server as a whole.
        service: String,
    },
    /// Wait for so many seconds.
    Sleep(i64),
}

/// An event about a pod or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// The container's place in the spec, as `spec.containers{main}`; empty for the pod.
    pub field_path: String,
    /// How bad it is.
    pub severity: Severity,
    /// `Started`, `BackOff`, …
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody may have to act.
    Warning,
}

// === impl Action ===

impl Action {
    /// What it works on.
    pub fn slot(&self) -> Slot {
        match self {
            Action::PrepareVolumes(_) => Slot::Volumes,
            Action::RunSandbox(_) => Slot::Sandbox,
            Action::StopSandbox(id) | Action::RemoveSandbox(id) => Slot::OldSandbox(id.clone()),
            Action::EnsureImage { container, .. } => Slot::Image(container.clone()),
            Action::Start(start) => Slot::Container(start.container.clone()),
            Action::Kill(kill) => Slot::Instance(kill.id.clone()),
            Action::RemoveInstance { id, .. } => Slot::Instance(id.clone()),
            Action::Discard => Slot::Folders,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Action::PrepareVolumes(_) => "prepare_volumes",
            Action::RunSandbox(_) => "run_podsandbox",
            Action::StopSandbox(_) => "stop_podsandbox",
            Action::RemoveSandbox(_) => "remove_podsandbox",
            Action::EnsureImage { .. } => "pull_image",
            Action::Start(_) => "start_container",
            Action::Kill(_) => "stop_container",
            Action::RemoveInstance { .. } => "remove_container",
            Action::Discard => "discard",
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Whether the runtime's lists differ after an action there.
    pub fn is_of_runtime(&self) -> bool {
        !matches!(self, Slot::Volumes | Slot::Image(_) | Slot::Folders)
    }
}

// === impl Note ===

impl Note {
    /// About the pod.
    pub fn pod(severity: Severity, reason: &'static str, message: impl Into<String>) -> Self {
        Note { field_path: String::new(), severity, reason, message: message.into() }
    }

    /// About a container, by its place in the spec.
    pub fn container(
        field_path: String,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Note { field_path, severity, reason, message: message.into() }
    }
}

// === impl Check ===

impl Check {
    /// A lifecycle hook of a container in a pod at `ip`. `None` for one that says nothing.
    pub fn hook(handler: &LifecycleHandler, container: &Container, ip: &str) -> Option<Check> {
        if let Some(exec) = &handler.exec {
            return Some(Check::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(http) = &handler.http_get {
            return Check::http(http, container, ip);
        }
        if let Some(tcp) = &handler.tcp_socket {
            let host = tcp.host.clone().unwrap_or_else(|| ip.to_owned());
            return Some(Check::Tcp { host, port: port(&tcp.port, container)? });
        }
        handler.sleep.as_ref().map(|sleep| Check::Sleep(sleep.seconds))
    }

    /// An HTTP request to a container. `None` when it names a port that the container does not have.
    pub fn http(action: &HTTPGetAction, container: &Container, ip: &str) -> Option<Check> {
        let headers = action.http_headers.iter().flatten();
        Some(Check::Http {
            tls: action.scheme.as_deref() == Some("HTTPS"),
            host: action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_owned()),
            port: port(&action.port, container)?,
            path: action.path.clone().unwrap_or_default(),
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
        })
    }
}

/// A port by number, or by its name among the container's.
pub fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.into_iter().find(|port| port.name.as_deref() == Some(name.as_str()));
            u16::try_from(named?.container_port).ok()
        }
    }
}
