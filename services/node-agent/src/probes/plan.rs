//! Which probes are to run now. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};

use crate::decide::action::{Check, port};
use crate::decide::memory::Memory;
use crate::observe::listing::{ObservedPod, PodIdentity, State};
use crate::settings::Settings;
use crate::spec::{all_containers, init_containers, is_sidecar, name, namespace, uid};

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Holds back the other two until it succeeds.
    Startup,
    /// Restarts the container when it fails.
    Liveness,
    /// Takes the pod out of service while it fails.
    Readiness,
}

/// One probe of one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePlan {
    /// The pod.
    pub pod: PodIdentity,
    /// The container.
    pub container: String,
    /// Its place in the spec, for events.
    pub field_path: String,
    /// The instance.
    pub instance: String,
    /// Which probe.
    pub kind: ProbeKind,
    /// What to try; `None` when the spec names a port that is not there, which fails every time.
    pub check: Option<Check>,
    /// Before the first.
    pub initial_delay: Duration,
    /// Between two.
    pub period: Duration,
    /// For one.
    pub timeout: Duration,
    /// Successes in a row that count.
    pub success_threshold: u32,
    /// Failures in a row that count.
    pub failure_threshold: u32,
}

/// The probes of a pod's running instances: the startup probe alone until it has succeeded, then the others.
pub fn plans(pod: &Pod, observed: &ObservedPod, memory: &Memory, settings: &Settings) -> Vec<ProbePlan> {
    let ip = memory.addresses(pod, settings).pod_ips.into_iter().next().unwrap_or_default();
    let probed = all_containers(pod).filter(|container| {
        !init_containers(pod).iter().any(|init| init.name == container.name) || is_sidecar(container)
    });
    probed.flat_map(|container| of_container(pod, container, observed, memory, &ip)).collect()
}

fn of_container(
    pod: &Pod,
    container: &Container,
    observed: &ObservedPod,
    memory: &Memory,
    ip: &str,
) -> Vec<ProbePlan> {
    let newest = observed.newest(&container.name);
    let Some(instance) = newest.filter(|newest| matches!(newest.state, State::Running { .. })) else {
        return Vec::new();
    };
    let known = memory.probes(&container.name, &instance.id);
    if known.is_some_and(|known| known.failed.is_some()) {
        return Vec::new();
    }
    let is_started = known.is_some_and(|known| known.started);
    let due: &[(ProbeKind, &Option<Probe>)] = match &container.startup_probe {
        Some(_) if !is_started => &[(ProbeKind::Startup, &container.startup_probe)],
        _ => &[
            (ProbeKind::Liveness, &container.liveness_probe),
            (ProbeKind::Readiness, &container.readiness_probe),
        ],
    };
    let plan = |(kind, probe): &(ProbeKind, &Option<Probe>)| {
        let probe = probe.as_ref()?;
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
        };
        Some(ProbePlan {
            pod: PodIdentity {
                namespace: namespace(pod).to_owned(),
                name: name(pod).to_owned(),
                uid: uid(pod).to_owned(),
            },
            container: container.name.clone(),
            field_path: crate::decide::containers::field_path(pod, &container.name),
            instance: instance.id.clone(),
            kind: *kind,
            check: check(probe, container, ip),
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        })
    };
    due.iter().filter_map(plan).collect()
}

fn check(probe: &Probe, container: &Container, ip: &str) -> Option<Check> {
    if let Some(exec) = &probe.exec {
        return Some(Check::Exec(exec.command.clone().unwrap_or_default()));
    }
    if let Some(http) = &probe.http_get {
        return Check::http(http, container, ip);
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_owned());
        return Some(Check::Tcp { host, port: port(&tcp.port, container)? });
    }
    let grpc = probe.grpc.as_ref()?;
    Some(Check::Grpc {
        host: ip.to_owned(),
        port: u16::try_from(grpc.port).ok()?,
        service: grpc.service.clone().unwrap_or_default(),
    })
}

// === impl ProbeKind ===

impl ProbeKind {
    /// In events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
        }
    }
}
