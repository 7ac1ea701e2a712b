//! The driver of every controller: observe, decide, act.
//!
//! ```text
//!             ┌──────────── view has passed the key's writes ───────────┐
//!             v                                                         │
//!  Observed ─> observe ─> queue ─> decide ─> Decision ─> act (writer) ──┤
//!                           ^                                           │
//!                           └───── failed: later and later ─────────────┘
//! ```
//! Of several replicas the one that leads decides. The others observe, and keep the keys that they would decide about,
//! so that whoever takes over begins with a warm view. It begins once its view has passed its own fence, and with it
//! everything that the one before it has done.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::LazyLock;
use std::time::Duration;

use bus::command::{Reply, Write, is_deposed};
use k8s_openapi::jiff::Timestamp;
use model::{Reason, Revision, Trace};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};
use runtime::Shutdown;
use store::Store;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, warn};

use crate::events::{Note, Recorder};
use crate::follow::{Follower, Observed};
use crate::leader::{Leadership, Standing};
use crate::queue::WorkQueue;
use crate::woken::{self, Woken};
use crate::writer::Writer;

/// Keys that are acted upon at the same time: enough to keep the API servers' group commit filled.
const CONCURRENCY: usize = 64;
/// Writes of Events that may be on their way; more are not told, for they would only pile up behind a slow bus.
const TELLINGS: usize = 256;
/// A write that never shows up in our view (a lost answer, a deleted namespace) must not hold its key for ever.
const PASS_PATIENCE: Duration = Duration::from_secs(5);
/// Keys that are kept while others lead. Beyond it they are those of objects long gone, and the whole state is told
/// again instead when it is our turn.
const STANDBY_MAX: usize = 100_000;

/// What is to be done about a key, and why.
#[derive(Debug, Default)]
pub struct Decision {
    /// Carried out independently of each other.
    pub writes: Vec<Write>,
    /// Told as Events.
    pub notes: Vec<Note>,
    /// Decide again after this long, whatever happens.
    pub again_after: Option<Duration>,
    /// For the log: why this, or why nothing.
    pub reason: &'static str,
}

/// A controller: a view of some collections, and a pure decision about a key. The driver does everything else.
pub trait Controller: Send + 'static {
    /// What is decided about, as a Deployment's key.
    type Key: Clone + Eq + Hash + Ord + Debug + Display + Send + 'static;
    /// Names it in logs, metrics and Events.
    const NAME: &'static str;
    /// The `(group, resource)` collections that it follows; none for everything that its store holds.
    const COLLECTIONS: &'static [(&'static str, &'static str)];

    /// Takes in a change; returns the keys that it concerns.
    fn observe(&mut self, observed: &Observed) -> Vec<Self::Key>;

    /// What to do about a key, given what was observed. No clock, no IO.
    fn decide(&mut self, key: &Self::Key, now: Timestamp) -> Decision;

    /// Who writes about a key, if not the user that the driver was given.
    fn user(&self, _key: &Self::Key) -> Option<&'static str> {
        None
    }

    /// Takes in what became of the write at place `index` of the last decision about `key`, before the key is
    /// decided again; returns what is to be told about it.
    fn acted(&mut self, _key: &Self::Key, _index: usize, _reply: &Reply) -> Option<Note> {
        None
    }
}

struct Acted<K> {
    key: K,
    trace: Option<Trace>,
    replies: Vec<Reply>,
    notes: Vec<Note>,
    took: Duration,
}

struct Metrics {
    depth: IntGaugeVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
    work_seconds: HistogramVec,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let label = &["name"];
    let register = "the names are registered once";
    Metrics {
        depth: prometheus::register_int_gauge_vec!("workqueue_depth", "Keys that are ready.", label)
            .expect(register),
        adds: prometheus::register_int_counter_vec!("workqueue_adds_total", "Keys that were taken.", label)
            .expect(register),
        retries: prometheus::register_int_counter_vec!(
            "workqueue_retries_total",
            "Keys that are tried again after a failure.",
            label
        )
        .expect(register),
        work_seconds: prometheus::register_histogram_vec!(
            "workqueue_work_duration_seconds",
            "Time from a key's decision until its writes are answered.",
            label
        )
        .expect(register),
    }
});

