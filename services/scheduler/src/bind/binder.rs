//! The binder: accepts proposals that hold, packs them, and follows each until the view shows it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bus::command::{Reply, Write};
use model::{Key, Reason, Status};
use tokio::time::Instant;

use super::verify::{Objection, verify};
use crate::observe::{NodeId, Shape, View};
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
    /// The pods, in the order of the writes.
    pub keys: Vec<Key>,
    /// A [`Write::Bind`] for each.
    pub writes: Vec<Write>,
}

/// What became of a bind.
#[derive(Debug)]
pub enum Answer {
    /// The pod has its node.
    Bound {
        /// The pod.
        pod: Waiting,
        /// The node's name.
        node: Arc<str>,
        /// When the decision began.
        decided: Instant,
    },
    /// It was refused and has no effect; the pod is to be decided about again.
    Refused(Waiting, Status),
    /// Nobody can say yet: the view will show it, or time will.
    Unknown(Status),
}

/// What is on its way.
#[derive(Debug, Default)]
pub struct Binder {
    flights: HashMap<Key, Flight>,
    ready: VecDeque<Key>,
    /// Binds whose answer was lost, by when they can have no effect any more; with some that were seen since.
    lost: VecDeque<(Instant, Key)>,
    batches: usize,
}

#[derive(Debug)]
struct Flight {
    pod: Waiting,
    node: Arc<str>,
    decided: Instant,
    state: State,
    /// Whether it was seen again after the view was started anew.
    kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Accepted; goes with the next batch.
    Ready,
    /// On its way.
    Sent,
    /// Done; the view will show it.
    Done,
    /// Its answer was lost. The view may show it, but not later than what happens until then.
    Lost(Instant),
}

/// Requests on their way at a time: enough to keep the API servers' group commit filled.
const BATCHES_MAX: usize = 8;
/// Binds in one request: well below a frame's bound of items, so that answers come back in a steady stream.
const BATCH_MAX: usize = 500;
/// Accepted binds that wait for a request; decisions pause beyond it, because they would only grow stale.
const READY_MAX: usize = 4_000;
/// A bind whose answer was lost may take effect until its request's deadline of 10 seconds has passed, and a little
/// later for clocks that differ.
const LOST_LONGEST: Duration = Duration::from_secs(15);

// === impl Binder ===

impl Binder {
    /// Accepts a proposal if it holds, and counts the pod on its node from now on.
    pub fn accept(&mut self, view: &mut View, proposal: Proposal) -> Result<(), (Waiting, Objection)> {
        let Proposal { pod, node, decided } = proposal;
        if let Err(objection) = verify(view, &pod.shape, node) {
            return Err((pod, objection));
        }
        view.assume(&pod.key, &pod.uid, node, pod.shape.clone());
        let key = pod.key.clone();
        let name = view.nodes().name(node).clone();
        self.ready.push_back(key.clone());
        self.flights.insert(key, Flight { pod, node: name, decided, state: State::Ready, kept: true });
        Ok(())
    }

