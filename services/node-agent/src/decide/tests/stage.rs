//! A core with a pod, a clock and a machine in memory; what is done is written down as text.

use std::collections::BTreeSet;

use bus::node::Wanted;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, PodStatus};
use serde_json::{Value, json};

use crate::decide::action::{Action, Slot};
use crate::decide::core::{Core, Effects, Input, ProbeVerdict};
use crate::decide::outcome::{Ensured, ImageProblem, Outcome, StartProblem};
use crate::observe::listing::{Exit, Instance, Listing, PodIdentity, Sandbox, State};
use crate::probes::plan::ProbeKind;
use crate::spec::container::LocalImage;
use crate::spec::fixture::settings;

/// Something that the machine refuses to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refuses {
    Volumes,
    Sandboxes,
    Pulls,
    NeverPulls,
    Creates,
    Starts,
    Kills,
    Hooks,
}

pub struct Stage {
    pub core: Core,
    pub now: Timestamp,
    pub listing: Listing,
    pub refuses: BTreeSet<Refuses>,
    /// What was done since the last look.
    pub done: Vec<String>,
    /// Reasons of the events since the last look.
    pub told: Vec<String>,
    pub status: PodStatus,
    pub reports: usize,
    /// The states of the container `main`, one a report.
    pub seen: Vec<String>,
    pub gone: bool,
    pub wake: Option<Timestamp>,
    /// Kills take until the test says that the containers have ended.
    pub slow_ends: bool,
    /// How long what volumes hold is good for.
    pub renew: Option<SignedDuration>,
    spec: Value,
    metadata: Value,
    made: u32,
}

const POD: &str = "core/pods/default/web";

// === impl Stage ===

impl Stage {
    /// An attached agent on an empty machine.
    pub fn new() -> Stage {
        let mut stage = Stage::detached();
        stage.core.handle(Input::Snapshot(Vec::new()), stage.now);
        stage.look();
        stage
    }

    /// An agent that has neither heard nor seen anything.
    pub fn detached() -> Stage {
        Stage {
            core: Core::new(settings()),
            now: Timestamp::from_second(1_000_000).unwrap(),
            listing: Listing::default(),
            refuses: BTreeSet::new(),
            done: Vec::new(),
            told: Vec::new(),
            status: PodStatus::default(),
            reports: 0,
            seen: Vec::new(),
            gone: false,
            wake: None,
            slow_ends: false,
            renew: None,
            spec: Value::Null,
            metadata: json!({"name": "web", "namespace": "default", "uid": "u1", "generation": 1}),
            made: 0,
        }
    }

    /// The pod with one container `main` and further fields of its spec.
    pub fn want(&mut self, spec: Value) {
        self.spec = spec;
        if self.spec["containers"].is_null() {
            self.spec["containers"] = json!([container("main")]);
        }
        self.send();
    }

    /// Sends the pod as it is now, with the status that was reported.
    pub fn send(&mut self) {
        let change = self.change();
        self.core.handle(Input::Changes(vec![change]), self.now);
        self.settle();
    }

    pub fn change(&self) -> Wanted {
        let mut pod = json!({"metadata": self.metadata, "spec": self.spec});
        pod["status"] = serde_json::to_value(&self.status).unwrap();
        Wanted { key: POD.to_owned(), object: Some(pod.to_string().into()) }
    }

    pub fn object(&mut self, key: &str, object: Option<Value>) {
        let object = object.map(|object| object.to_string().into());
        self.core.handle(Input::Changes(vec![Wanted { key: key.to_owned(), object }]), self.now);
        self.settle();
    }

