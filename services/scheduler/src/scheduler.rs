//! The scheduler without its surroundings: what is observed goes in, what is to be sent comes out. It awaits nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bus::command::{Reply, Write};
use client::{Observed, Standing};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Revision};
use store::Item;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::bind::{Answer, Binder, Desk, Outcome, Proposal, Why};
use crate::decide::framework::Filters;
use crate::decide::{Cycle, Diagnosis};
use crate::extend::Extender;
use crate::metrics::METRICS;
use crate::observe::shape::Needs;
use crate::observe::{Node, NodeId, Pod, Shape, View, Volumes, volumes as storage};
use crate::queue::{Hold, Queue, Waiting};
use crate::replicas::Replicas;
use crate::tell::{Outbox, Told};

mod extend;
mod meeting;
mod volumes;

pub use meeting::{Destination, Request};

/// What is told of a pod that still has no node for the same reason is told again after this long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How a scheduler behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Pods with this `schedulerName` are ours.
    pub name: String,
    /// Percentage of nodes that are scored; 0 to adapt it to their number.
    pub percentage_of_nodes_to_score: usize,
    /// For ties, and for where to start.
    pub seed: u64,
    /// Who is asked about nodes.
    pub extenders: Arc<[Extender]>,
    /// Resources that only they judge.
    pub left_to_extenders: BTreeSet<String>,
}

/// A scheduler.
#[derive(Debug)]
pub struct Scheduler {
    options: Options,
    view: View,
    volumes: Volumes,
    queue: Queue,
    cycle: Cycle,
    refused: RefusedShapes,
    binder: Binder,
    outbox: Outbox,
    asking: extend::Asking,
    synced: bool,

    /// Who binds, and who there is.
    standing: Standing,
    replicas: Replicas,
    /// How far the view is.
    passed: Revision,
    /// Whether the view has passed the beginning of the binder's term.
    begun: bool,
    /// What other replicas propose, where we bind.
    desk: Desk,
    doubts: bool,
}

/// Shapes that no node suits, for as long as nothing got better: a crowd of equal pods is judged once.
#[derive(Debug, Default)]
struct RefusedShapes {
    at: u64,
    diagnoses: HashMap<Shape, Arc<Diagnosis>>,
}

// === impl Scheduler: what comes in ===

impl Scheduler {
    /// A scheduler that knows nothing yet.
    pub fn new(options: Options) -> Self {
        let mut scheduler = Scheduler {
            view: View::default(),
            volumes: Volumes::default(),
            queue: Queue::default(),
            cycle: Cycle::new(options.seed, options.percentage_of_nodes_to_score),
            refused: RefusedShapes::default(),
            binder: Binder::default(),
            outbox: Outbox::new(&options.name),
            asking: extend::Asking::new(options.extenders.clone()),
            synced: false,
            standing: Standing::default(),
            replicas: Replicas::default(),
            passed: Revision::ZERO,
            begun: false,
            desk: Desk::default(),
            doubts: false,
            options,
        };
        scheduler.leave_to_extenders();
        scheduler
    }

    fn leave_to_extenders(&mut self) {
        self.view.leave_to_others(self.options.left_to_extenders.iter().map(String::as_str));
    }

    /// Takes in a change.
    pub fn observe(&mut self, observed: &Observed, now: Instant) {
        match observed {
            Observed::Reset => {
                self.synced = false;
                self.view.clear();
                self.leave_to_extenders();
                self.asking.clear();
                self.volumes = Volumes::default();
                self.queue = Queue::default();
                self.binder.view_is_lost();
            }
            Observed::Synced => {
                self.synced = true;
                for ticket in self.binder.view_is_complete() {
                    self.desk.refuse(ticket, POD_GONE);
                }
                info!(nodes = self.view.nodes().count(), pods = self.view.pods(), "view is complete");
            }
            Observed::Put(item) if item.key.resource() == "nodes" => self.put_node(item),
            Observed::Put(item) if storage::concerns(&item.key) => self.put_storage(item, now),
            Observed::Put(item) => self.put_pod(item, now),
            Observed::Delete { key, .. } if key.resource() == "nodes" => self.view.remove_node(key.name()),
            Observed::Delete { key, .. } if storage::concerns(key) => self.remove_storage(key, now),
            Observed::Delete { key, .. } => self.forget(key, now),
        }
    }

