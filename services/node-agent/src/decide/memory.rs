//! What was tried for a pod, and what came of it: everything that neither the API nor the runtime remembers.
//! Lost when the agent restarts, and made anew from what is there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::action::{Action, Note, Slot};
use super::backoff::{CrashLoop, Failure};
use crate::observe::listing::ObservedPod;
use crate::settings::Settings;
use crate::spec::container::LocalImage;
use crate::spec::{Addresses, References, host_network};

/// What the agent knows of a pod by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// When the agent first saw the pod: `status.startTime`.
    pub since: Timestamp,
    /// Goes up when the pod's spec or something that it refers to changes.
    pub version: u64,
    /// The volumes.
    pub volumes: Volumes,
    /// Containers by name.
    pub containers: BTreeMap<String, ContainerMemory>,
    /// What is being done, with the time until which it may take where that is known.
    pub under_way: BTreeMap<Slot, Option<Timestamp>>,
    /// What failed last.
    pub failures: BTreeMap<Slot, Failure>,
    /// Sandboxes that were stopped, with their networks given back.
    pub stopped: BTreeSet<String>,
    /// The pod's addresses as last seen.
    pub ips: Vec<String>,
    /// Why the pod is over though its containers may not be.
    pub ended: Option<Ended>,
    /// The status at the moment when nothing ran any more; what is removed later does not change it.
    pub last_words: Option<Box<PodStatus>>,
    /// Nothing of the pod is left on the node.
    pub discarded: bool,
}

/// How far the volumes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volumes {
    /// The [`Memory::version`] that was last planned for.
    pub planned: Option<u64>,
    /// The digest of the plan that is being carried out.
    pub pending: Option<u64>,
    /// The digest of the plan that the volumes hold.
    pub ready: Option<u64>,
    /// When they must be prepared again, as something in them is over by then.
    pub renew: Option<Timestamp>,
    /// PersistentVolumes that the pod's claims led to.
    pub persistent: BTreeSet<String>,
}

/// What the agent knows of a container by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerMemory {
    /// The image, once it is here; used up by the next start.
    pub image: Option<LocalImage>,
    /// Its restarts.
    pub crashes: CrashLoop,
    /// The instance whose wait was told in an event.
    pub told_waiting: String,
    /// What its probes say.
    pub probes: Probes,
}

/// What the probes of one instance say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    /// The instance; what is said of an older one counts for nothing.
    pub instance: String,
    /// The startup probe has succeeded.
    pub started: bool,
    /// The readiness probe succeeds.
    pub ready: bool,
    /// The startup or the liveness probe has failed for good.
    pub failed: Option<&'static str>,
}

/// Why a pod is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `status.reason`
    pub reason: String,
    /// `status.message`
    pub message: String,
}

/// What a decision is made from.
pub struct View<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// The API has it no more.
    pub removed: bool,
    /// What the runtime holds of it.
    pub observed: &'a ObservedPod,
    /// What it refers to.
    pub references: &'a dyn References,
    /// The node.
    pub settings: &'a Settings,
    /// Now.
    pub now: Timestamp,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What to do, each with why.
    pub actions: Vec<(Action, &'static str)>,
    /// What to tell in events.
    pub notes: Vec<Note>,
    /// When to decide again though nothing happened.
    pub wake: Option<Timestamp>,
}

// === impl Memory ===

impl Memory {
    /// Of a pod that is new to the agent.
    pub fn new(now: Timestamp) -> Self {
        Memory {
            since: now,
            version: 0,
            volumes: Volumes::default(),
            containers: BTreeMap::new(),
            under_way: BTreeMap::new(),
            failures: BTreeMap::new(),
            stopped: BTreeSet::new(),
            ips: Vec::new(),
            ended: None,
            last_words: None,
            discarded: false,
        }
    }

    /// Takes over what an earlier run of the agent told the API, so that a running pod does not fall out of ready.
    pub fn remember(&mut self, pod: &Pod) {
        let Some(status) = &pod.status else { return };
        if let Some(since) = &status.start_time {
            self.since = since.0;
        }
        self.ips = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
        for known in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            let Some(instance) = known.container_id.as_deref().and_then(|id| id.split("://").nth(1)) else {
                continue;
            };
            self.container(&known.name).probes = Probes {
                instance: instance.to_owned(),
                started: known.started == Some(true),
                ready: known.ready,
                failed: None,
            };
        }
    }

    /// What is known of a container.
    pub fn container(&mut self, name: &str) -> &mut ContainerMemory {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Whether some container is being started.
    pub fn starting(&self) -> bool {
        self.under_way.keys().any(|slot| matches!(slot, Slot::Container(_)))
    }

    /// Whether something is being done there, or must wait after a failure; then the decision says until when.
    pub fn held(&self, slot: &Slot, now: Timestamp, decision: &mut Decision) -> bool {
        if self.under_way.contains_key(slot) {
            return true;
        }
        match self.failures.get(slot).filter(|failure| failure.version == self.version) {
            Some(failure) if now < failure.again() => {
                decision.wake_at(failure.again());
                true
            }
            _ => false,
        }
    }

    /// Remembers that something failed; the wait begins with `first` and doubles.
    pub fn failed(
        &mut self,
        slot: Slot,
        reason: &'static str,
        message: String,
        now: Timestamp,
        first: SignedDuration,
    ) {
        let failure = match self.failures.get(&slot) {
            Some(before) => Failure::after(Some(before), reason, message, now, self.version),
            None => Failure { delay: first, ..Failure::after(None, reason, message, now, self.version) },
        };
        self.failures.insert(slot, failure);
    }

    /// Whether an instance has passed its startup probe.
    pub fn has_started(&self, container: &str, instance: &str) -> bool {
        self.probes(container, instance).is_some_and(|probes| probes.started)
    }

    /// Whether an instance passes its readiness probe.
    pub fn is_ready(&self, container: &str, instance: &str) -> bool {
        self.probes(container, instance).is_some_and(|probes| probes.ready)
    }

    /// What the probes say of that very instance.
    pub fn probes(&self, container: &str, instance: &str) -> Option<&Probes> {
        self.containers.get(container).map(|known| &known.probes).filter(|probes| probes.instance == instance)
    }

    /// The pod's and the node's addresses.
    pub fn addresses(&self, pod: &Pod, settings: &Settings) -> Addresses {
        let pod_ips = if host_network(pod) { settings.node_ips.clone() } else { self.ips.clone() };
        Addresses { pod_ips, host_ips: settings.node_ips.clone() }
    }
}

// === impl Decision ===

impl Decision {
    /// Plans an action and marks its slot.
    pub fn act(&mut self, memory: &mut Memory, action: Action, why: &'static str) {
        memory.under_way.insert(action.slot(), None);
        self.actions.push((action, why));
    }

    /// Asks for another decision at `time` at the latest.
    pub fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }
}
