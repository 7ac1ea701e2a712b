//! Pods about whose nodes extenders are asked.
//!
//! ```text
//!  decided: nodes that suit ──> held while it is asked ──> said: the best that still holds ──> proposed as any other
//!                                        │                                   └ an extender binds ──> counted there,
//!                                        └ refused, or failed ──> told, and tried again after its pause    ordered
//! ```

use std::collections::VecDeque;

use super::*;
use crate::bind::verify;
use crate::extend::{BindOrder, Extender, Question, Said};

/// Pods that are asked about at a time; beyond it they wait for their turn, so that an extender that hangs costs the
/// others nothing but memory.
const ASKED_MAX: usize = 1_024;

/// What is asked, and what an extender was told to do.
#[derive(Debug, Default)]
pub(super) struct Asking {
    extenders: Arc<[Extender]>,
    asked: HashMap<Key, Asked>,
    numbered: u64,
    questions: VecDeque<Question>,
    orders: VecDeque<BindOrder>,
    /// Pods that an extender binds.
    ordered: HashMap<Key, Ordered>,
}

#[derive(Debug)]
struct Asked {
    number: u64,
    decided: Instant,
}

#[derive(Debug)]
struct Ordered {
    pod: Waiting,
    decided: Instant,
}

// === impl Asking ===

impl Asking {
    pub fn new(extenders: Arc<[Extender]>) -> Self {
        Asking { extenders, ..Asking::default() }
    }

    /// Everything that was asked or ordered counts for nothing any more.
    pub fn clear(&mut self) {
        *self = Asking { extenders: self.extenders.clone(), numbered: self.numbered, ..Asking::default() };
    }

    /// Whether a pod is asked about.
    pub fn has(&self, key: &Key) -> bool {
        self.asked.contains_key(key)
    }

    /// The pod is no concern any more.
    pub fn forget(&mut self, key: &Key) {
        self.asked.remove(key);
        self.ordered.remove(key);
    }

    fn of<'a>(&'a self, resources: &[&'a str]) -> impl Iterator<Item = (usize, &'a Extender)> {
        let concerned = |(_, extender): &(usize, &Extender)| extender.concerns(resources.iter().copied());
        self.extenders.iter().enumerate().filter(concerned).collect::<Vec<_>>().into_iter()
    }
}

// === impl Scheduler: with extenders ===

impl Scheduler {
    /// Who has a say about pods of a shape.
    pub(super) fn advisers(&self, shape: &Shape) -> Vec<usize> {
        if self.asking.extenders.is_empty() {
            return Vec::new();
        }
        let resources = self.resources_of(shape);
        let advising = self.asking.of(&resources).filter(|(_, extender)| extender.advises());
        advising.map(|(index, _)| index).collect()
    }

    /// Who binds pods of a shape, if no one of us does.
    fn outer_binder(&self, shape: &Shape) -> Option<usize> {
        if self.asking.extenders.is_empty() {
            return None;
        }
        let resources = self.resources_of(shape);
        self.asking.of(&resources).find(|(_, extender)| extender.verbs.bind.is_some()).map(|(index, _)| index)
    }

    fn resources_of(&self, shape: &Shape) -> Vec<&str> {
        shape.requests.iter().map(|(resource, _)| self.view.resources().name(resource)).collect()
    }

    /// Asks about the nodes that suit a pod.
    pub(super) fn consult(&mut self, pod: Waiting, extenders: Vec<usize>, now: Instant) {
        if self.asking.asked.len() >= ASKED_MAX {
            return self.queue.retry(pod, now);
        }
        self.asking.numbered += 1;
        let number = self.asking.numbered;
        let names = |(node, score): (NodeId, i64)| (self.view.nodes().name(node).clone(), score);
        let nodes = self.cycle.scored().map(names).collect();
        self.asking.questions.push_back(Question { number, pod: pod.key.clone(), nodes, extenders });
        self.asking.asked.insert(pod.key.clone(), Asked { number, decided: now });
        self.queue.give_back(pod, Some(Hold::Asked));
    }

    /// The next question, whose answer is [`Scheduler::said`].
    pub fn take_question(&mut self) -> Option<Question> {
        self.asking.questions.pop_front()
    }

    /// The next pod that an extender is to bind, whose answer is [`Scheduler::ordered`].
    pub fn take_order(&mut self) -> Option<BindOrder> {
        self.asking.orders.pop_front()
    }

