//! All pods of the node: inputs are taken in, then those pods that they concern are decided upon.
//!
//! A pod is only decided upon from a list that was begun after the last deed for it had ended; otherwise a container
//! that was just started would look missing and be started twice. `epoch` counts those deeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bus::node::{PodReport, VolumeReport, Wanted as Change};
use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::action::{Action, Note};
use super::memory::{Memory, Probes, View};
use super::outcome::{Outcome, learn};
use super::removals::Removals;
use super::{conditions, pod, status};
use crate::observe::listing::{Listing, ObservedPod, PodIdentity, State};
use crate::observe::wanted::{Changed, Wanted};
use crate::pods::{ContainerRef, ContainerSlot, PodRef};
use crate::probes::plan::{ProbeKind, ProbePlan, plans};
use crate::settings::Settings;
use crate::spec::{all_containers, name, namespace, uid};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// All that is wanted, in place of what was wanted before.
    Snapshot(Vec<Change>),
    /// What has changed of it.
    Changes(Vec<Change>),
    /// What the runtime holds, as of this epoch.
    Listing(Listing, u64),
    /// Pods that have folders, as an earlier run of the agent left them.
    Folders(Vec<PodIdentity>),
    /// The runtime does not answer.
    RuntimeDown,
    /// An action of this pod has ended.
    Ended(String, Outcome),
    /// A probe has come to a verdict.
    Probed(ProbeVerdict),
    /// The removal of the volume with this uid has come to its end, well or not.
    VolumeRemoved(String, bool),
    /// Time has passed.
    Tick,
}

/// What a probe says of an instance, once its thresholds are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeVerdict {
    /// The pod's uid.
    pub uid: String,
    /// The container.
    pub container: String,
    /// The instance.
    pub instance: String,
    /// Which probe.
    pub kind: ProbeKind,
    /// Whether it succeeds.
    pub passed: bool,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be done, each for its pod.
    pub actions: Vec<(PodIdentity, Action)>,
    /// To be reported.
    pub reports: Vec<PodReport>,
    /// To be told in events.
    pub notes: Vec<(PodIdentity, Note)>,
    /// For readers: new forms of pods by uid, `None` for those that are gone.
    pub published: Vec<(String, Option<PodRef>)>,
    /// Volumes to be removed, each then to be reported.
    pub removals: Vec<VolumeReport>,
    /// The probes that are to run for a pod from now on.
    pub probes: Vec<(String, Vec<ProbePlan>)>,
    /// When to tick at the latest.
    pub wake: Option<Timestamp>,
    /// Something is changing: look at the runtime again soon.
    pub is_busy: bool,
}

/// The state of the whole node.
pub struct Core {
    settings: Settings,
    wanted: Wanted,
    pods: BTreeMap<String, Entry>,
    dirty: BTreeSet<String>,
    notes: Vec<(PodIdentity, Note)>,
    removals: Removals,
    is_attached: bool,
    is_down: bool,
    /// Deeds that changed the runtime.
    epoch: u64,
    /// The epoch of the newest list; `None` before the first.
    listed: Option<u64>,
}

/// One pod.
struct Entry {
    identity: PodIdentity,
    pod: Arc<Pod>,
    api: Api,
    observed: ObservedPod,
    needs_epoch: u64,
    seen_epoch: u64,
    memory: Memory,
    /// What was last reported, `None` to compare with what the API has.
    reported: Option<PodStatus>,
    is_gone_reported: bool,
    published: Option<PodRef>,
    probes: Vec<ProbePlan>,
    wake: Option<Timestamp>,
}

/// What the API says of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    /// Not known yet: nothing was heard of the API since the agent started.
    Unknown,
    /// It has it.
    Present,
    /// It does not have it.
    Gone,
}

// === impl Core ===

