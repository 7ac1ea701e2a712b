//! The agent's tasks and the one loop that joins them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::Bus;
use bus::node::VolumeReport;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span, warn};

use crate::act::carry_out::carry_out;
use crate::act::{Runtime, logs};
use crate::decide::action::{Action, Note};
use crate::decide::{Core, Effects, Input};
use crate::metrics;
use crate::network::{Network, Plugins};
use crate::node::heartbeat;
use crate::node::object::Identity;
use crate::observe::attach::Follower;
use crate::observe::listing::PodIdentity;
use crate::observe::relist::{Interest, relist};
use crate::pods::Pods;
use crate::probes::Prober;
use crate::probes::prober::Said;
use crate::proxy::Proxy;
use crate::proxy::nft::Ranges;
use crate::report::events::Events;
use crate::report::{Outbox, sender};
use crate::settings::Settings;
use crate::traces::Traces;
use runtime::{Readiness, Shutdown};

/// Inputs under way to the loop; who has more waits, which is the bus, the runtime's lists and ended actions.
const INPUTS: usize = 256;
/// Inputs that one decision takes in: enough that a burst of changes is decided upon once.
const BATCH: usize = 256;
/// Sandboxes and containers being made at a time. containerd does little more with more of them, and each takes longer.
const STARTS: usize = 16;

/// A node and what it runs on.
#[derive(Clone)]
pub struct Agent<R> {
    /// The bus.
    pub bus: Bus,
    /// The machine.
    pub runtime: R,
    /// The node.
    pub identity: Identity,
    /// What its pods share.
    pub settings: Settings,
    /// Where its pods are seen.
    pub pods: Pods,
    /// Whether its pods find Services in their environment.
    pub hears_of_services: bool,
    /// What carries out Services, and the ranges that it knows; `None` for a node without a network of its own.
    pub proxy: Option<(Proxy, Ranges)>,
    /// What lays routes to the pods of other nodes, and the plugins that it configures; `None` leaves it to others.
    pub network: Option<(Network, Option<Plugins>)>,
    /// Where it tells what it waits for.
    pub readiness: Readiness,
}

/// The loop's own things.
struct Loop<R> {
    core: Core,
    runtime: R,
    pods: Pods,
    prober: Prober<R>,
    outbox: Outbox,
    events: Arc<Mutex<Events>>,
    inputs: mpsc::Sender<Input>,
    traces: Traces,
    interest: watch::Sender<Interest>,
    starts: Arc<Semaphore>,
    /// When pods that have not started yet were first seen.
    starting: HashMap<String, tokio::time::Instant>,
}

// === impl Agent ===

impl<R: Runtime> Agent<R> {
    /// Runs until `shutdown`. Containers run on after that.
    pub async fn run(self, shutdown: Shutdown) {
        let (inputs, received) = mpsc::channel(INPUTS);
        let (said, heard) = mpsc::channel(INPUTS);
        let (interest, interested) = watch::channel(Interest::default());
        let (session, attached) = watch::channel(String::new());
        let (is_up, up) = watch::channel(true);
        let outbox = Outbox::default();
        let traces = Traces::default();
        let mut tasks = JoinSet::new();
        let follower = Follower {
            bus: self.bus.clone(),
            node: self.identity.name.clone(),
            inputs: inputs.clone(),
            traces: traces.clone(),
            hears_of_services: self.hears_of_services,
            proxy: self.proxy.as_ref().map(|(proxy, _)| proxy.clone()),
            network: self.network.as_ref().map(|(network, _)| network.clone()),
            session,
            readiness: self.readiness.condition("attached"),
        };
        tasks.spawn(follower.run(shutdown.clone()));
        if let Some((proxy, ranges)) = self.proxy {
            tasks.spawn(proxy.run(ranges, self.readiness.condition("services"), shutdown.clone()));
        }
        if let Some((network, plugins)) = self.network {
            tasks.spawn(network.run(plugins, shutdown.clone()));
        }
        tasks.spawn(relist(self.runtime.clone(), inputs.clone(), interested, is_up, shutdown.clone()));
        tasks.spawn(heartbeat::beat(
            self.bus.clone(),
            self.identity.name.clone(),
            attached.clone(),
            shutdown.clone(),
        ));
        tasks.spawn(heartbeat::observe(
            self.runtime.clone(),
            self.identity.clone(),
            outbox.clone(),
            up,
            attached,
            self.readiness.condition("runtime"),
            shutdown.clone(),
        ));
        let registered = self.readiness.condition("registered");
        let node = self.identity.name.clone();
        tasks.spawn(sender::send(self.bus.clone(), node, outbox.clone(), registered, shutdown.clone()));
        tasks.spawn(logs::keep_small(self.runtime.clone(), self.pods.clone(), shutdown.clone()));
        let mut the_loop = Loop {
            core: Core::new(self.settings),
            prober: Prober::new(self.runtime.clone(), said),
            runtime: self.runtime,
            pods: self.pods,
            outbox,
            events: Arc::new(Mutex::new(Events::new(&self.identity.name))),
            inputs,
            traces,
            interest,
            starts: Arc::new(Semaphore::new(STARTS)),
            starting: HashMap::new(),
        };
        tokio::select! {
            () = the_loop.run(received, heard) => {}
            () = shutdown.cancelled() => {}
        }
        // Everything else ends by the same token.
        tasks.join_all().await;
    }
}

// === impl Loop ===

