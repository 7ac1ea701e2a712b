//! Where several replicas meet: who binds, whose pods are whose, and what the others propose.
//!
//! ```text
//!  standing ──> who binds ── another one ──> our binds go there as proposals
//!      │            └─ we do ──> our binds go to the API servers, with a guard; proposals come in:
//!      └──> whose pods are whose         known? ──> verify on its node ──> assumed, bound like our own ──> answered
//!                                          │ not yet: waits for the view
//! ```

use std::sync::Arc;

use bus::command::{Guard, Write};
use bus::proposal::{self, Answers, Proposals};

use super::*;
use crate::bind::{Batch, Bind, EARLY_LONGEST, Ticket, verify};

/// A request to send, whose answer is [`Scheduler::answered`].
#[derive(Debug)]
pub struct Request {
    /// Its number.
    pub number: u64,
    /// The pods in it, in order.
    pub keys: Vec<Key>,
    /// To whom.
    pub destination: Destination,
}

/// Who is asked to bind.
#[derive(Debug)]
pub enum Destination {
    /// The API servers, under our guard.
    ApiServers(Option<Arc<Guard>>, Vec<Write>),
    /// The replica that binds.
    Binder(String, Proposals),
}

/// The word for a replica that does not bind.
const NOT_BINDER: &str = "not-binder";
/// The word for a proposal that comes while too many wait.
const BUSY: &str = "busy";
/// The word for a pod that is on its way to a node.
const IN_FLIGHT: &str = "in-flight";
/// The word for a pod or node that we have not seen.
const NOT_SEEN: &str = "not-seen";
/// The word for a pod that must wait.
const GATED: &str = "gated";

// === impl Scheduler: among replicas ===

impl Scheduler {
    /// Who binds and who there is, from now on.
    pub fn stand(&mut self, standing: Standing, now: Instant) {
        let before = std::mem::replace(&mut self.standing, standing);
        if self.standing.leader != before.leader {
            self.begun = false;
            if before.leads() {
                self.desk
                    .close(&proposal::Answer::Unknown(model::Status::unavailable("another replica binds")));
                for pod in self.binder.give_up_proposed() {
                    self.give_back(pod);
                }
            }
            if let Some(leader) = &self.standing.leader {
                self.binder.begin(leader.since);
            }
            self.pass(self.passed, now);
        }
        if self.standing.members != before.members {
            self.replicas = Replicas::new(&self.standing.me, &self.standing.members);
            let replicas = &self.replicas;
            self.queue.divide(|pod| pod.ours && replicas.own(&pod.key), now);
            info!(replicas = replicas.count(), pods = ?self.queue.lengths(), "pods are divided anew");
        }
    }

    /// The view shows everything up to `passed`.
    pub fn pass(&mut self, passed: Revision, now: Instant) {
        self.passed = self.passed.max(passed);
        let Some(leader) = &self.standing.leader else { return };
        if !self.begun && self.passed >= leader.since {
            self.begun = true;
            let mut given_up = self.binder.give_up_earlier();
            given_up.drain(..).for_each(|pod| self.give_back(pod));
        }
        for early in self.desk.take_early() {
            match early.until <= now {
                true => self.desk.refuse(early.ticket, NOT_SEEN),
                false => self.consider(early.ticket, early.proposal, early.until, now),
            }
        }
    }

    /// Whether a write of ours was refused since somebody else binds.
    pub fn take_doubts(&mut self) -> bool {
        std::mem::take(&mut self.doubts)
    }

    /// The next request to send, if one may be sent now.
    pub fn take_request(&mut self) -> Option<Request> {
        if !self.begun {
            return None;
        }
        let leader = self.standing.leader.clone()?;
        let Batch { number, binds } = self.binder.take_batch()?;
        let keys = binds.iter().map(|bind| bind.key.clone()).collect();
        let destination = match self.standing.leads() {
            true => {
                METRICS.batch_size.observe(binds.len() as f64);
                Destination::ApiServers(self.standing.guard.clone(), binds.iter().map(Bind::write).collect())
            }
            false => {
                let items = binds.iter().map(Bind::proposal).collect();
                let (from, term) = (self.standing.me.clone(), leader.since.0);
                Destination::Binder(leader.holder, Proposals { from, term, items })
            }
        };
        Some(Request { number, keys, destination })
    }

