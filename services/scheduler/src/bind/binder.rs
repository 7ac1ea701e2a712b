//! The binder: accepts proposals that hold, packs them, and follows each until the view shows it.
//!
//! Where another replica binds, this one does the same with what it sends there: to propose is to bind at one remove.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bus::command::{Reply, is_deposed};
use bus::proposal;
use model::{Key, Reason, Revision, Status};
use tokio::time::Instant;

use super::desk::Ticket;
use super::verify::{Objection, verify};
use crate::observe::{NodeId, View};
use crate::queue::Waiting;

/// A pod and the node that was chosen for it.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The pod.
    pub pod: Waiting,
    /// The node.
    pub node: NodeId,
    /// When the decision began.
    pub decided: Instant,
}

/// Binds that travel in one request.
#[derive(Debug)]
pub struct Batch {
    /// Its number, for the answer.
    pub number: u64,
    /// The pods with their nodes.
    pub binds: Vec<Bind>,
}

/// A node for a pod, to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The pod.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// The revision of the pod that was decided about.
    pub seen: Revision,
    /// The node's name.
    pub node: Arc<str>,
}

/// What whoever was asked says of a bind.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The pod has its node.
    Done,
    /// It has no effect.
    Refused(Why),
    /// Nobody can say.
    Unknown(Status),
}

/// Why a bind has no effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The API servers say no.
    ApiServer(Status),
    /// Another replica binds since.
    Deposed,
    /// The replica that binds says no: its word for it.
    Binder(String),
}

/// What became of a bind.
#[derive(Debug)]
pub struct Answer {
    /// The pod.
    pub pod: Waiting,
    /// The node's name.
    pub node: Arc<str>,
    /// When the decision began.
    pub decided: Instant,
    /// Where another replica waits for the answer.
    pub asker: Option<Ticket>,
    /// What it is. Unknown leaves it on its way: the view will show it, or time will.
    pub outcome: Outcome,
}

/// What is on its way.
#[derive(Debug, Default)]
pub struct Binder {
    flights: HashMap<Key, Flight>,
    ready: VecDeque<Key>,
    /// Binds whose answer was lost, by when they can have no effect any more; with some that were seen since.
    lost: VecDeque<(Instant, Key)>,
    /// Requests on their way.
    requests: HashSet<u64>,
    numbered: u64,
    /// Who binds has done so since then.
    term: Revision,
}

#[derive(Debug)]
struct Flight {
    pod: Waiting,
    node: Arc<str>,
    decided: Instant,
    asker: Option<Ticket>,
    state: State,
    /// In which term it was sent.
    term: Revision,
    /// Whether it was seen again after the view was started anew.
    kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Accepted; goes with the next batch.
    Ready,
    /// On its way, in the request of this number.
    Sent(u64),
    /// Done; the view will show it.
    Done,
    /// Its answer was lost. The view may show it, but not later than what happens until then.
    Lost(Instant),
}

/// Requests on their way at a time: enough to keep the API servers' group commit filled.
const BATCHES_MAX: usize = 8;
/// Binds in one request: well below a frame's bound of items, so that answers come back in a steady stream.
const BATCH_MAX: usize = proposal::PROPOSALS_MAX;
/// Accepted binds that wait for a request; decisions pause beyond it, because they would only grow stale.
const READY_MAX: usize = 4_000;
/// A bind whose answer was lost may take effect until its request's deadline of 10 seconds has passed, and a little
/// later for clocks that differ.
const LOST_LONGEST: Duration = Duration::from_secs(15);

// === impl Binder ===

impl Binder {
    /// Accepts a proposal of our own if it holds, and counts the pod on its node from now on.
    pub fn accept(&mut self, view: &mut View, proposal: Proposal) -> Result<(), (Waiting, Objection)> {
        match verify(view, &proposal.pod.shape, proposal.node) {
            Ok(()) => {
                self.follow(view, proposal, None);
                Ok(())
            }
            Err(objection) => Err((proposal.pod, objection)),
        }
    }

    /// Counts a pod on its node from now on, and sends it there with the next request.
    pub fn follow(&mut self, view: &mut View, proposal: Proposal, asker: Option<Ticket>) {
        let Proposal { pod, node, decided } = proposal;
        view.assume(&pod.key, &pod.uid, node, pod.shape.clone());
        let key = pod.key.clone();
        let node = view.nodes().name(node).clone();
        self.ready.push_back(key.clone());
        let (state, term) = (State::Ready, self.term);
        self.flights.insert(key, Flight { pod, node, decided, asker, state, term, kept: true });
    }