impl<R: Runtime> Loop<R> {
    async fn run(&mut self, mut inputs: mpsc::Receiver<Input>, mut said: mpsc::Receiver<Said>) {
        self.core.handle(Input::Folders(self.runtime.folders()), Timestamp::now());
        let mut wake: Option<Timestamp> = None;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = inputs.recv_many(&mut batch, BATCH) => if count == 0 { return },
                word = said.recv() => match word {
                    Some(Said::Verdict(verdict)) => batch.push(Input::Probed(verdict)),
                    Some(Said::Failure(pod, note)) => {
                        self.tell(&pod, &note);
                        continue;
                    }
                    None => return,
                },
                () = until(wake) => batch.push(Input::Tick),
            }
            let now = Timestamp::now();
            for input in batch.drain(..) {
                self.core.handle(input, now);
            }
            let effects = self.core.settle(now);
            wake = effects.wake;
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        let interest = Interest { epoch: self.core.epoch(), is_busy: effects.is_busy };
        self.interest.send_if_modified(|known| std::mem::replace(known, interest) != interest);
        for (pod, note) in &effects.notes {
            self.tell(pod, note);
        }
        for (pod, action) in effects.actions {
            self.act(pod, action);
        }
        for report in effects.reports {
            self.outbox.pod(report);
        }
        for volume in effects.removals {
            self.remove(volume);
        }
        for (uid, probes) in effects.probes {
            self.prober.set(&uid, probes);
        }
        for (uid, pod) in effects.published {
            self.measure(&uid, pod.as_ref());
            self.pods.publish(&uid, pod);
        }
        let (pods, containers) = self.core.running();
        metrics::RUNNING_PODS.set(pods as i64);
        metrics::RUNNING_CONTAINERS.set(containers as i64);
    }

    fn act(&self, pod: PodIdentity, action: Action) {
        let (runtime, inputs) = (self.runtime.clone(), self.inputs.clone());
        let places = match &action {
            Action::RunSandbox(_) | Action::Start(_) => Some(Arc::clone(&self.starts)),
            // Ends never wait for beginnings.
            _ => None,
        };
        let name = action.name();
        let span = info_span!("act", pod = pod.name, namespace = pod.namespace, action = name);
        if let Some(trace) = self.traces.of_pod(&pod.namespace, &pod.name) {
            bus::trace::join(&span, trace);
        }
        let (events, outbox, told) = (Arc::clone(&self.events), self.outbox.clone(), pod.clone());
        let work = async move {
            let _place = match places {
                Some(places) => Some(places.acquire_owned().await.expect("the semaphore is never closed")),
                None => None,
            };
            metrics::OPERATIONS.with_label_values(&[name]).inc();
            let timer = metrics::OPERATION_SECONDS.with_label_values(&[name]).start_timer();
            let tell = move |note: Note| tell(&events, &outbox, &told, &note);
            let outcome = carry_out(&runtime, &pod, action, &tell).await;
            timer.observe_duration();
            if outcome.is_failure() {
                metrics::OPERATION_ERRORS.with_label_values(&[name]).inc();
            }
            // The loop has ended, and the agent with it.
            let _ = inputs.send(Input::Ended(pod.uid, outcome)).await;
        };
        tokio::spawn(work.instrument(span));
    }

    /// Removes a volume; its end is reported when nothing of it is left.
    fn remove(&self, volume: VolumeReport) {
        let (runtime, inputs, outbox) = (self.runtime.clone(), self.inputs.clone(), self.outbox.clone());
        tokio::spawn(async move {
            let result = runtime.remove_volume(&volume.name).await;
            let (uid, is_done) = (volume.uid.clone(), result.is_ok());
            match result {
                Ok(()) => {
                    info!(volume = volume.name, "its data is removed");
                    outbox.volume(volume);
                }
                Err(why) => warn!(volume = volume.name, "its data cannot be removed: {why}"),
            }
            // The loop has ended, and the agent with it.
            let _ = inputs.send(Input::VolumeRemoved(uid, is_done)).await;
        });
    }

    fn tell(&self, pod: &PodIdentity, note: &Note) {
        tell(&self.events, &self.outbox, pod, note);
    }

    fn measure(&mut self, uid: &str, pod: Option<&crate::pods::PodRef>) {
        let Some(pod) = pod else {
            self.starting.remove(uid);
            return;
        };
        let has_all = !pod.containers.is_empty()
            && pod.containers.iter().all(|slot| slot.instances.iter().any(|instance| instance.running));
        if has_all {
            if let Some(since) = self.starting.remove(uid) {
                metrics::POD_START_SECONDS.observe(since.elapsed().as_secs_f64());
            }
        } else if pod.containers.iter().all(|slot| slot.instances.is_empty()) {
            self.starting.entry(uid.to_owned()).or_insert_with(tokio::time::Instant::now);
        }
    }
}

fn tell(events: &Mutex<Events>, outbox: &Outbox, pod: &PodIdentity, note: &Note) {
    // Of a pod that is known only by its folders there is nobody to tell.
    if pod.name.is_empty() {
        return;
    }
    let event = events.lock().unwrap_or_else(PoisonError::into_inner).event(pod, note, Timestamp::now());
    outbox.event(serde_json::to_vec(&event).expect("an event is plain data").into());
}

async fn until(time: Option<Timestamp>) {
    match time {
        None => std::future::pending().await,
        Some(time) => {
            let left = time.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
        }
    }
}