    pub fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.spec);
        self.send();
    }

    pub fn delete(&mut self, grace: i64) {
        let until = self.now + SignedDuration::from_secs(grace);
        self.metadata["deletionTimestamp"] = json!(until.to_string());
        self.metadata["deletionGracePeriodSeconds"] = json!(grace);
        self.send();
    }

    /// Time passes, and with it every moment at which the core wants to be asked.
    pub fn pass(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.core.handle(Input::Tick, self.now);
            self.settle();
            if self.wake == Some(wake) {
                break;
            }
        }
        self.now = end;
        self.core.handle(Input::Tick, self.now);
        self.settle();
    }

    /// The newest instance of a container ends by itself.
    pub fn exit(&mut self, container: &str, code: i32) {
        let id = self.running(container).expect("it runs");
        self.finish(&id, code);
        self.look();
    }

    /// Every container that was asked to end does.
    pub fn finish(&mut self, id: &str, code: i32) {
        let now = self.now;
        for instance in self.listing.containers.iter_mut().filter(|instance| instance.id == id) {
            let started = match instance.state {
                State::Running { started } => Some(started),
                _ => None,
            };
            let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
            instance.state =
                State::Exited(Exit { started, finished: now, code, reason, message: String::new() });
        }
    }

    pub fn running(&self, container: &str) -> Option<String> {
        let mut newest = self.listing.containers.iter().rev();
        let running = newest.find(|one| one.name == container && matches!(one.state, State::Running { .. }));
        running.map(|one| one.id.clone())
    }

    pub fn probed(&mut self, container: &str, kind: ProbeKind, passed: bool) {
        let instance = self.running(container).expect("it runs");
        let verdict =
            ProbeVerdict { uid: "u1".to_owned(), container: container.to_owned(), instance, kind, passed };
        self.core.handle(Input::Probed(verdict), self.now);
        self.settle();
    }

    /// The sandbox dies, and everything in it.
    pub fn lose_sandbox(&mut self) {
        for sandbox in &mut self.listing.sandboxes {
            sandbox.ready = false;
        }
        let live: Vec<String> = self.listing.containers.iter().map(|one| one.id.clone()).collect();
        for id in live {
            if self.listing.containers.iter().any(|one| one.id == id && one.state.is_live()) {
                self.finish(&id, 255);
            }
        }
        self.look();
    }

    /// The runtime is listed.
    pub fn look(&mut self) {
        let epoch = self.core.epoch();
        self.core.handle(Input::Listing(self.listing.clone(), epoch), self.now);
        self.settle();
    }

    /// Decides, does, looks, until nothing is left to do.
    pub fn settle(&mut self) {
        const ROUNDS: usize = 100;
        for _ in 0..ROUNDS {
            let effects = self.core.settle(self.now);
            let actions = self.take(effects);
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
            let epoch = self.core.epoch();
            self.core.handle(Input::Listing(self.listing.clone(), epoch), self.now);
        }
        panic!("it never settles: {:?}", self.done);
    }

    /// What the core wants, without doing it.
    pub fn take(&mut self, effects: Effects) -> Vec<Action> {
        self.told.extend(effects.notes.iter().map(|(_, note)| note.reason.to_owned()));
        for report in effects.reports {
            self.status = serde_json::from_slice(&report.status.unwrap()).unwrap();
            self.reports += 1;
            self.gone |= report.gone;
            let main = self.status.container_statuses.iter().flatten().find(|status| status.name == "main");
            self.seen.extend(main.map(|main| words(main.state.as_ref())));
        }
        self.wake = effects.wake;
        effects.actions.into_iter().map(|(_, action)| action).collect()
    }

    fn carry_out(&mut self, action: Action) {
        let failed = || Err::<(), _>("refused".to_owned());
        self.done.push(shown(&action));
        let slot = action.slot();
        let outcome = match action {
            Action::PrepareVolumes(_) if self.refuses(Refuses::Volumes) => {
                Outcome::Volumes(Err("refused".to_owned()))
            }
            Action::PrepareVolumes(_) => Outcome::Volumes(Ok(self.renew.map(|life| self.now + life))),
            Action::RunSandbox(_) if self.refuses(Refuses::Sandboxes) => Outcome::Sandbox(failed()),
            Action::RunSandbox(config) => {
                self.made += 1;
                let metadata = config.metadata.unwrap();
                self.listing.sandboxes.push(Sandbox {
                    id: format!("s{}", self.made),
                    pod: PodIdentity {
                        namespace: metadata.namespace,
                        name: metadata.name,
                        uid: metadata.uid,
                    },
                    attempt: metadata.attempt,
                    created: self.now,
                    ready: true,
                    ips: vec!["10.1.0.2".to_owned()],
                });
                Outcome::Sandbox(Ok(()))
            }
            Action::StopSandbox(id) => {
                for sandbox in self.listing.sandboxes.iter_mut().filter(|sandbox| sandbox.id == id) {
                    sandbox.ready = false;
                }
                Outcome::SandboxStopped(id, Ok(()))
            }
            Action::RemoveSandbox(id) => {
                self.listing.sandboxes.retain(|sandbox| sandbox.id != id);
                self.listing.containers.retain(|instance| instance.sandbox != id);
                Outcome::SandboxRemoved(id, Ok(()))
            }
            Action::EnsureImage { container, image, .. } => {
                let result = if self.refuses(Refuses::NeverPulls) {
                    Err(ImageProblem::Never)
                } else if self.refuses(Refuses::Pulls) {
                    Err(ImageProblem::Pull("no such image".to_owned()))
                } else {
                    Ok(Ensured {
                        image: LocalImage { id: image.clone(), ..Default::default() },
                        pulled: None,
                    })
                };
                Outcome::Image(container, image, result)
            }
            Action::Start(start) => {
                if self.refuses(Refuses::Creates) {
                    let problem = StartProblem::Create("refused".to_owned());
                    Outcome::Started(start.container, Err(problem))
                } else {
                    let id = self.create(&start);
                    let problem = if self.refuses(Refuses::Starts) {
                        self.finish(&id, 128);
                        Err(StartProblem::Run("refused".to_owned()))
                    } else if self.refuses(Refuses::Hooks) {
                        self.finish(&id, 137);
                        Err(StartProblem::PostStart("refused".to_owned()))
                    } else {
                        Ok(())
                    };
                    Outcome::Started(start.container, problem)
                }
            }
            Action::Kill(kill) if self.refuses(Refuses::Kills) => Outcome::Killed(kill.id, failed()),
            Action::Kill(_) if self.slow_ends => return,
            Action::Kill(kill) => {
                self.finish(&kill.id, 0);
                Outcome::Killed(kill.id, Ok(()))
            }
            Action::RemoveInstance { id, .. } => {
                self.listing.containers.retain(|instance| instance.id != id);
                Outcome::Removed(id, Ok(()))
            }
            Action::Discard => Outcome::Discarded(Ok(())),
        };
        assert_eq!(outcome.slot(), slot, "an outcome is about what its action worked on");
        self.end("u1", outcome);
    }

    pub fn end(&mut self, uid: &str, outcome: Outcome) {
        self.core.handle(Input::Ended(uid.to_owned(), outcome), self.now);
    }

    fn create(&mut self, start: &crate::decide::action::Start) -> String {
        let sandbox = self.listing.sandboxes.iter().find(|sandbox| sandbox.id == start.sandbox);
        let sandbox = sandbox.expect("containers are only started in a sandbox that is there");
        assert!(sandbox.ready, "containers are only started in a sandbox that runs");
        let config = &start.blueprint.config;
        let metadata = config.metadata.clone().unwrap();
        let lives =
            self.listing.containers.iter().any(|one| one.name == metadata.name && one.state.is_live());
        assert!(!lives, "a container never runs twice");
        self.made += 1;
        let id = format!("c{}", self.made);
        self.listing.containers.push(Instance {
            id: id.clone(),
            sandbox: start.sandbox.clone(),
            pod: sandbox.pod.clone(),
            name: metadata.name,
            attempt: metadata.attempt,
            created: self.now,
            state: State::Running { started: self.now },
            image: config.image.clone().unwrap().image,
            image_id: "sha256:1".to_owned(),
            hash: config.annotations[crate::spec::names::HASH].clone(),
            log_path: config.log_path.clone().into(),
            grace_seconds: 30,
        });
        id
    }

    fn refuses(&self, what: Refuses) -> bool {
        self.refuses.contains(&what)
    }

    /// What was done since the last look.
    pub fn taken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    pub fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or("")
    }

    /// A container's state in words: `running`, `waiting CrashLoopBackOff`, `terminated 0 Completed`.
    pub fn state(&self, container: &str) -> String {
        let all = self.status.init_container_statuses.iter().chain(&self.status.container_statuses).flatten();
        let status = all.into_iter().find(|status| status.name == container).expect("it has a status");
        words(status.state.as_ref())
    }

    /// How it ended the last time.
    pub fn last_state(&self, container: &str) -> String {
        let all = self.status.container_statuses.iter().flatten();
        let status = all.into_iter().find(|status| status.name == container).expect("it has a status");
        words(status.last_state.as_ref())
    }

    pub fn condition(&self, type_: &str) -> (String, String) {
        let found = self.status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        let found = found.expect("the condition is there");
        (found.status.clone(), found.reason.clone().unwrap_or_default())
    }
}

