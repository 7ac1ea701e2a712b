//! What became of the pods, seen where every service sees it: in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::{Follower, Observed};
use model::{Class, Key};
use serde::Deserialize;
use store::Store;
use tokio::sync::watch;

use crate::measure::Latencies;

/// How many pods have come how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that are Ready.
    pub ready_nodes: usize,
    /// Pods that are there.
    pub pods: usize,
    /// Of them, those that have a node.
    pub bound: usize,
    /// Of them, those that are Ready.
    pub running: usize,
    /// Binds since the start: of pods that are gone, too.
    pub binds: usize,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since the start.
    pub at: Duration,
    /// The pods then.
    pub counts: Counts,
}

/// Follows the log and counts.
pub struct Course {
    counts: watch::Receiver<Counts>,
    latencies: Arc<Mutex<Spans>>,
    following: tokio::task::JoinHandle<()>,
}

/// From a pod's creation to …
#[derive(Default)]
pub struct Spans {
    /// … its node.
    pub bound: Latencies,
    /// … being Ready.
    pub running: Latencies,
}

/// One pod's way.
#[derive(Clone, Copy)]
struct Way {
    since: Instant,
    bound: bool,
    running: bool,
}

#[derive(Default)]
struct Tally {
    counts: Counts,
    pods: HashMap<Key, Way>,
    nodes: HashMap<Key, bool>,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

/// What the course is about.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Nodes];

// === impl Course ===

impl Course {
    /// Starts to follow.
    pub fn follow(store: Store) -> Self {
        let (sender, counts) = watch::channel(Counts::default());
        let latencies = Arc::new(Mutex::new(Spans::default()));
        let spans = Arc::clone(&latencies);
        let following = tokio::spawn(async move {
            let mut follower = Follower::new(store, &[("", "pods"), ("", "nodes")]);
            let mut tally = Tally::default();
            loop {
                let told = follower.next().await;
                let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
                told.iter().for_each(|one| tally.take_in(one, &mut spans));
                sender.send_if_modified(|known| std::mem::replace(known, tally.counts) != tally.counts);
            }
        });
        Course { counts, latencies, following }
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub async fn until(&self, wanted: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.clone();
        let reached = counts.wait_for(|counts| wanted(counts)).await;
        reached.map(|counts| *counts).unwrap_or_default()
    }

    /// The latencies since the last call.
    pub fn take_spans(&self) -> Spans {
        std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.following.abort();
    }
}

// === impl Tally ===

impl Tally {
    fn take_in(&mut self, observed: &Observed, spans: &mut Spans) {
        match observed {
            // Only before the first change: nobody starts a load on a log with pods in it.
            Observed::Reset | Observed::Synced => {}
            Observed::Put(item) if item.key.resource() == "nodes" => {
                let is_ready = seen(&item.value).is_some_and(|node| node.is_ready());
                self.nodes.insert(item.key.clone(), is_ready);
                self.counts.ready_nodes = self.nodes.values().filter(|ready| **ready).count();
            }
            Observed::Put(item) => self.take_in_pod(&item.key, &item.value, spans),
            Observed::Delete { key, .. } => {
                self.nodes.remove(key);
                if let Some(way) = self.pods.remove(key) {
                    self.counts.pods -= 1;
                    self.counts.bound -= usize::from(way.bound);
                    self.counts.running -= usize::from(way.running);
                }
            }
        }
    }

    fn take_in_pod(&mut self, key: &Key, json: &[u8], spans: &mut Spans) {
        let Some(pod) = seen(json) else { return };
        let counts = &mut self.counts;
        let way = self.pods.entry(key.clone()).or_insert_with(|| {
            counts.pods += 1;
            Way { since: Instant::now(), bound: false, running: false }
        });
        if !way.bound && pod.spec.node_name.is_some() {
            way.bound = true;
            counts.bound += 1;
            counts.binds += 1;
            spans.bound.add(way.since.elapsed());
        }
        if pod.is_ready() != way.running {
            way.running = !way.running;
            if way.running {
                counts.running += 1;
                spans.running.add(way.since.elapsed());
            } else {
                counts.running -= 1;
            }
        }
    }
}

fn seen(json: &[u8]) -> Option<Seen> {
    serde_json::from_slice(json).ok()
}

impl Seen {
    fn is_ready(&self) -> bool {
        self.status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True")
    }
}

/// Looks at the course at even times until it is dropped.
pub struct Recording {
    moments: Arc<Mutex<Vec<Moment>>>,
    looking: tokio::task::JoinHandle<()>,
}

/// Between two looks: ten points a second show the shape of a run of seconds.
const LOOK: Duration = Duration::from_millis(100);

// === impl Recording ===

impl Recording {
    /// Starts to look.
    pub fn start(course: &Course) -> Self {
        let (counts, began) = (course.counts.clone(), Instant::now());
        let moments = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&moments);
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                let moment = Moment { at: began.elapsed(), counts: *counts.borrow() };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
            }
        });
        Recording { moments, looking }
    }

    /// What was seen.
    pub fn end(self) -> Vec<Moment> {
        self.looking.abort();
        std::mem::take(&mut *self.moments.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Binds in each whole second of the run.
pub fn binds_per_second(moments: &[Moment]) -> Vec<usize> {
    let mut rates = Vec::new();
    let mut before = 0;
    for second in 1.. {
        let end = Duration::from_secs(second);
        let Some(at_end) = moments.iter().find(|moment| moment.at >= end) else { break };
        rates.push(at_end.counts.binds - before);
        before = at_end.counts.binds;
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_counted_by_whole_seconds() {
        let moment = |millis, binds| Moment {
            at: Duration::from_millis(millis),
            counts: Counts { binds, ..Counts::default() },
        };
        let moments =
            [moment(0, 0), moment(500, 40), moment(1_000, 100), moment(2_010, 250), moment(2_500, 300)];
        assert_eq!(binds_per_second(&moments), [100, 150]);
    }
}