    /// Whether decisions are to pause.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= READY_MAX
    }

    /// The next request to send, if one may be sent now.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.requests.len() >= BATCHES_MAX {
            return None;
        }
        let number = self.numbered + 1;
        let mut binds = Vec::new();
        while binds.len() < BATCH_MAX {
            let Some(key) = self.ready.pop_front() else { break };
            // Those that are gone, or that others have bound, are passed over.
            let Some(flight) = self.flights.get_mut(&key).filter(|flight| flight.state == State::Ready)
            else {
                continue;
            };
            (flight.state, flight.term) = (State::Sent(number), self.term);
            let (uid, seen, node) = (flight.pod.uid.clone(), flight.pod.seen, flight.node.clone());
            binds.push(Bind { key, uid, seen, node });
        }
        if binds.is_empty() {
            return None;
        }
        self.numbered = number;
        self.requests.insert(number);
        Some(Batch { number, binds })
    }

    /// A request came to its end.
    pub fn batch_ended(&mut self, number: u64) {
        self.requests.remove(&number);
    }

    /// What the answer to a request says of a pod. `None` for one that is not followed any more.
    pub fn answered(&mut self, number: u64, key: &Key, outcome: Outcome, now: Instant) -> Option<Answer> {
        let flight = self.flights.get_mut(key).filter(|flight| flight.state == State::Sent(number))?;
        match outcome {
            Outcome::Done => {
                flight.state = State::Done;
                Some(flight.answer(outcome))
            }
            Outcome::Refused(_) => self.flights.remove(key).map(|flight| flight.ended(outcome)),
            Outcome::Unknown(_) => {
                let until = now + LOST_LONGEST;
                flight.state = State::Lost(until);
                self.lost.push_back((until, key.clone()));
                Some(flight.answer(outcome))
            }
        }
    }

    /// The view shows the pod on a node. Tells of it if no answer did.
    pub fn seen(&mut self, key: &Key, node: &str) -> Option<Answer> {
        let flight = self.flights.remove(key).filter(|flight| flight.state != State::Done)?;
        let outcome = match &*flight.node == node {
            true => Outcome::Done,
            false => Outcome::Refused(Why::Binder(HAS_NODE.to_owned())),
        };
        Some(flight.ended(outcome))
    }

    /// The pod is gone; where another replica waits to hear of it.
    pub fn gone(&mut self, key: &Key) -> Option<Ticket> {
        self.flights.remove(key)?.asker
    }

    /// Whether the pod is on its way to a node.
    pub fn has(&self, key: &Key) -> bool {
        self.flights.contains_key(key)
    }

    /// Another one binds, or we do: what was sent to the one before has effect only if the view shows it once it has
    /// passed `term`. What is not sent yet goes to the new one.
    pub fn begin(&mut self, term: Revision) {
        self.term = term;
        self.requests.clear();
    }

    /// The view has passed the beginning of the term: what was sent in an earlier one and is not shown has had no
    /// effect, and can have none.
    pub fn give_up_earlier(&mut self) -> Vec<Waiting> {
        let term = self.term;
        let is_over =
            |flight: &Flight| flight.term < term && matches!(flight.state, State::Sent(_) | State::Lost(_));
        self.take_where(is_over)
    }

    /// What others have proposed and was not sent yet, since they propose it to another one now.
    pub fn give_up_proposed(&mut self) -> Vec<Waiting> {
        self.take_where(|flight| flight.asker.is_some() && flight.state == State::Ready)
    }

    fn take_where(&mut self, is_over: impl Fn(&Flight) -> bool) -> Vec<Waiting> {
        let over = self.flights.extract_if(|_, flight| is_over(flight));
        let mut pods: Vec<Waiting> = over.map(|(_, flight)| flight.pod).collect();
        pods.sort_by_key(|pod| pod.seen);
        pods
    }

    /// Binds that have had no effect, and cannot have any now: their answers were lost, their time is over, and the
    /// view shows everything that happened until `seen_until`.
    pub fn give_up(&mut self, seen_until: Instant) -> Vec<Waiting> {
        let mut without_effect = Vec::new();
        while let Some((until, key)) = self.lost.pop_front_if(|(until, _)| *until <= seen_until) {
            if self.flights.get(&key).is_some_and(|flight| flight.state == State::Lost(until)) {
                without_effect.extend(self.flights.remove(&key).map(|flight| flight.pod));
            }
        }
        without_effect
    }

    /// When to make sure that the view shows everything, and then [`Binder::give_up`].
    pub fn next_lost(&self) -> Option<Instant> {
        self.lost.front().map(|(until, _)| *until)
    }

    /// The view starts anew: what is on its way must be counted again, or is gone.
    pub fn view_is_lost(&mut self) {
        self.flights.values_mut().for_each(|flight| flight.kept = false);
    }

    /// The view shows a pod that is on its way, and perhaps changed: should its bind be refused, the next decision
    /// knows. In a new view it counts on its node again. Returns false for another pod of that name.
    pub fn keep(&mut self, pod: &Waiting, view: &mut View) -> bool {
        let known = self.flights.get_mut(&pod.key).filter(|flight| flight.pod.uid == pod.uid);
        let Some(flight) = known else { return false };
        if !flight.kept {
            flight.kept = true;
            if let Some(row) = view.nodes().find(&flight.node) {
                view.assume(&pod.key, &pod.uid, row, pod.shape.clone());
            }
        }
        (flight.pod.shape, flight.pod.seen) = (pod.shape.clone(), pod.seen);
        true
    }

    /// The new view is complete: pods that it did not show are gone. Where other replicas wait to hear of them.
    pub fn view_is_complete(&mut self) -> Vec<Ticket> {
        let gone = self.flights.extract_if(|_, flight| !flight.kept);
        gone.filter_map(|(_, flight)| flight.asker).collect()
    }
}