/// Runs a controller until `shutdown`; it acts while the writer's leadership says so.
pub async fn run<C: Controller>(controller: C, store: Store, writer: Writer, shutdown: Shutdown) {
    Driver::new(controller, store, writer).run(shutdown).await;
}

struct Driver<C: Controller> {
    controller: C,
    follower: Follower,
    writer: Writer,
    recorder: Recorder,
    queue: WorkQueue<C::Key>,
    woken: Woken<C::Key>,
    acting: JoinSet<Acted<C::Key>>,
    /// Each ends with the Events that could not be counted on.
    telling: JoinSet<Vec<String>>,
    /// Keys whose writes are not yet in the view, by the revision that they wait for.
    unseen: BTreeMap<(Revision, C::Key), Instant>,
    synced: bool,
    leadership: Leadership,
    standing: Standing,
    /// Whether keys are missing that would have to be decided if we led.
    forgot: bool,
}

impl<C: Controller> Driver<C> {
    fn new(controller: C, store: Store, writer: Writer) -> Self {
        Driver {
            controller,
            follower: Follower::new(store, C::COLLECTIONS),
            leadership: writer.leadership(),
            standing: writer.leadership().standing(),
            forgot: false,
            writer,
            recorder: Recorder::new(C::NAME, ""),
            queue: WorkQueue::default(),
            woken: Woken::default(),
            acting: JoinSet::new(),
            telling: JoinSet::new(),
            unseen: BTreeMap::new(),
            synced: false,
        }
    }

