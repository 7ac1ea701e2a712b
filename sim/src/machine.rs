//! The machines that agents run pods on: the hollow runtime, made slow and unreliable, and watched from above.
//!
//! All machines together are the [`Floor`]. Whoever starts a container while another pod of the same name still runs
//! somewhere has broken the promise that there is one of each identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cri::CriError;
use cri::v1::{AuthConfig, ContainerConfig, PodSandboxConfig};
use futures::FutureExt;
use jiff::Timestamp;
use node_agent::act::Runtime;
use node_agent::act::hollow::Hollow;
use node_agent::act::runtime::{Answer, Health, ImageRecord};
use node_agent::decide::action::{Check, Start};
use node_agent::node::facts::Facts;
use node_agent::observe::listing::{Instance, Listing, PodIdentity, State};
use node_agent::spec::volumes::Plan;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::process::Fate;

/// A machine from one loss of its power to the next.
pub struct Iron {
    node: String,
    hollow: Hollow,
    floor: Floor,
    /// Cancelled when its power is lost, and with it all that runs there.
    power: CancellationToken,
    /// Containers that end by themselves: after how long, and with which code.
    ends: Mutex<BTreeMap<String, (Duration, i32)>>,
}

/// A machine as one incarnation of its agent has it.
#[derive(Clone)]
pub struct Machine {
    iron: Arc<Iron>,
    /// Of the agent: what it has begun ends with it, though its containers run on.
    fate: Fate,
}

/// All machines.
#[derive(Clone)]
pub struct Floor(Arc<Mutex<Floors>>);

struct Floors {
    random: StdRng,
    slowness: Slowness,
    /// What runs on each.
    running: BTreeMap<String, BTreeSet<PodIdentity>>,
    /// Pods of one name that ran at the same time.
    twins: Vec<String>,
}

/// How badly the machines work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slowness {
    /// The longest that anything takes.
    pub delay: Duration,
    /// Chance that something fails.
    pub failure: f64,
}

/// The command of containers that end by themselves: this, then milliseconds, then the exit code.
pub const RUN_FOR: &str = "run-for";

// === impl Floor ===

impl Floor {
    /// An empty floor.
    pub fn new(seed: u64) -> Floor {
        Floor(Arc::new(Mutex::new(Floors {
            random: StdRng::seed_from_u64(seed),
            slowness: Slowness::default(),
            running: BTreeMap::new(),
            twins: Vec::new(),
        })))
    }

    /// From now on the machines work like this.
    pub fn set_slowness(&self, slowness: Slowness) {
        self.0.lock().slowness = slowness;
    }

    /// What runs, by node.
    pub fn running(&self) -> BTreeMap<String, BTreeSet<PodIdentity>> {
        self.0.lock().running.clone()
    }

    /// Pods of one name that ran at the same time, since this was last asked.
    pub fn take_twins(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().twins)
    }

    fn set(&self, node: &str, pods: BTreeSet<PodIdentity>) {
        let mut floor = self.0.lock();
        let before = floor.running.insert(node.to_owned(), pods.clone()).unwrap_or_default();
        for new in pods.difference(&before) {
            let elsewhere = floor.running.iter().flat_map(|(at, pods)| pods.iter().map(move |pod| (at, pod)));
            let twin = elsewhere
                .filter(|(_, pod)| pod.namespace == new.namespace && pod.name == new.name && *pod != new)
                .map(|(at, pod)| {
                    format!(
                        "{}/{} runs as {} on {node} and as {} on {at}",
                        new.namespace, new.name, new.uid, pod.uid
                    )
                })
                .next();
            floor.twins.extend(twin);
        }
    }

    async fn work(&self) -> bool {
        let (time, fails) = {
            let mut floor = self.0.lock();
            let Slowness { delay, failure } = floor.slowness;
            let time = match delay {
                Duration::ZERO => Duration::ZERO,
                longest => floor.random.random_range(Duration::ZERO..=longest),
            };
            (time, failure > 0.0 && floor.random.random_bool(failure))
        };
        tokio::time::sleep(time).await;
        fails
    }
}

// === impl Iron ===

impl Iron {
    /// A machine under power on which nothing runs.
    pub fn new(node: &str, hollow: Hollow, floor: Floor) -> Iron {
        let (power, ends) = (CancellationToken::new(), Mutex::default());
        Iron { node: node.to_owned(), hollow, floor, power, ends }
    }

    /// The power is lost.
    pub fn lose_power(&self) {
        self.power.cancel();
        self.floor.set(&self.node, BTreeSet::new());
    }

    /// Makes one of the running containers end as a crash would, if there are any.
    pub fn crash(&self, choose: impl FnOnce(usize) -> usize) -> Option<PodIdentity> {
        let running = self.running();
        let victim = running.get(choose(running.len().max(1)))?;
        self.hollow.crash(&victim.id, 1);
        self.show();
        Some(victim.pod.clone())
    }