/// The word for a pod that others gave another node.
const HAS_NODE: &str = "has-node";

// === impl Flight ===

impl Flight {
    fn answer(&self, outcome: Outcome) -> Answer {
        let Flight { pod, node, decided, asker, .. } = self;
        Answer { pod: pod.clone(), node: node.clone(), decided: *decided, asker: *asker, outcome }
    }

    fn ended(self, outcome: Outcome) -> Answer {
        let Flight { pod, node, decided, asker, .. } = self;
        Answer { pod, node, decided, asker, outcome }
    }
}

// === impl Outcome ===

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        match reply {
            Ok(_) => Outcome::Done,
            Err(status) if is_deposed(&status) => Outcome::Refused(Why::Deposed),
            Err(status) if is_final(&status) => Outcome::Refused(Why::ApiServer(status)),
            Err(status) => Outcome::Unknown(status),
        }
    }
}

impl From<proposal::Answer> for Outcome {
    fn from(answer: proposal::Answer) -> Outcome {
        match answer {
            proposal::Answer::Bound => Outcome::Done,
            proposal::Answer::Refused { by } => Outcome::Refused(Why::Binder(by)),
            proposal::Answer::Unknown(status) => Outcome::Unknown(status),
        }
    }
}

// === impl Why ===

impl Why {
    /// One word for metrics and for whoever proposed it.
    pub fn word(&self) -> &str {
        match self {
            Why::ApiServer(_) => "api-server",
            Why::Deposed => "not-binder",
            Why::Binder(word) => word,
        }
    }
}