    fn put_node(&mut self, item: &Item) {
        match Node::parse(&item.value, self.view.resources_mut()) {
            Ok(node) => self.view.put_node(item.key.name(), node),
            Err(error) => warn!(key = %item.key, "left as it was: {error}"),
        }
    }

    fn put_pod(&mut self, item: &Item, now: Instant) {
        let key = &item.key;
        let mut pod = match Pod::parse(&item.value, self.view.resources_mut()) {
            Ok(pod) => pod,
            Err(error) => return warn!(%key, "left as it was: {error}"),
        };
        if pod.has_ended {
            self.forget(key, now);
        } else if let Some(node) = &pod.node {
            self.put_bound(key, &pod.uid, node, pod.needs, now);
        } else if pod.deleting {
            self.forget(key, now);
        } else {
            let claims = storage::claims(key, &pod.claims);
            pod.needs.volumes = self.volumes.needs(&claims);
            self.put_waiting(item, pod, now);
            self.volumes.put_pod(item, claims);
        }
    }

    fn put_bound(&mut self, key: &Key, uid: &str, node: &str, needs: Needs, now: Instant) {
        if let Some(answer) = self.binder.seen(key, node) {
            self.act_on(answer, now);
        }
        self.seen_ordered(key, node, now);
        self.queue.remove(key, now);
        self.asking.forget(key);
        self.volumes.remove_pod(key);
        self.outbox.forget(key);
        let shape = self.view.intern(needs);
        self.view.put_pod(key, uid, node, shape);
    }

    /// A pod without a node. Those of other replicas are kept as well: they may become ours, and be proposed to us.
    fn put_waiting(&mut self, item: &Item, pod: Pod, now: Instant) {
        let key = &item.key;
        let shape = self.view.intern(pod.needs);
        let mut waiting = Waiting::new(key.clone(), pod.uid, shape, pod.priority, now);
        waiting.seen = item.revision;
        waiting.preempts = pod.preempts;
        waiting.ours = pod.scheduler == self.options.name;
        waiting.told = pod.told.map(|message| (message, now));
        if self.binder.has(key) {
            if self.binder.keep(&waiting, &mut self.view) {
                return;
            }
            self.forget(key, now);
        }
        if self.is_ordered(&waiting) {
            return;
        }
        let hold = if pod.gates.is_empty() { self.hold_of(&waiting) } else { Some(Hold::Gates) };
        // A change does not take back a question: what is said is verified against what the pod wants by then.
        let hold = hold.or(self.asking.has(key).then_some(Hold::Asked));
        self.queue.put(waiting, hold, now);
    }

    /// A pod that is no concern of ours any more.
    fn forget(&mut self, key: &Key, now: Instant) {
        self.queue.remove(key, now);
        self.asking.forget(key);
        if let Some(ticket) = self.binder.gone(key) {
            self.desk.refuse(ticket, POD_GONE);
        }
        self.outbox.forget(key);
        self.volumes.remove_pod(key);
        self.view.remove_pod(key);
    }
}

// === impl Scheduler: decisions ===

impl Scheduler {
    /// Decides about up to `budget` pods; returns how many it decided about.
    pub fn turn(&mut self, budget: usize, now: Instant, time: Timestamp) -> usize {
        if !self.may_decide() {
            return 0;
        }
        self.wake_blocked(now);
        let mut decided = 0;
        while decided < budget && !self.binder.is_full() {
            let Some(pod) = self.queue.take(now) else { break };
            self.decide(pod, now, time);
            decided += 1;
        }
        decided
    }

    /// Whether another turn would decide about something.
    pub fn has_work(&self, now: Instant) -> bool {
        self.may_decide() && self.queue.has_next(now) && !self.binder.is_full()
    }

    /// Nothing is decided on half a view, nor while nobody is there who binds.
    fn may_decide(&self) -> bool {
        self.synced && self.begun
    }

    /// When there is something to do that nothing else will call for.
    pub fn next_due(&self) -> Option<Instant> {
        let queue = self.queue.next_due().filter(|_| self.may_decide());
        [queue, self.desk.next_due()].into_iter().flatten().min()
    }

    /// When to make sure that the view shows everything, and then [`Scheduler::give_up_lost`].
    pub fn next_lost(&self) -> Option<Instant> {
        self.binder.next_lost()
    }