    fn running(&self) -> Vec<Instance> {
        let listing = self.hollow.list().now_or_never().expect("a hollow machine answers at once");
        let all = listing.map(|listing| listing.containers).unwrap_or_default();
        all.into_iter().filter(|one| matches!(one.state, State::Running { .. })).collect()
    }

    fn show(&self) {
        if !self.power.is_cancelled() {
            self.floor.set(&self.node, self.running().into_iter().map(|one| one.pod).collect());
        }
    }

    fn end_in_time(self: &Arc<Self>, id: &str) {
        let Some((after, code)) = self.ends.lock().get(id).copied() else { return };
        let (iron, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            iron.hollow.crash(&id, code);
            iron.show();
        });
    }
}

/// What a command says about when its container ends.
fn end_of(command: &[String]) -> Option<(Duration, i32)> {
    match command {
        [word, millis, code] if word == RUN_FOR => {
            Some((Duration::from_millis(millis.parse().ok()?), code.parse().ok()?))
        }
        _ => None,
    }
}

// === impl Machine ===

impl Machine {
    /// The machine for the agent with that fate.
    pub fn new(iron: Arc<Iron>, fate: Fate) -> Machine {
        Machine { iron, fate }
    }

    /// Takes its time, and may fail.
    async fn work(&self) -> Result<(), CriError> {
        let fails = self.iron.floor.work().await;
        self.fate.alive().await;
        let message = "the machine stutters".to_owned();
        match fails {
            true => Err(CriError::Refused { code: "Unknown".to_owned(), message }),
            false => Ok(()),
        }
    }

    /// What was done is seen from above, and takes its time to be told.
    async fn done<T>(&self, result: Result<T, CriError>) -> Result<T, CriError> {
        self.iron.show();
        self.work().await?;
        result
    }
}

impl Runtime for Machine {
    fn facts(&self) -> Facts {
        self.iron.hollow.facts()
    }

    async fn health(&self) -> Result<Health, CriError> {
        self.fate.alive().await;
        self.iron.hollow.health().await
    }

    async fn list(&self) -> Result<Listing, CriError> {
        self.fate.alive().await;
        self.iron.hollow.list().await
    }

    async fn changed(&self) -> Result<(), CriError> {
        std::future::pending().await
    }

    fn trust(&self) -> Duration {
        self.iron.hollow.trust()
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, CriError> {
        self.iron.hollow.images().await
    }

    async fn image(&self, name: &str) -> Result<Option<ImageRecord>, CriError> {
        self.iron.hollow.image(name).await
    }

    async fn pull(&self, name: &str, auth: Option<AuthConfig>) -> Result<(), CriError> {
        self.iron.hollow.pull(name, auth).await
    }

    async fn run_sandbox(&self, config: PodSandboxConfig) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.run_sandbox(config).await;
        self.done(result).await
    }

    async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.stop_sandbox(id).await;
        self.done(result).await
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.remove_sandbox(id).await;
        self.done(result).await
    }

    async fn create(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, CriError> {
        self.work().await?;
        let end = end_of(&config.command);
        let result = self.iron.hollow.create(sandbox, config, sandbox_config).await;
        if let (Ok(id), Some(end)) = (&result, end) {
            self.iron.ends.lock().insert(id.clone(), end);
        }
        self.done(result).await
    }

    async fn start(&self, id: &str) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.start(id).await;
        if result.is_ok() {
            self.iron.end_in_time(id);
        }
        self.done(result).await
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.stop(id, grace).await;
        self.done(result).await
    }

    async fn remove(&self, id: &str) -> Result<(), CriError> {
        self.work().await?;
        let result = self.iron.hollow.remove(id).await;
        self.done(result).await
    }

    async fn exec(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<Answer, CriError> {
        self.iron.hollow.exec(id, command, timeout).await
    }

    async fn reach(&self, check: &Check, timeout: Duration) -> Answer {
        self.iron.hollow.reach(check, timeout).await
    }

    async fn reopen_log(&self, id: &str) -> Result<(), CriError> {
        self.iron.hollow.reopen_log(id).await
    }

    async fn prepare_volumes(&self, pod: &PodIdentity, plan: Plan) -> Result<Option<Timestamp>, String> {
        self.iron.hollow.prepare_volumes(pod, plan).await
    }

    async fn prepare_start(&self, pod: &PodIdentity, start: &Start) -> Result<(), String> {
        self.iron.hollow.prepare_start(pod, start).await
    }

    async fn discard(&self, pod: &PodIdentity) -> Result<(), String> {
        self.iron.hollow.discard(pod).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), String> {
        self.iron.hollow.remove_volume(name).await
    }

    fn folders(&self) -> Vec<PodIdentity> {
        self.iron.hollow.folders()
    }
}