    /// Another replica proposes nodes for pods; [`Scheduler::take_answers`] has the answers to request `number`.
    pub fn proposed(&mut self, number: u64, proposals: Proposals, now: Instant) {
        let count = proposals.items.len();
        let binds = self.standing.leads()
            && self.begun
            && self.standing.leader.as_ref().is_some_and(|leader| leader.since.0 == proposals.term);
        if !binds {
            return self.desk.turn_away(number, count, NOT_BINDER);
        }
        let Some(tickets) = self.desk.open(number, count) else {
            return self.desk.turn_away(number, count, BUSY);
        };
        for (ticket, proposal) in tickets.zip(proposals.items) {
            let until = now + EARLY_LONGEST;
            self.consider(ticket, proposal, until, now);
        }
    }

    /// The answers that are complete, by the number of the request.
    pub fn take_answers(&mut self) -> Vec<(u64, Answers)> {
        self.desk.take_answered()
    }

    /// Accepts a proposal if it holds on its node, which is judged by our own view and what is on its way.
    fn consider(&mut self, ticket: Ticket, proposal: proposal::Proposal, until: Instant, now: Instant) {
        let key = Key::object("", "pods", &proposal.namespace, &proposal.pod);
        match self.judge(&key, &proposal) {
            Judged::Holds(node) => {
                let Some(pod) = self.queue.take_this(&key, now) else { return };
                let accepted = Proposal { pod, node, decided: now };
                self.binder.follow(&mut self.view, accepted, Some(ticket));
            }
            Judged::Refused(by) => self.desk.refuse(ticket, by),
            Judged::Early => self.desk.keep(ticket, proposal, until),
        }
    }

    fn judge(&mut self, key: &Key, proposal: &proposal::Proposal) -> Judged {
        let behind = !self.synced || self.passed.0 < proposal.seen;
        let unless_behind = |word| if behind { Judged::Early } else { Judged::Refused(word) };
        if self.binder.has(key) {
            return Judged::Refused(IN_FLIGHT);
        }
        if self.binder.is_full() {
            return Judged::Refused(BUSY);
        }
        let (pod, hold) = match self.queue.find(key) {
            Some((pod, hold)) if pod.uid == proposal.uid => (pod, hold),
            _ => return unless_behind(POD_GONE),
        };
        if hold == Some(Hold::Gates) {
            return unless_behind(GATED);
        }
        let shape = pod.shape.clone();
        match self.view.nodes().find(&proposal.node) {
            Some(node) => match verify(&self.view, &shape, node) {
                Ok(()) => Judged::Holds(node),
                Err(objection) => Judged::Refused(objection.word()),
            },
            None => unless_behind("node-gone"),
        }
    }
}

enum Judged {
    Holds(NodeId),
    Refused(&'static str),
    /// Our view does not show yet what it is about.
    Early,
}

// === impl Bind ===

impl Bind {
    fn write(&self) -> Write {
        Write::Bind {
            namespace: self.key.namespace().to_owned(),
            pod: self.key.name().to_owned(),
            uid: self.uid.clone(),
            node: self.node.to_string(),
        }
    }

    fn proposal(&self) -> proposal::Proposal {
        proposal::Proposal {
            namespace: self.key.namespace().to_owned(),
            pod: self.key.name().to_owned(),
            uid: self.uid.clone(),
            seen: self.seen.0,
            node: self.node.to_string(),
        }
    }
}

/// An outcome as it is told to the replica that proposed.
pub(super) fn told(outcome: &Outcome) -> proposal::Answer {
    match outcome {
        Outcome::Done => proposal::Answer::Bound,
        Outcome::Refused(why) => proposal::Answer::Refused { by: why.word().to_owned() },
        Outcome::Unknown(status) => proposal::Answer::Unknown(status.clone()),
    }
}

#[cfg(test)]
mod tests;