    async fn run(mut self, shutdown: Shutdown) {
        loop {
            self.release_seen();
            self.start_work();
            let due = self.next_due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(acted) = self.acting.join_next() => match acted {
                    Ok(acted) => self.acted(acted),
                    Err(error) => warn!(controller = C::NAME, "an act ended badly: {error}"),
                },
                Some(told) = self.telling.join_next() => {
                    told.iter().flatten().for_each(|event| self.recorder.forget(event));
                }
                () = self.leadership.changed() => self.take_part(),
                told = self.follower.next() => told.iter().for_each(|one| self.observe(one)),
                () = sleep_until(due) => {}
            }
        }
        // What was decided is carried out, so that nothing is left half done.
        while self.acting.join_next().await.is_some() {}
        self.telling.abort_all();
    }

    fn observe(&mut self, observed: &Observed) {
        match observed {
            Observed::Synced if !self.synced => {
                self.synced = true;
                info!(controller = C::NAME, "view is complete");
            }
            Observed::Reset => self.synced = false,
            _ => {}
        }
        for key in self.controller.observe(observed) {
            self.woken.note(&key, self.follower.trace());
            self.queue.add(key);
        }
    }

    /// Who leads has changed, perhaps.
    fn take_part(&mut self) {
        let before = std::mem::replace(&mut self.standing, self.leadership.standing());
        if before.leads() && self.standing.leader != before.leader {
            // From here on others decide; which keys they have dealt with we do not know.
            self.forgot = true;
        }
        if self.standing.leads() && std::mem::take(&mut self.forgot) {
            self.synced = false;
            self.follower.start_again();
        }
    }

    /// Nothing is decided on half a view, nor on one from before our turn.
    fn may_decide(&self) -> bool {
        let since = self.standing.leader.as_ref().map(|leader| leader.since);
        self.synced && self.standing.leads() && since.is_some_and(|since| self.follower.passed() >= since)
    }

    fn start_work(&mut self) {
        if !self.standing.leads() && self.queue.len() > STANDBY_MAX {
            self.queue.clear_ready();
            self.woken.clear();
            self.forgot = true;
        }
        while self.may_decide() && self.acting.len() < CONCURRENCY {
            let Some(key) = self.queue.take(Instant::now()) else { break };
            METRICS.adds.with_label_values(&[C::NAME]).inc();
            self.work(key);
        }
        METRICS.depth.with_label_values(&[C::NAME]).set(self.queue.len() as i64);
    }

    fn work(&mut self, key: C::Key) {
        let now = Timestamp::now();
        let trace = self.woken.take(&key);
        let span = woken::span(C::NAME, &key, trace);
        let decision = span.in_scope(|| self.controller.decide(&key, now));
        span.record("writes", decision.writes.len()).record("reason", decision.reason);
        debug!(controller = C::NAME, %key, writes = decision.writes.len(), reason = decision.reason, "decided");
        if let Some(after) = decision.again_after {
            self.queue.add_at(key.clone(), Instant::now() + after);
        }
        if decision.writes.is_empty() {
            self.tell(decision.notes);
            self.queue.forget(&key);
            self.queue.done(&key);
            return;
        }
        let writer = match self.controller.user(&key) {
            Some(user) => self.writer.acting_as(user),
            None => self.writer.clone(),
        };
        let writer = writer.under(self.standing.guard.clone());
        let work = act(key, trace, decision.writes, decision.notes, writer);
        self.acting.spawn(work.instrument(span));
    }

    fn acted(&mut self, acted: Acted<C::Key>) {
        let Acted { key, trace, replies, mut notes, took } = acted;
        METRICS.work_seconds.with_label_values(&[C::NAME]).observe(took.as_secs_f64());
        for (index, reply) in replies.iter().enumerate() {
            notes.extend(self.controller.acted(&key, index, reply));
        }
        self.tell(notes);
        for status in replies.iter().filter_map(|reply| reply.as_ref().err()) {
            if is_deposed(status) {
                info!(controller = C::NAME, %key, "{status}");
                self.leadership.doubt();
                continue;
            }
            match status.reason {
                // Our view was behind; it will show what happened.
                Reason::Conflict | Reason::NotFound | Reason::AlreadyExists => {
                    debug!(controller = C::NAME, %key, "{status}");
                }
                _ => warn!(controller = C::NAME, %key, "{status}"),
            }
        }
        if replies.iter().all(Reply::is_ok) {
            self.queue.forget(&key);
        } else {
            METRICS.retries.with_label_values(&[C::NAME]).inc();
            self.woken.put_back(&key, trace);
            self.queue.retry(key.clone(), Instant::now());
        }
        let passed =
            replies.iter().flatten().map(|stored| Revision(stored.revision)).max().unwrap_or_default();
        self.unseen.insert((passed, key), Instant::now() + PASS_PATIENCE);
    }

    /// Nobody waits for Events, and no key is held for them.
    fn tell(&mut self, notes: Vec<Note>) {
        if notes.is_empty() || self.telling.len() >= TELLINGS {
            return;
        }
        let now = Timestamp::now();
        let events = notes.into_iter().map(|note| self.recorder.record(note, now)).collect();
        self.telling.spawn(tell(events, self.writer.clone()));
    }

    /// Gives back the keys whose writes the view has passed.
    fn release_seen(&mut self) {
        let (passed, now) = (self.follower.passed(), Instant::now());
        let queue = &mut self.queue;
        self.unseen.retain(|(revision, key), give_up| {
            let held = *revision > passed && *give_up > now;
            if !held {
                queue.done(key);
            }
            held
        });
    }

    fn next_due(&self) -> Option<Instant> {
        let give_up = self.unseen.values().min().copied();
        let may_decide = self.may_decide() && self.acting.len() < CONCURRENCY;
        match (self.queue.next_due().filter(|_| may_decide), give_up) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Carries out a decision.
async fn act<K>(
    key: K,
    trace: Option<Trace>,
    writes: Vec<Write>,
    notes: Vec<Note>,
    writer: Writer,
) -> Acted<K> {
    let timer = Instant::now();
    let replies = writer.write(writes).await;
    Acted { key, trace, replies, notes, took: timer.elapsed() }
}

/// Writes Events. Their failure is nobody's; the names of those that could not be counted are returned.
async fn tell(events: Vec<Write>, writer: Writer) -> Vec<String> {
    let counted: Vec<String> = events.iter().map(counted_event).collect();
    let told = writer.write(events).await;
    counted.into_iter().zip(told).filter(|(_, reply)| reply.is_err()).map(|(name, _)| name).collect()
}

fn counted_event(write: &Write) -> String {
    match write {
        Write::Patch { name, .. } => name.clone(),
        _ => String::new(),
    }
}