    /// Whether decisions are to pause.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= READY_MAX
    }

    /// The next request to send, if one may be sent now.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.batches >= BATCHES_MAX {
            return None;
        }
        let mut batch = Batch { keys: Vec::new(), writes: Vec::new() };
        while batch.keys.len() < BATCH_MAX {
            let Some(key) = self.ready.pop_front() else { break };
            // Those that are gone, or that others have bound, are passed over.
            let Some(flight) = self.flights.get_mut(&key).filter(|flight| flight.state == State::Ready)
            else {
                continue;
            };
            flight.state = State::Sent;
            batch.writes.push(Write::Bind {
                namespace: key.namespace().to_owned(),
                pod: key.name().to_owned(),
                uid: flight.pod.uid.clone(),
                node: flight.node.to_string(),
            });
            batch.keys.push(key);
        }
        self.batches += usize::from(!batch.keys.is_empty());
        (!batch.keys.is_empty()).then_some(batch)
    }

    /// A request came to its end.
    pub fn batch_ended(&mut self) {
        self.batches -= 1;
    }

    /// What a reply means. `None` for a pod that is not followed any more.
    pub fn answered(&mut self, key: &Key, reply: Reply, now: Instant) -> Option<Answer> {
        let flight = self.flights.get_mut(key).filter(|flight| flight.state == State::Sent)?;
        match reply {
            Ok(_) => {
                flight.state = State::Done;
                let Flight { pod, node, decided, .. } = &*flight;
                Some(Answer::Bound { pod: pod.clone(), node: node.clone(), decided: *decided })
            }
            Err(status) if is_final(&status) => {
                self.flights.remove(key).map(|flight| Answer::Refused(flight.pod, status))
            }
            Err(status) => {
                let until = now + LOST_LONGEST;
                flight.state = State::Lost(until);
                self.lost.push_back((until, key.clone()));
                Some(Answer::Unknown(status))
            }
        }
    }

    /// The view shows the pod on a node. Tells of it if no answer did.
    pub fn seen(&mut self, key: &Key, node: &str) -> Option<Answer> {
        let Flight { pod, node: chosen, decided, state, .. } = self.flights.remove(key)?;
        (state != State::Done && &*chosen == node).then_some(Answer::Bound { pod, node: chosen, decided })
    }

    /// The pod is gone.
    pub fn gone(&mut self, key: &Key) {
        self.flights.remove(key);
    }

    /// Whether the pod is on its way to a node.
    pub fn has(&self, key: &Key) -> bool {
        self.flights.contains_key(key)
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
    pub fn keep(&mut self, key: &Key, uid: &str, shape: Shape, view: &mut View) -> bool {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| flight.pod.uid == uid) else {
            return false;
        };
        if !flight.kept {
            flight.kept = true;
            if let Some(row) = view.nodes().find(&flight.node) {
                view.assume(key, uid, row, shape.clone());
            }
        }
        flight.pod.shape = shape;
        true
    }

    /// The new view is complete: pods that it did not show are gone.
    pub fn view_is_complete(&mut self) {
        self.flights.retain(|_, flight| flight.kept);
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
    use bus::command::Stored;

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
            let shape = self.shape(cpu);
            let pod = Waiting::new(key(name), name.to_owned(), shape, 0, self.now);
            let node = self.view.nodes().find("n").unwrap_or(NodeId::new(0));
            let proposal = Proposal { pod, node, decided: self.now };
            self.binder.accept(&mut self.view, proposal).map_err(|(_, objection)| objection)
        }

        fn send(&mut self) -> Vec<String> {
            let batch = self.binder.take_batch();
            batch.iter().flat_map(|batch| &batch.keys).map(|key| key.name().to_owned()).collect()
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
            let mut tell =
                |answer: Option<Answer>| told += usize::from(matches!(answer, Some(Answer::Bound { .. })));
            if answer_first {
                tell(bench.binder.answered(&key(name), Ok(Stored::default()), bench.now));
                tell(bench.binder.seen(&key(name), "n"));
            } else {
                tell(bench.binder.seen(&key(name), "n"));
                tell(bench.binder.answered(&key(name), Ok(Stored::default()), bench.now));
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
        let refused =
            bench.binder.answered(&key("a"), Err(Status::conflict("", "pods", "a", "bound")), bench.now);
        assert!(matches!(refused, Some(Answer::Refused(pod, _)) if pod.key == key("a")));
        let lost = bench.binder.answered(&key("b"), Err(Status::unavailable("no answer")), bench.now);
        assert!(matches!(lost, Some(Answer::Unknown(_))));
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
        let shape = bench.shape(60);
        assert!(bench.binder.keep(&key("a"), "a", shape.clone(), &mut bench.view));
        assert!(!bench.binder.keep(&key("a"), "another", shape, &mut bench.view));
        bench.binder.view_is_complete();
        assert!(bench.binder.has(&key("a")) && !bench.binder.has(&key("gone")));
        assert!(matches!(bench.propose("b", 60), Err(Objection::Refused(_))));
    }
}
