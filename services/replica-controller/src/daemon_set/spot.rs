//! One node of a set: which of its pods stay, whether one is missing. Pure.

use k8s_openapi::jiff::Timestamp;

use super::demand::Verdict;
use crate::observe::{DaemonPod, DaemonSet, Phase};

/// A node, and the set's pods on it.
#[derive(Debug)]
pub struct Spot<'a> {
    /// The node's name.
    pub node: &'a str,
    /// What the set makes of the node; `None` if there is no such node.
    pub verdict: Option<Verdict>,
    /// The pods, the one that came first before the others.
    pub pods: Vec<&'a DaemonPod>,
}

/// What a pod is judged by, wherever it is.
#[derive(Clone, Copy)]
pub struct Measure<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// Whether a hash is one of the present template.
    pub is_present: &'a dyn Fn(&str) -> bool,
    /// Whether a new pod may come beside an old one.
    pub surges: bool,
    /// Until when failed pods on a node stay.
    pub held: &'a dyn Fn(&str) -> Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done on a node.
#[derive(Debug, Default, PartialEq)]
pub struct Todo<'a> {
    /// A pod is to come.
    pub create: bool,
    /// These are to go.
    pub delete: Vec<&'a DaemonPod>,
    /// Those of them that ended by themselves.
    pub ended: Vec<&'a DaemonPod>,
    /// A failed pod stays until then.
    pub again_at: Option<Timestamp>,
}

/// The pods on a node that are not on their way out; those that are only hold their place.
pub struct Living<'a> {
    /// Of the present template.
    pub new: Option<&'a DaemonPod>,
    /// Of an older one.
    pub old: Option<&'a DaemonPod>,
}

// === impl Measure ===

impl Measure<'_> {
    /// Whether a pod is of the present template.
    pub fn is_new(&self, pod: &DaemonPod) -> bool {
        (self.is_present)(pod.hash())
    }

    /// Whether it has served for long enough.
    pub fn is_available(&self, pod: &DaemonPod) -> bool {
        pod.pod.is_available(self.set.min_ready_seconds, self.now)
    }
}

// === impl Spot ===

impl<'a> Spot<'a> {
    /// A node with pods in any order.
    pub fn new(node: &'a str, verdict: Option<Verdict>, mut pods: Vec<&'a DaemonPod>) -> Self {
        pods.sort_by_key(|pod| (!pod.has_node(), pod.pod.created, &pod.pod.name));
        Spot { node, verdict, pods }
    }

    /// Whether a pod is to be here.
    pub fn is_wanted(&self) -> bool {
        self.verdict == Some(Verdict::Run)
    }

    /// Whether a pod is here and may be.
    pub fn is_borne(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Run | Verdict::Stay)) && !self.pods.is_empty()
    }

    /// What is to be done so that there is one pod, or none.
    pub fn todo(&self, measure: &Measure<'_>) -> Todo<'a> {
        match self.verdict {
            Some(Verdict::Run) if self.pods.is_empty() => Todo { create: true, ..Todo::default() },
            Some(Verdict::Run | Verdict::Stay) => self.keep_one(measure),
            Some(Verdict::Leave) => Todo { delete: self.living().collect(), ..Todo::default() },
            // The node is gone: what waits for it waits in vain, and what was on it goes with it.
            None => Todo { delete: self.living().filter(|pod| !pod.has_node()).collect(), ..Todo::default() },
        }
    }

    /// The newest and the old pod; `None` while there are more than one of either.
    pub fn pair(&self, measure: &Measure<'_>) -> Option<Living<'a>> {
        let (mut new, mut old) = (None, None);
        for pod in self.living() {
            let place = if measure.is_new(pod) { &mut new } else { &mut old };
            if place.replace(pod).is_some() {
                return None;
            }
        }
        Some(Living { new, old })
    }

    fn living(&self) -> impl Iterator<Item = &'a DaemonPod> {
        self.pods.iter().copied().filter(|pod| !pod.pod.deleting)
    }

    fn keep_one(&self, measure: &Measure<'_>) -> Todo<'a> {
        let mut todo = Todo::default();
        let mut alive = Vec::new();
        for pod in self.living() {
            match pod.pod.phase {
                Phase::Failed => match (measure.held)(self.node) {
                    Some(until) => todo.again_at = Some(until),
                    None => todo.ended.push(pod),
                },
                Phase::Succeeded => todo.ended.push(pod),
                _ => alive.push(pod),
            }
        }
        todo.delete.clone_from(&todo.ended);
        match measure.surges {
            // The one that came first stays.
            false => todo.delete.extend(alive.into_iter().skip(1)),
            true => todo.delete.extend(beyond_a_pair(&alive, measure)),
        }
        todo
    }
}

/// With a surge there may be an old pod and a new one; the old one goes when the new one serves, or it itself does not.
fn beyond_a_pair<'a>(alive: &[&'a DaemonPod], measure: &Measure<'_>) -> Vec<&'a DaemonPod> {
    let (mut new, mut old, mut beyond) = (None, None, Vec::new());
    for pod in alive {
        let place = if measure.is_new(pod) { &mut new } else { &mut old };
        match place {
            None => *place = Some(*pod),
            Some(_) => beyond.push(*pod),
        }
    }
    if let (Some(new), Some(old)) = (new, old)
        && (!old.pod.is_ready() || measure.is_available(new))
    {
        beyond.push(old);
    }
    beyond
}