    /// What extenders say of a pod's nodes.
    pub fn said(&mut self, question: &Question, said: Said, now: Instant, time: Timestamp) {
        if self.asking.asked.get(&question.pod).is_none_or(|asked| asked.number != question.number) {
            return;
        }
        let Some(Asked { decided, .. }) = self.asking.asked.remove(&question.pod) else { return };
        let Some(pod) = self.queue.take_this(&question.pod, now) else { return };
        if let Some(hold) = self.hold_of(&pod) {
            return self.queue.give_back(pod, Some(hold));
        }
        match said {
            Said::Failed(why) => {
                METRICS.attempts.with_label_values(&["error", &self.options.name]).inc();
                self.try_later(pod, why, now, time);
            }
            Said::Nodes { left, refused } if left.is_empty() => {
                METRICS.attempts.with_label_values(&["unschedulable", &self.options.name]).inc();
                self.view.prepare(&pod.shape);
                let filters = Filters::prepare(self.view.nodes(), &pod.shape);
                let mut diagnosis = Diagnosis::of(self.view.nodes(), self.view.resources(), &filters, None);
                refused.into_iter().for_each(|(reason, count)| {
                    *diagnosis.reasons.entry(reason).or_default() += count;
                });
                let message = diagnosis.message(pod.preempts);
                self.try_later(pod, message, now, time);
            }
            Said::Nodes { left, .. } => self.choose(pod, left, decided, now, time),
        }
    }

    /// Takes the best node that still holds.
    fn choose(
        &mut self,
        pod: Waiting,
        mut left: Vec<(Arc<str>, i64)>,
        decided: Instant,
        now: Instant,
        time: Timestamp,
    ) {
        left.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        self.view.prepare(&pod.shape);
        let holds = |(name, _): &(Arc<str>, i64)| {
            let node = self.view.nodes().find(name)?;
            verify(&self.view, &pod.shape, node).is_ok().then_some(node)
        };
        match left.iter().find_map(holds) {
            // Others took their place meanwhile.
            None => self.queue.retry(pod, now),
            Some(node) => self.send_to(pod, node, decided, now, time),
        }
    }

    /// Sends a pod to its node: by way of its claims, of an extender that binds, or as everybody.
    pub(super) fn send_to(
        &mut self,
        mut pod: Waiting,
        node: NodeId,
        decided: Instant,
        now: Instant,
        time: Timestamp,
    ) {
        if self.waits_for_volumes(&mut pod, node, now, time) {
            return self.queue.retry(pod, now);
        }
        match self.outer_binder(&pod.shape) {
            None => self.propose(Proposal { pod, node, decided }, now),
            Some(extender) => self.order(pod, node, extender, decided),
        }
    }

    /// Counts a pod on its node, and lets an extender bind it there.
    fn order(&mut self, pod: Waiting, node: NodeId, extender: usize, decided: Instant) {
        self.view.assume(&pod.key, &pod.uid, node, pod.shape.clone());
        let node = self.view.nodes().name(node).clone();
        let order = BindOrder { pod: pod.key.clone(), uid: pod.uid.clone(), node, extender };
        self.asking.orders.push_back(order);
        self.asking.ordered.insert(pod.key.clone(), Ordered { pod, decided });
    }

    /// What became of an order. That it was carried out is seen in the log.
    pub fn ordered(&mut self, order: &BindOrder, failure: Option<String>, now: Instant, time: Timestamp) {
        let Some(why) = failure else { return };
        let Some(Ordered { pod, .. }) = self.asking.ordered.remove(&order.pod) else { return };
        METRICS.attempts.with_label_values(&["error", &self.options.name]).inc();
        self.view.remove_pod(&pod.key);
        self.try_later(pod, why, now, time);
    }

    /// A pod that an extender was to bind has its node.
    pub(super) fn seen_ordered(&mut self, key: &Key, node: &str, now: Instant) {
        if let Some(Ordered { pod, decided }) = self.asking.ordered.remove(key) {
            self.bound(&pod, node, decided, now);
        }
    }

    /// Whether a pod is on its way by an extender, and the same as before.
    pub(super) fn is_ordered(&self, waiting: &Waiting) -> bool {
        self.asking.ordered.get(&waiting.key).is_some_and(|ordered| ordered.pod.uid == waiting.uid)
    }

    /// What was true of extenders a moment ago need not be any more, and no change of the cluster tells.
    fn try_later(&mut self, mut pod: Waiting, message: String, now: Instant, time: Timestamp) {
        self.tell_why(&mut pod, message, now, time);
        self.queue.retry(pod, now);
    }
}
