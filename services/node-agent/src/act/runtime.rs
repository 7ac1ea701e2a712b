//! What the agent needs of the machine that it runs on.

use std::future::Future;
use std::time::Duration;

use cri::CriError;
use cri::v1::{AuthConfig, ContainerConfig, PodSandboxConfig};
use jiff::Timestamp;

use crate::decide::action::{Check, Start};
use crate::node::facts::Facts;
use crate::observe::listing::{Listing, PodIdentity};
use crate::spec::container::LocalImage;
use crate::spec::image::Reference;
use crate::spec::volumes::Plan;

/// A machine that runs pods: containerd on Linux, or one that pretends. Clones are the same machine.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// What the machine is and has.
    fn facts(&self) -> Facts;

    /// How the runtime is.
    fn health(&self) -> impl Future<Output = Result<Health, CriError>> + Send;

    /// Every sandbox and container now.
    fn list(&self) -> impl Future<Output = Result<Listing, CriError>> + Send;

    /// Returns when something may have changed since the last call; an error when it cannot be told.
    fn changed(&self) -> impl Future<Output = Result<(), CriError>> + Send;

    /// How long to trust in [`Runtime::changed`] before looking all the same.
    fn trust(&self) -> Duration;

    /// Every image.
    fn images(&self) -> impl Future<Output = Result<Vec<ImageRecord>, CriError>> + Send;

    /// The image of that name, if it is here.
    fn image(&self, name: &str) -> impl Future<Output = Result<Option<ImageRecord>, CriError>> + Send;

    /// Fetches an image from its registry.
    fn pull(&self, name: &str, auth: Option<AuthConfig>)
    -> impl Future<Output = Result<(), CriError>> + Send;

    /// Makes and starts a sandbox.
    fn run_sandbox(&self, config: PodSandboxConfig) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Kills what is left in a sandbox and gives its network back. May be repeated.
    fn stop_sandbox(&self, id: &str) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Removes a sandbox and its containers. May be repeated.
    fn remove_sandbox(&self, id: &str) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Makes a container; returns its id.
    fn create(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> impl Future<Output = Result<String, CriError>> + Send;

    /// Starts a container that was made.
    fn start(&self, id: &str) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Asks a container to end, kills it after `grace`, and returns when it has ended. May be repeated.
    fn stop(&self, id: &str, grace: Duration) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Removes a container that has ended. May be repeated.
    fn remove(&self, id: &str) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Runs a command in a container to its end.
    fn exec(
        &self,
        id: &str,
        command: Vec<String>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, CriError>> + Send;

    /// Connects to a container as a hook or a probe does.
    fn reach(&self, check: &Check, timeout: Duration) -> impl Future<Output = Answer> + Send;

    /// Makes the runtime open a container's log anew.
    fn reopen_log(&self, id: &str) -> impl Future<Output = Result<(), CriError>> + Send;

    /// Makes a pod's volumes hold what the plan says. Returns when that must be done again, if something in them is
    /// over by then.
    fn prepare_volumes(
        &self,
        pod: &PodIdentity,
        plan: Plan,
    ) -> impl Future<Output = Result<Option<Timestamp>, String>> + Send;

    /// Makes the files that an instance mounts.
    fn prepare_start(
        &self,
        pod: &PodIdentity,
        start: &Start,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Removes the data of a PersistentVolume that lies on this machine. May be repeated.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send;

    /// Removes a pod's folders.
    fn discard(&self, pod: &PodIdentity) -> impl Future<Output = Result<(), String>> + Send;

    /// The uids of pods that have folders.
    fn folders(&self) -> Vec<PodIdentity>;
}

/// How the runtime is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `containerd://1.6.20`
    pub version: String,
    /// Why it cannot run pods, if it cannot.
    pub problem: Option<String>,
}

/// An image on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRecord {
    /// Its id and user.
    pub image: LocalImage,
    /// Its names.
    pub names: Vec<String>,
    /// Bytes.
    pub size: u64,
}

// === impl ImageRecord ===

impl ImageRecord {
    /// Whether the node has the image that is asked for from no registry. A pull records the digest under which the
    /// registry has it; an archive has only tags. The same content may have come under another name from elsewhere.
    pub fn is_from_archive(&self, reference: &Reference) -> bool {
        let pulled = format!("{}/{}@", reference.registry, reference.repository);
        !self.names.iter().any(|name| name.starts_with(&pulled))
    }
}

/// What came of a command or a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is a success.
    pub passed: bool,
    /// What it printed, or why it failed.
    pub output: String,
}

// === impl Answer ===

impl Answer {
    /// A success.
    pub fn passed(output: impl Into<String>) -> Self {
        Answer { passed: true, output: output.into() }
    }

    /// A failure.
    pub fn failed(why: impl Into<String>) -> Self {
        Answer { passed: false, output: why.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_from_an_archive_until_it_is_pulled_under_the_name_that_is_asked_for() {
        let record = |names: &[&str]| ImageRecord {
            image: LocalImage::default(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            size: 0,
        };
        let busybox = Reference::parse("busybox").expect("a name");
        assert!(record(&["docker.io/library/busybox:latest"]).is_from_archive(&busybox));
        assert!(
            record(&["docker.io/library/busybox:latest", "quay.io/team/box@sha256:0"])
                .is_from_archive(&busybox)
        );
        assert!(!record(&["docker.io/library/busybox@sha256:0"]).is_from_archive(&busybox));
    }
}
