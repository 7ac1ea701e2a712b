//! What runs on this node, for those who only look: exec, attach, logs and port-forward.
//!
//! The agent's loop holds the pen and publishes a pod whenever something of it changed; readers look up the newest.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

/// A clonable handle to the pods of this node.
#[derive(Clone, Debug)]
pub struct Pods {
    by_uid: Arc<RwLock<HashMap<String, Arc<PodRef>>>>,
    changes: Arc<watch::Sender<u64>>,
}

/// A pod as far as streams need to know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The runtime's id of its sandbox while that is ready.
    pub sandbox: Option<String>,
    /// Its address, if it has one.
    pub ip: Option<String>,
    /// Every container of its spec: init containers, containers.
    pub containers: Vec<ContainerSlot>,
}

/// A container of the spec with its instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSlot {
    /// Its name.
    pub name: String,
    /// Why there is no instance yet: `ContainerCreating`, `ImagePullBackOff`, …
    pub waiting: String,
    /// Its instances that are still known, newest first.
    pub instances: Vec<ContainerRef>,
}

/// An instance of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRef {
    /// The runtime's id.
    pub id: String,
    /// Where its output goes; older parts lie beside it as `<n>.log.<time>`.
    pub log_path: PathBuf,
    /// Whether it runs.
    pub running: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it has standard input.
    pub stdin: bool,
}

/// Why there is no such container, in the words that users of kubectl know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The pod is not on this node.
    #[error("the pod does not run on this node")]
    Pod,
    /// Its spec has no such container.
    #[error("container {container} is not valid for pod {pod}")]
    Container {
        /// The name that was asked for.
        container: String,
        /// The pod's name.
        pod: String,
    },
    /// No instance was started yet.
    #[error("container {container:?} in pod {pod:?} is waiting to start: {reason}")]
    Waiting {
        /// The container.
        container: String,
        /// The pod's name.
        pod: String,
        /// What it waits for.
        reason: String,
    },
    /// There is no instance before the present one.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    Previous {
        /// The container.
        container: String,
        /// The pod's name.
        pod: String,
    },
}

// === impl Pods ===

impl Default for Pods {
    fn default() -> Self {
        Pods { by_uid: Arc::default(), changes: Arc::new(watch::Sender::new(0)) }
    }
}

impl Pods {
    /// The pod with that uid.
    pub fn get(&self, uid: &str) -> Option<Arc<PodRef>> {
        self.by_uid.read().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// The newest instance of a container, or the one before it.
    pub fn container(&self, uid: &str, container: &str, previous: bool) -> Result<ContainerRef, Missing> {
        self.get(uid).ok_or(Missing::Pod)?.container(container, previous)
    }

    /// Changes whenever something of some pod does: a container that ended, for those who follow its log.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every running instance's id and log.
    pub fn running_logs(&self) -> Vec<(String, PathBuf)> {
        let by_uid = self.by_uid.read().unwrap_or_else(PoisonError::into_inner);
        let instances =
            by_uid.values().flat_map(|pod| pod.containers.iter().flat_map(|slot| &slot.instances));
        let running = instances.filter(|instance| instance.running);
        running.map(|instance| (instance.id.clone(), instance.log_path.clone())).collect()
    }

    /// Puts in what is new of a pod, or takes it out.
    pub(crate) fn publish(&self, uid: &str, pod: Option<PodRef>) {
        let mut by_uid = self.by_uid.write().unwrap_or_else(PoisonError::into_inner);
        let changed = match pod {
            Some(pod) if by_uid.get(uid).is_some_and(|known| **known == pod) => false,
            Some(pod) => {
                by_uid.insert(uid.to_owned(), Arc::new(pod));
                true
            }
            None => by_uid.remove(uid).is_some(),
        };
        drop(by_uid);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

// === impl PodRef ===

impl PodRef {
    fn container(&self, name: &str, previous: bool) -> Result<ContainerRef, Missing> {
        let (container, pod) = (name.to_owned(), self.name.clone());
        let Some(slot) = self.containers.iter().find(|slot| slot.name == name) else {
            return Err(Missing::Container { container, pod });
        };
        match (slot.instances.get(usize::from(previous)), previous) {
            (Some(instance), _) => Ok(instance.clone()),
            (None, true) => Err(Missing::Previous { container, pod }),
            (None, false) => Err(Missing::Waiting { container, pod, reason: slot.waiting.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, running: bool) -> ContainerRef {
        ContainerRef { id: id.to_owned(), log_path: PathBuf::from(id), running, tty: false, stdin: false }
    }

    fn pods() -> Pods {
        let slot = |name: &str, instances: Vec<ContainerRef>| ContainerSlot {
            name: name.to_owned(),
            waiting: "ContainerCreating".to_owned(),
            instances,
        };
        let containers = vec![
            slot("again", vec![instance("b", true), instance("a", false)]),
            slot("once", vec![instance("c", true)]),
            slot("never", vec![]),
        ];
        let pods = Pods::default();
        pods.publish("u1", Some(PodRef { name: "web".to_owned(), containers, ..Default::default() }));
        pods
    }

    #[test]
    fn previous_is_the_instance_before_the_newest() {
        let pods = pods();
        let id = |name: &str, previous| pods.container("u1", name, previous).map(|found| found.id);
        assert_eq!(id("again", false), Ok("b".to_owned()));
        assert_eq!(id("again", true), Ok("a".to_owned()));
        let text = |name: &str, previous| id(name, previous).unwrap_err().to_string();
        assert_eq!(text("once", true), "previous terminated container \"once\" in pod \"web\" not found");
        assert_eq!(
            text("never", false),
            "container \"never\" in pod \"web\" is waiting to start: ContainerCreating"
        );
        assert_eq!(text("other", false), "container other is not valid for pod web");
        assert_eq!(pods.container("u2", "again", false), Err(Missing::Pod));
    }

    #[test]
    fn publishing_the_same_again_wakes_nobody() {
        let pods = pods();
        let before = *pods.changes().borrow();
        let same = PodRef::clone(&pods.get("u1").unwrap());
        pods.publish("u1", Some(same));
        assert_eq!(*pods.changes().borrow(), before);
        pods.publish("u1", None);
        assert!(*pods.changes().borrow() > before);
    }
}