/// Whether a refusal says that nothing was done and nothing will be.
fn is_final(status: &Status) -> bool {
    !matches!(status.reason, Reason::Timeout | Reason::ServiceUnavailable | Reason::InternalError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::shape::Needs;
    use crate::observe::{Amounts, Node, Shape};

    struct Bench {
        view: View,
        binder: Binder,
        now: Instant,
    }

    impl Bench {
        /// One node with 100 of cpu.
        fn new() -> Self {
            let mut view = View::default();
            let allocatable = Amounts { cpu: 100, ..Amounts::default() };
            view.put_node("n", Node { allocatable, pods: 10, ..Node::default() });
            Bench { view, binder: Binder::default(), now: Instant::now() }
        }

        fn shape(&mut self, cpu: i64) -> Shape {
            self.view.intern(Needs { requests: Amounts { cpu, ..Amounts::default() }, ..Needs::default() })
        }

        fn propose(&mut self, name: &str, cpu: i64) -> Result<(), Objection> {
            let pod = self.waiting(name, name, cpu);
            let node = self.view.nodes().find("n").unwrap_or(NodeId::new(0));
            let proposal = Proposal { pod, node, decided: self.now };
            self.binder.accept(&mut self.view, proposal).map_err(|(_, objection)| objection)
        }

        fn send(&mut self) -> Vec<String> {
            let batch = self.binder.take_batch();
            batch.iter().flat_map(|batch| &batch.binds).map(|bind| bind.key.name().to_owned()).collect()
        }

        /// What the answer to the last request says of a pod.
        fn answer(&mut self, name: &str, outcome: Outcome) -> Option<Answer> {
            self.binder.answered(self.binder.numbered, &key(name), outcome, self.now)
        }

        fn waiting(&mut self, name: &str, uid: &str, cpu: i64) -> Waiting {
            let shape = self.shape(cpu);
            Waiting::new(key(name), uid.to_owned(), shape, 0, self.now)
        }
    }

    fn key(name: &str) -> Key {
        Key::object("", "pods", "default", name)
    }

    #[test]
    fn room_is_given_once_however_many_ask_before_it_is_seen() {
        let mut bench = Bench::new();
        assert_eq!(bench.propose("a", 60), Ok(()));
        assert!(matches!(bench.propose("b", 60), Err(Objection::Refused(_))));
        assert_eq!(bench.propose("c", 40), Ok(()));
        assert_eq!(bench.send(), ["a", "c"]);
        assert!(bench.send().is_empty());
    }

    #[test]
    fn a_node_that_is_gone_takes_nobody() {
        let mut bench = Bench::new();
        bench.view.remove_node("n");
        assert_eq!(bench.propose("a", 1), Err(Objection::NodeGone));
    }

    #[test]
    fn a_bind_is_told_once_whether_the_answer_or_the_view_comes_first() {
        let mut bench = Bench::new();
        for (name, answer_first) in [("a", true), ("b", false)] {
            bench.propose(name, 10).expect("there is room");
            bench.send();
            let mut told = 0;
            let mut tell = |answer: Option<Answer>| {
                told += usize::from(answer.is_some_and(|answer| answer.outcome == Outcome::Done));
            };
            if answer_first {
                tell(bench.answer(name, Outcome::Done));
                tell(bench.binder.seen(&key(name), "n"));
            } else {
                tell(bench.binder.seen(&key(name), "n"));
                tell(bench.answer(name, Outcome::Done));
            }
            assert_eq!((told, bench.binder.has(&key(name))), (1, false));
        }
    }

    #[test]
    fn a_refused_bind_gives_the_pod_back_and_a_lost_answer_does_so_later() {
        let mut bench = Bench::new();
        bench.propose("a", 10).expect("there is room");
        bench.propose("b", 10).expect("there is room");
        bench.send();
        let no = Outcome::from(Err(Status::conflict("", "pods", "a", "bound")));
        let refused = bench.answer("a", no).expect("it was on its way");
        assert!(matches!(refused.outcome, Outcome::Refused(Why::ApiServer(_))));
        assert!(!bench.binder.has(&key("a")));
        let lost =
            bench.answer("b", Outcome::from(Err(Status::unavailable("no answer")))).expect("it was too");
        assert!(matches!(lost.outcome, Outcome::Unknown(_)));
        assert!(bench.binder.give_up(bench.now).is_empty());
        let late = bench.binder.next_lost().expect("it is lost");
        assert_eq!(bench.binder.give_up(late).len(), 1);
        assert!(!bench.binder.has(&key("b")));
    }

    #[test]
    fn a_view_that_starts_anew_counts_again_what_is_on_its_way() {
        let mut bench = Bench::new();
        bench.propose("a", 60).expect("there is room");
        bench.propose("gone", 10).expect("there is room");
        let fresh = Bench::new();
        bench.view = fresh.view;
        bench.binder.view_is_lost();
        let (same, another) = (bench.waiting("a", "a", 60), bench.waiting("a", "another", 60));
        assert!(bench.binder.keep(&same, &mut bench.view));
        assert!(!bench.binder.keep(&another, &mut bench.view));
        bench.binder.view_is_complete();
        assert!(bench.binder.has(&key("a")) && !bench.binder.has(&key("gone")));
        assert!(matches!(bench.propose("b", 60), Err(Objection::Refused(_))));
    }

    #[test]
    fn what_was_sent_to_an_earlier_binder_is_given_up_and_what_was_not_goes_to_the_next() {
        let mut bench = Bench::new();
        bench.propose("sent", 10).expect("there is room");
        bench.send();
        bench.propose("ready", 10).expect("there is room");
        bench.binder.begin(Revision(7));
        let given_up = bench.binder.give_up_earlier();
        assert_eq!(given_up.iter().map(|pod| pod.key.name()).collect::<Vec<_>>(), ["sent"]);
        assert_eq!(bench.send(), ["ready"]);
        // The earlier answer comes late, to a pod that was sent again since.
        bench.view.remove_pod(&key("sent"));
        bench.propose("sent", 10).expect("there is room");
        bench.send();
        assert!(bench.binder.answered(1, &key("sent"), Outcome::Done, bench.now).is_none());
    }
}