impl Core {
    /// Of a node about which nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        Core {
            settings,
            wanted: Wanted::default(),
            pods: BTreeMap::new(),
            dirty: BTreeSet::new(),
            notes: Vec::new(),
            removals: Removals::default(),
            is_attached: false,
            is_down: false,
            epoch: 0,
            listed: None,
        }
    }

    /// Deeds that changed the runtime so far: a list is as new as this when it is begun.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Pods and instances that run now.
    pub fn running(&self) -> (usize, usize) {
        let instances = self.pods.values().flat_map(|entry| &entry.observed.instances);
        let live = instances.filter(|instance| instance.state.is_live()).count();
        (self.pods.values().filter(|entry| entry.observed.ready_sandbox().is_some()).count(), live)
    }

    /// Takes an input in.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Snapshot(objects) => self.snapshot(objects, now),
            Input::Changes(changes) => {
                for change in changes {
                    self.change(change, now);
                }
            }
            Input::Listing(listing, epoch) => self.listing(listing, epoch, now),
            Input::Folders(pods) => self.folders(pods, now),
            Input::RuntimeDown => self.is_down = true,
            Input::Ended(uid, outcome) => self.ended(&uid, outcome, now),
            Input::Probed(verdict) => self.probed(verdict),
            Input::VolumeRemoved(uid, is_done) => self.removals.ended(&uid, is_done, now),
            Input::Tick => (),
        }
    }

    /// Decides upon every pod that something happened to, or whose time has come.
    pub fn settle(&mut self, now: Timestamp) -> Effects {
        let due = self.pods.iter().filter(|(_, entry)| entry.wake.is_some_and(|wake| wake <= now));
        let mut todo: BTreeSet<String> = due.map(|(uid, _)| uid.clone()).collect();
        todo.append(&mut self.dirty);
        let mut effects = Effects { notes: std::mem::take(&mut self.notes), ..Default::default() };
        for uid in todo {
            self.settle_one(&uid, now, &mut effects);
        }
        // A pod that the API has no more may still be winding down on what it mounted.
        let used = self.pods.values().flat_map(|entry| &entry.memory.volumes.persistent);
        let used: BTreeSet<&str> = used.map(String::as_str).collect();
        let node = &self.settings.node_name;
        let (removals, again) = self.removals.due(self.wanted.volumes(), &used, node, now);
        effects.removals = removals;
        effects.wake = self.pods.values().filter_map(|entry| entry.wake).chain(again).min();
        effects.is_busy = self.pods.values().any(|entry| !entry.memory.under_way.is_empty());
        effects
    }

    fn settle_one(&mut self, uid: &str, now: Timestamp, effects: &mut Effects) {
        let may_act = !self.is_down && self.listed.is_some() && self.is_attached;
        let Some(entry) = self.pods.get_mut(uid) else { return };
        if may_act && entry.api != Api::Unknown && entry.seen_epoch >= entry.needs_epoch {
            let view = entry.parts(&self.wanted, &self.settings, now);
            let decision = pod::decide(&view.0, view.1);
            entry.wake = decision.wake;
            let identity = &entry.identity;
            effects.notes.extend(decision.notes.into_iter().map(|note| (identity.clone(), note)));
            for (action, why) in decision.actions {
                tracing::debug!(pod = %entry.identity.name, action = action.name(), why, "planned");
                effects.actions.push((entry.identity.clone(), action));
            }
        } else {
            // What is missing comes as an input.
            entry.wake = None;
        }
        // Before the first list nothing is known of what runs, and a status would deny it.
        let status = (self.listed.is_some() && entry.api == Api::Present).then(|| {
            let view = entry.parts(&self.wanted, &self.settings, now);
            let mut status = status::now(&view.0, view.1);
            if let Some(said) = &entry.reported {
                conditions::keep_times(&mut status, said);
            }
            status
        });
        if let Some(status) = &status {
            effects.reports.extend(entry.report(status));
        }
        let probes = entry.probe_plans(&self.settings);
        if probes != entry.probes {
            entry.probes.clone_from(&probes);
            effects.probes.push((uid.to_owned(), probes));
        }
        if entry.api == Api::Gone && entry.memory.discarded {
            self.pods.remove(uid);
            effects.published.push((uid.to_owned(), None));
            return;
        }
        let published = entry.to_ref(status.as_ref());
        if entry.published.as_ref() != Some(&published) {
            entry.published = Some(published.clone());
            effects.published.push((uid.to_owned(), Some(published)));
        }
    }

    fn snapshot(&mut self, objects: Vec<Change>, now: Timestamp) {
        self.wanted = Wanted::from_snapshot(objects);
        self.is_attached = true;
        self.removals.forget_told();
        let pods: Vec<Arc<Pod>> = self.wanted.pods().cloned().collect();
        let uids: BTreeSet<&str> = pods.iter().map(|pod| uid(pod)).collect();
        for (uid, entry) in &mut self.pods {
            if !uids.contains(uid.as_str()) {
                entry.api = Api::Gone;
            }
            entry.reported = None;
            entry.is_gone_reported = false;
            entry.memory.version += 1;
            self.dirty.insert(uid.clone());
        }
        for pod in &pods {
            self.upsert(pod, now);
        }
    }

    fn change(&mut self, change: Change, now: Timestamp) {
        match self.wanted.apply(change) {
            Changed::Pod(key) => match self.wanted.pod(&key).cloned() {
                Some(pod) => {
                    self.forget(key.namespace(), key.name(), Some(uid(&pod)));
                    self.upsert(&pod, now);
                }
                None => self.forget(key.namespace(), key.name(), None),
            },
            Changed::Reference { namespace } => {
                for (uid, entry) in &mut self.pods {
                    if entry.identity.namespace == namespace {
                        entry.memory.version += 1;
                        self.dirty.insert(uid.clone());
                    }
                }
            }
            Changed::Volume => {
                for (uid, entry) in &mut self.pods {
                    entry.memory.version += 1;
                    self.dirty.insert(uid.clone());
                }
            }
            Changed::Nothing => (),
        }
    }

    fn upsert(&mut self, pod: &Arc<Pod>, now: Timestamp) {
        let uid = uid(pod);
        let listed = self.listed.unwrap_or(0);
        let entry =
            self.pods.entry(uid.to_owned()).or_insert_with(|| Entry::new(pod, Api::Unknown, now, listed));
        if entry.api == Api::Unknown {
            entry.memory.remember(pod);
        }
        if differs(&entry.pod, pod) {
            entry.memory.version += 1;
        }
        entry.pod = Arc::clone(pod);
        entry.identity = identity(pod);
        entry.api = Api::Present;
        self.dirty.insert(uid.to_owned());
    }

    /// The API no longer has the pods of that name, but for the one with uid `kept`.
    fn forget(&mut self, namespace: &str, name: &str, kept: Option<&str>) {
        for (uid, entry) in &mut self.pods {
            let is_it = entry.identity.namespace == namespace && entry.identity.name == name;
            if is_it && Some(uid.as_str()) != kept && entry.api == Api::Present {
                entry.api = Api::Gone;
                self.dirty.insert(uid.clone());
            }
        }
    }

    fn listing(&mut self, listing: Listing, epoch: u64, now: Timestamp) {
        let was_down = std::mem::take(&mut self.is_down);
        let is_first = self.listed.replace(epoch).is_none();
        let mut listed = listing.by_pod();
        for entry in self.pods.values_mut() {
            let observed = listed.remove(&entry.identity.uid).unwrap_or_default();
            let has_waited = entry.seen_epoch < entry.needs_epoch;
            if epoch < entry.needs_epoch {
                continue;
            }
            entry.seen_epoch = epoch;
            if entry.observed != observed || has_waited || was_down || is_first {
                entry.observed = observed;
                self.dirty.insert(entry.identity.uid.clone());
            }
        }
        for observed in listed.into_values() {
            if let Some(identity) = observed.identity().cloned() {
                self.adopt(&identity, observed, now, epoch);
            }
        }
    }

    fn folders(&mut self, pods: Vec<PodIdentity>, now: Timestamp) {
        for identity in pods {
            if !self.pods.contains_key(&identity.uid) {
                self.adopt(&identity, ObservedPod::default(), now, 0);
            }
        }
    }

    /// Takes up a pod that is known only from what is left of it.
    fn adopt(&mut self, identity: &PodIdentity, observed: ObservedPod, now: Timestamp, epoch: u64) {
        let api = if self.is_attached { Api::Gone } else { Api::Unknown };
        let mut entry = Entry::new(&Arc::new(stand_in(identity, &observed)), api, now, epoch);
        entry.identity = identity.clone();
        entry.observed = observed;
        self.dirty.insert(identity.uid.clone());
        self.pods.insert(identity.uid.clone(), entry);
    }

    fn ended(&mut self, uid: &str, outcome: Outcome, now: Timestamp) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        if matches!(outcome, Outcome::Unknown(_)) {
            self.is_down = true;
        }
        if outcome.slot().is_of_runtime() {
            self.epoch += 1;
            entry.needs_epoch = self.epoch;
        }
        let notes = learn(outcome, &entry.pod, &mut entry.memory, now);
        self.notes.extend(notes.into_iter().map(|note| (entry.identity.clone(), note)));
        self.dirty.insert(uid.to_owned());
    }

    fn probed(&mut self, verdict: ProbeVerdict) {
        let Some(entry) = self.pods.get_mut(&verdict.uid) else { return };
        let newest = entry.observed.newest(&verdict.container);
        if newest.is_none_or(|newest| newest.id != verdict.instance) {
            return;
        }
        let probes = &mut entry.memory.container(&verdict.container).probes;
        if probes.instance != verdict.instance {
            *probes = Probes { instance: verdict.instance, ..Probes::default() };
        }
        match verdict.kind {
            ProbeKind::Readiness => probes.ready = verdict.passed,
            ProbeKind::Startup if verdict.passed => probes.started = true,
            ProbeKind::Liveness if verdict.passed => (),
            failed => probes.failed = Some(failed.as_str()),
        }
        self.dirty.insert(verdict.uid);
    }
}