    /// The view shows everything that happened until `seen_until`: binds whose answers were lost and that are not
    /// among it are decided again.
    pub fn give_up_lost(&mut self, seen_until: Instant, now: Instant) {
        for pod in self.binder.give_up(seen_until) {
            METRICS.attempts.with_label_values(&["error", &self.options.name]).inc();
            warn!(key = %pod.key, "its bind had no effect, deciding again");
            self.take_back(pod, now);
        }
    }

    /// Sets the metrics that show the state of this moment.
    pub fn show(&self) {
        METRICS.show(self.queue.lengths(), &self.view);
        METRICS.replicas.set(self.replicas.count() as i64);
        let missing = self.outbox.dropped().saturating_sub(METRICS.dropped_events.get());
        METRICS.dropped_events.inc_by(missing);
    }

    fn decide(&mut self, mut pod: Waiting, now: Instant, time: Timestamp) {
        pod.attempts += 1;
        if let Some(diagnosis) = self.refused.find(self.view.freed(), &pod.shape) {
            return self.block(pod, &diagnosis, now, time);
        }
        self.view.prepare(&pod.shape);
        let timer = METRICS.algorithm_seconds.start_timer();
        let decision = self.cycle.decide(self.view.nodes(), self.view.resources(), &pod.shape);
        timer.observe_duration();
        match decision {
            Ok(choice) => match self.advisers(&pod.shape) {
                nobody if nobody.is_empty() => self.send_to(pod, choice.node, now, now, time),
                advisers => self.consult(pod, advisers, now),
            },
            Err(diagnosis) => {
                let diagnosis = self.refused.remember(self.view.freed(), &pod.shape, diagnosis);
                self.block(pod, &diagnosis, now, time);
            }
        }
    }

    fn propose(&mut self, proposal: Proposal, now: Instant) {
        if let Err((pod, objection)) = self.binder.accept(&mut self.view, proposal) {
            let by = objection.word();
            METRICS.refusals.with_label_values(&[by]).inc();
            debug!(key = %pod.key, by, "the choice does not hold");
            self.queue.retry(pod, now);
        }
    }

    fn block(&mut self, mut pod: Waiting, diagnosis: &Diagnosis, now: Instant, time: Timestamp) {
        METRICS.attempts.with_label_values(&["unschedulable", &self.options.name]).inc();
        let message = diagnosis.message(pod.preempts);
        self.tell_why(&mut pod, message, now, time);
        self.queue.block(pod, now);
    }

    /// Why a pod has no node yet.
    fn tell_why(&mut self, pod: &mut Waiting, message: String, now: Instant, time: Timestamp) {
        let news = pod.told.as_ref().is_none_or(|(told, _)| *told != message);
        if news {
            self.outbox.condition(&pod.key, &message, pod.told.is_none(), time);
        }
        // What was found in the pod's status was told by somebody before us: our own first word is an Event, too.
        if news || pod.attempts == 1 || pod.told.as_ref().is_some_and(|(_, at)| *at + TELL_AGAIN <= now) {
            self.outbox.failed(&pod.key, &pod.uid, &message);
            pod.told = Some((message, now));
        }
    }

    /// Pods that a node suits which got better.
    fn wake_blocked(&mut self, now: Instant) {
        let better = self.view.take_better();
        if better.is_empty() || self.queue.lengths().blocked == 0 {
            return;
        }
        let nodes = self.view.nodes();
        let suits = |shape: &Shape| {
            let filters = Filters::prepare(nodes, shape);
            let fits = |node: &NodeId| filters.check(*node).is_ok();
            match filters.pinned() {
                Some(pinned) => pinned.iter().any(|node| better.binary_search(node).is_ok() && fits(node)),
                None => better.iter().any(fits),
            }
        };
        self.queue.wake(suits, now);
    }
}

// === impl Scheduler: what goes out, and what comes back ===

impl Scheduler {
    /// The answer to a request.
    pub fn answered(&mut self, number: u64, keys: &[Key], outcomes: Vec<Outcome>, now: Instant) {
        self.binder.batch_ended(number);
        for (key, outcome) in keys.iter().zip(outcomes) {
            if let Some(answer) = self.binder.answered(number, key, outcome, now) {
                self.act_on(answer, now);
            }
        }
    }

    /// The next Events and conditions to write.
    pub fn take_news(&mut self, time: Timestamp) -> (Vec<Write>, Vec<Told>) {
        self.outbox.take_batch(time)
    }