pub fn container(name: &str) -> Value {
    json!({"name": name, "image": "app:1"})
}

fn words(state: Option<&ContainerState>) -> String {
    match state {
        Some(ContainerState { running: Some(_), .. }) => "running".to_owned(),
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            format!("waiting {}", waiting.reason.as_deref().unwrap_or(""))
        }
        Some(ContainerState { terminated: Some(end), .. }) => {
            format!("terminated {} {}", end.exit_code, end.reason.as_deref().unwrap_or(""))
        }
        _ => "none".to_owned(),
    }
}

fn shown(action: &Action) -> String {
    match action {
        Action::PrepareVolumes(_) => "volumes".to_owned(),
        Action::RunSandbox(config) => format!("sandbox {}", config.metadata.clone().unwrap().attempt),
        Action::StopSandbox(id) => format!("stop {id}"),
        Action::RemoveSandbox(id) => format!("remove {id}"),
        Action::EnsureImage { container, .. } => format!("image {container}"),
        Action::Start(start) => {
            let metadata = start.blueprint.config.metadata.clone().unwrap();
            format!("start {} {}", metadata.name, metadata.attempt)
        }
        Action::Kill(kill) => {
            let name = kill.field_path.split(['{', '}']).nth(1).unwrap_or("");
            format!("kill {name} {}", kill.grace_seconds)
        }
        Action::RemoveInstance { id, .. } => format!("remove {id}"),
        Action::Discard => "discard".to_owned(),
    }
}

/// So that tests may name slots.
pub fn unknown(slot: Slot) -> Outcome {
    Outcome::Unknown(slot)
}