/// Whether anything differs that containers are made from; what the API server writes on each change does not count.
fn differs(before: &Pod, after: &Pod) -> bool {
    before.spec != after.spec
        || before.metadata.labels != after.metadata.labels
        || before.metadata.annotations != after.metadata.annotations
}

fn identity(pod: &Pod) -> PodIdentity {
    PodIdentity { namespace: namespace(pod).to_owned(), name: name(pod).to_owned(), uid: uid(pod).to_owned() }
}

/// A pod that is known only from what runs of it.
fn stand_in(identity: &PodIdentity, observed: &ObservedPod) -> Pod {
    let names: BTreeSet<&str> = observed.instances.iter().map(|instance| instance.name.as_str()).collect();
    let containers = names.into_iter().map(|name| Container { name: name.to_owned(), ..Default::default() });
    Pod {
        metadata: ObjectMeta {
            namespace: Some(identity.namespace.clone()),
            name: Some(identity.name.clone()),
            uid: Some(identity.uid.clone()),
            ..Default::default()
        },
        spec: Some(PodSpec {
            containers: containers.collect(),
            termination_grace_period_seconds: observed
                .instances
                .first()
                .map(|instance| instance.grace_seconds),
            ..Default::default()
        }),
        status: None,
    }
}

// === impl Entry ===