    /// The answer to a request of Events and conditions.
    pub fn told(&mut self, told: Vec<Told>, replies: &[Reply]) {
        for (told, _) in told.into_iter().zip(replies).filter(|(_, reply)| reply.is_err()) {
            match told {
                Told::Condition(key) => self.queue.forget_told(&key),
                Told::Event(name) => self.outbox.forget_event(&name),
                Told::Selection => (),
            }
        }
    }

    fn act_on(&mut self, answer: Answer, now: Instant) {
        let Answer { pod, node, decided, asker, outcome } = answer;
        match asker {
            // Who proposed it counts it and tells of it.
            Some(ticket) => self.desk.answer(ticket, meeting::told(&outcome)),
            None => METRICS.outcome(&outcome),
        }
        match outcome {
            Outcome::Done if asker.is_some() => {}
            Outcome::Done => self.bound(&pod, &node, decided, now),
            Outcome::Refused(why) => self.refused(pod, why, asker.is_some(), now),
            Outcome::Unknown(status) => warn!("a bind's answer was lost: {status}"),
        }
    }

    fn bound(&mut self, pod: &Waiting, node: &str, decided: Instant, now: Instant) {
        let profile = self.options.name.as_str();
        METRICS.attempts.with_label_values(&["scheduled", profile]).inc();
        let seconds = now.duration_since(decided).as_secs_f64();
        METRICS.attempt_seconds.with_label_values(&["scheduled", profile]).observe(seconds);
        let waited = now.duration_since(pod.since).as_secs_f64();
        METRICS.sli_seconds.with_label_values(&[attempts_label(pod.attempts)]).observe(waited);
        METRICS.pod_attempts.observe(pod.attempts.into());
        self.outbox.scheduled(&pod.key, &pod.uid, node);
        self.queue.settled(pod, now);
    }

    fn refused(&mut self, pod: Waiting, why: Why, foreign: bool, now: Instant) {
        if foreign {
            return self.give_back(pod);
        }
        METRICS.refusals.with_label_values(&[why.word()]).inc();
        match why {
            Why::ApiServer(status) => {
                METRICS.attempts.with_label_values(&["error", &self.options.name]).inc();
                info!(key = %pod.key, "bind refused: {status}");
                self.take_back(pod, now);
            }
            why => {
                debug!(key = %pod.key, by = why.word(), "the binder refuses");
                self.doubts |= why == Why::Deposed;
                self.view.remove_pod(&pod.key);
                match self.hold_of(&pod) {
                    None => self.queue.contend(pod, now),
                    hold => self.queue.give_back(pod, hold),
                }
            }
        }
    }

    fn take_back(&mut self, pod: Waiting, now: Instant) {
        self.view.remove_pod(&pod.key);
        match self.hold_of(&pod) {
            None => self.queue.retry(pod, now),
            hold => self.queue.give_back(pod, hold),
        }
    }

    /// A pod whose bind has no effect, to be decided about at once by whose it is.
    fn give_back(&mut self, pod: Waiting) {
        self.view.remove_pod(&pod.key);
        let hold = self.hold_of(&pod);
        self.queue.give_back(pod, hold);
    }

    fn hold_of(&self, pod: &Waiting) -> Option<Hold> {
        let ours = pod.ours && self.replicas.own(&pod.key);
        (!ours).then_some(Hold::Elsewhere)
    }
}

/// The word for a pod that is gone, has ended or has a node.
const POD_GONE: &str = "pod-gone";

/// Upstream's label: beyond fifteen attempts nobody counts.
fn attempts_label(attempts: u32) -> &'static str {
    const LABELS: [&str; 15] =
        ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];
    LABELS.get(attempts.saturating_sub(1) as usize).copied().unwrap_or("16+")
}

// === impl RefusedShapes ===

impl RefusedShapes {
    fn find(&mut self, freed: u64, shape: &Shape) -> Option<Arc<Diagnosis>> {
        if self.at != freed {
            self.at = freed;
            self.diagnoses.clear();
        }
        self.diagnoses.get(shape).cloned()
    }

    fn remember(&mut self, freed: u64, shape: &Shape, diagnosis: Diagnosis) -> Arc<Diagnosis> {
        /// More shapes than this at once share nothing worth remembering.
        const SHAPES_MAX: usize = 4_096;
        if self.at != freed || self.diagnoses.len() >= SHAPES_MAX {
            self.at = freed;
            self.diagnoses.clear();
        }
        let diagnosis = Arc::new(diagnosis);
        self.diagnoses.insert(shape.clone(), diagnosis.clone());
        diagnosis
    }
}
