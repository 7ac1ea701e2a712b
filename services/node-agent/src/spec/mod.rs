//! From a pod's spec to what the runtime and the file system are asked for. All of it is pure.
//!
//! ```text
//!  Pod ─┬─> sandbox    PodSandboxConfig: names, network, name servers
//!       ├─> container  ContainerConfig: command, environment (env, services, expand, fields), mounts, resources, security
//!       ├─> volumes    what each volume holds; claims: where the data of a claim lies
//!       └─> image      names, policy ── credentials ──> who pulls
//! ```

pub mod claims;
pub mod container;
pub mod credentials;
pub mod env;
pub mod expand;
pub mod fields;
pub mod hosts;
pub mod image;
pub mod names;
pub mod resources;
pub mod sandbox;
pub mod security;
pub mod services;
pub mod volumes;

#[cfg(test)]
pub mod fixture;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Secret, Service,
};

/// What a pod's spec refers to by name.
pub trait References {
    /// A config map of the pod's namespace.
    fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap>;
    /// A secret of the pod's namespace.
    fn secret(&self, namespace: &str, name: &str) -> Option<&Secret>;
    /// A claim of the pod's namespace.
    fn claim(&self, namespace: &str, name: &str) -> Option<&PersistentVolumeClaim>;
    /// A volume that a claim has.
    fn volume(&self, name: &str) -> Option<&PersistentVolume>;
    /// The Services of a namespace that have an address.
    fn services(&self, namespace: &str) -> Vec<&Service>;
}

/// What is known of a running pod beyond its spec.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Of the pod, the main one first.
    pub pod_ips: Vec<String>,
    /// Of the node, the main one first.
    pub host_ips: Vec<String>,
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("")
}

/// The pod's uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or("")
}

/// The pod's spec; a pod without one has no containers.
pub fn of(pod: &Pod) -> &PodSpec {
    static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&NONE)
}

/// The pod's init containers.
pub fn init_containers(pod: &Pod) -> &[Container] {
    of(pod).init_containers.as_deref().unwrap_or_default()
}

/// Init containers, then containers.
pub fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    init_containers(pod).iter().chain(&of(pod).containers)
}

/// Whether an init container goes on running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether the pod shares the node's network.
pub fn host_network(pod: &Pod) -> bool {
    of(pod).host_network == Some(true)
}

/// What a pod has to end in, in seconds.
pub fn grace_seconds(pod: &Pod) -> i64 {
    const DEFAULT: i64 = 30;
    pod.metadata
        .deletion_grace_period_seconds
        .or(of(pod).termination_grace_period_seconds)
        .unwrap_or(DEFAULT)
        .max(0)
}