impl Entry {
    fn new(pod: &Arc<Pod>, api: Api, now: Timestamp, listed: u64) -> Self {
        Entry {
            identity: identity(pod),
            pod: Arc::clone(pod),
            api,
            observed: ObservedPod::default(),
            needs_epoch: 0,
            seen_epoch: listed,
            memory: Memory::new(now),
            reported: None,
            is_gone_reported: false,
            published: None,
            probes: Vec::new(),
            wake: None,
        }
    }

    fn parts<'a>(
        &'a mut self,
        wanted: &'a Wanted,
        settings: &'a Settings,
        now: Timestamp,
    ) -> (View<'a>, &'a mut Memory) {
        let view = View {
            pod: &self.pod,
            removed: self.api == Api::Gone,
            observed: &self.observed,
            references: wanted,
            settings,
            now,
        };
        (view, &mut self.memory)
    }

    /// The report that is due, if any.
    fn report(&mut self, status: &PodStatus) -> Option<PodReport> {
        let is_leaving = self.pod.metadata.deletion_timestamp.is_some();
        let gone = self.memory.discarded && is_leaving && !self.is_gone_reported;
        let known = self.reported.as_ref().or(self.pod.status.as_ref());
        if known == Some(status) && !gone {
            self.reported = Some(status.clone());
            return None;
        }
        self.reported = Some(status.clone());
        self.is_gone_reported |= gone;
        let json = serde_json::to_vec(status).expect("a status is plain data");
        Some(PodReport {
            namespace: self.identity.namespace.clone(),
            name: self.identity.name.clone(),
            uid: self.identity.uid.clone(),
            status: Some(Bytes::from(json)),
            gone,
        })
    }

    fn probe_plans(&self, settings: &Settings) -> Vec<ProbePlan> {
        let is_leaving = self.pod.metadata.deletion_timestamp.is_some() || self.api != Api::Present;
        match is_leaving || pod::has_final_phase(&self.pod) {
            true => Vec::new(),
            false => plans(&self.pod, &self.observed, &self.memory, settings),
        }
    }

    fn to_ref(&self, status: Option<&PodStatus>) -> PodRef {
        let slot = |container: &Container| ContainerSlot {
            name: container.name.clone(),
            waiting: waiting_reason(status, &container.name),
            instances: self
                .observed
                .of(&container.name)
                .filter(|instance| instance.state != State::Created)
                .map(|instance| ContainerRef {
                    id: instance.id.clone(),
                    log_path: instance.log_path.clone(),
                    running: matches!(instance.state, State::Running { .. }),
                    tty: container.tty == Some(true),
                    stdin: container.stdin == Some(true),
                })
                .collect(),
        };
        PodRef {
            namespace: self.identity.namespace.clone(),
            name: self.identity.name.clone(),
            sandbox: self.observed.ready_sandbox().map(|sandbox| sandbox.id.clone()),
            ip: self.memory.ips.first().cloned(),
            containers: all_containers(&self.pod).map(slot).collect(),
        }
    }
}

fn waiting_reason(status: Option<&PodStatus>, container: &str) -> String {
    let all = status
        .into_iter()
        .flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten());
    let state = all.into_iter().find(|known| known.name == container).and_then(|known| known.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_default()
}
