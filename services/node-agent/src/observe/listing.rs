//! What the runtime holds, taken apart by pod.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Every sandbox of a pod.
    pub sandboxes: Vec<Sandbox>,
    /// Every container of a pod.
    pub containers: Vec<Instance>,
}

/// A pod's sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Of this pod.
    pub pod: PodIdentity,
    /// Counts the pod's sandboxes from 0.
    pub attempt: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it runs.
    pub ready: bool,
    /// Its addresses, the main one first; empty in the node's network.
    pub ips: Vec<String>,
}

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// One instance of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    /// In this sandbox.
    pub sandbox: String,
    /// Of this pod.
    pub pod: PodIdentity,
    /// The container's name in the pod's spec.
    pub name: String,
    /// Counts the container's instances from 0.
    pub attempt: u32,
    /// When it was made.
    pub created: Timestamp,
    /// What became of it.
    pub state: State,
    /// The image's name.
    pub image: String,
    /// The image itself.
    pub image_id: String,
    /// Of the spec that it was made from.
    pub hash: String,
    /// What it prints.
    pub log_path: PathBuf,
    /// What its pod has to end in, in seconds.
    pub grace_seconds: i64,
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Made and not started.
    Created,
    /// It runs.
    Running {
        /// Since.
        started: Timestamp,
    },
    /// It has ended.
    Exited(Exit),
    /// The runtime cannot tell.
    Unknown,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// When it began, unless it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: String,
    /// Its last words.
    pub message: String,
}

/// What the runtime holds of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedPod {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first, all containers mixed.
    pub instances: Vec<Instance>,
}

// === impl Listing ===

impl Listing {
    /// The same by the pods' uids.
    pub fn by_pod(self) -> BTreeMap<String, ObservedPod> {
        let mut pods: BTreeMap<String, ObservedPod> = BTreeMap::new();
        for sandbox in self.sandboxes {
            pods.entry(sandbox.pod.uid.clone()).or_default().sandboxes.push(sandbox);
        }
        for instance in self.containers {
            pods.entry(instance.pod.uid.clone()).or_default().instances.push(instance);
        }
        for pod in pods.values_mut() {
            pod.sandboxes.sort_by_key(|one| std::cmp::Reverse((one.attempt, one.created)));
            pod.instances.sort_by_key(|one| std::cmp::Reverse((one.attempt, one.created)));
        }
        pods
    }
}

// === impl ObservedPod ===

impl ObservedPod {
    /// The instances of one container, newest first.
    pub fn of<'a>(&'a self, container: &str) -> impl Iterator<Item = &'a Instance> {
        let container = container.to_owned();
        self.instances.iter().filter(move |instance| instance.name == container)
    }

    /// The newest instance of a container.
    pub fn newest(&self, container: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == container)
    }

    /// The sandbox that containers are started in, if there is one.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The pod that it all belongs to; `None` when there is nothing.
    pub fn identity(&self) -> Option<&PodIdentity> {
        let of_sandbox = self.sandboxes.first().map(|sandbox| &sandbox.pod);
        of_sandbox.or(self.instances.first().map(|instance| &instance.pod))
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.instances.is_empty()
    }
}

// === impl State ===

impl State {
    /// Whether a process may still be there.
    pub fn is_live(&self) -> bool {
        matches!(self, State::Running { .. } | State::Unknown)
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            State::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}
