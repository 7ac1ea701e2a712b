//! The one loop that awaits: changes in, decisions, binds and news out.
//!
//! A lone pod waits for nothing: its change wakes the loop, and its bind leaves in the same turn. Under load the loop
//! takes in all that is known before it decides, and binds are packed while earlier ones are on their way. Where another
//! replica binds, they go there as proposals; where this one does, those of the others come in between.

use std::collections::HashMap;
use std::time::Duration;

use bus::command::Reply;
use bus::proposal::{Answers, Proposals};
use bus::{Bus, BusError, Incoming, Requests, subject};
use client::{Campaign, Follower, Leadership, Observed, Writer};
use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use model::{Key, Revision, Status, Trace};
use runtime::Shutdown;
use store::Unavailable;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::bind::{Outcome, Why};
use crate::extend::call::Caller;
use crate::extend::{BindOrder, Question, Said};
use crate::scheduler::{Destination, Request, Scheduler};
use crate::tell::Told;
use crate::traces::{self, Traces};

/// What the scheduler follows.
///
/// Pods last: what their claims say is known by then.
pub const COLLECTIONS: &[(&str, &str)] = &[
    ("", "nodes"),
    ("storage.k8s.io", "storageclasses"),
    ("", "persistentvolumes"),
    ("", "persistentvolumeclaims"),
    ("", "pods"),
];

/// Changes that are taken in before decisions go on: some milliseconds' worth.
const OBSERVED_MAX: usize = 4_096;
/// Decisions between two looks at what has changed: some milliseconds' worth at 5,000 nodes, and half a request.
const DECIDED_MAX: usize = 256;
/// Requests of other replicas that are taken in before decisions go on.
const PROPOSED_MAX: usize = 32;
/// How long the replica that binds may take: an API server's patience, and as long again for what is before it.
const BINDER_PATIENCE: Duration = Duration::from_secs(20);
/// Before the end of the log is asked for again.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);
/// How often the gauges are set.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The word for a replica that binds and is not there.
const BINDER_GONE: &str = "binder-gone";

/// The scheduler with its surroundings.
pub struct Service {
    scheduler: Scheduler,
    traces: Traces,
    /// The state, the bus, and who is asked there.
    caller: Caller,
    follower: Follower,
    writer: Writer,
    leadership: Leadership,
    /// What other replicas propose.
    proposals: Requests,
    /// Requests that are not answered yet, by number.
    proposed: HashMap<u64, Incoming>,
    numbered: u64,
    binding: JoinSet<Bound>,
    asking: JoinSet<(Question, Said)>,
    ordering: JoinSet<(BindOrder, anyhow::Result<()>)>,
    /// One request at a time: news has the lowest claim on the bus.
    telling: JoinSet<(Vec<Told>, Vec<Reply>)>,
    /// Asks for the end of the log, from a moment on.
    settling: JoinSet<(Instant, Result<Revision, Unavailable>)>,
    /// Once the view has passed this revision it shows everything that happened until that moment.
    settles: Option<(Instant, Revision)>,
    shown: Instant,
    /// Whether the gauges tell what is not true any more.
    changed: bool,
}

struct Bound {
    number: u64,
    keys: Vec<Key>,
    outcomes: Vec<Outcome>,
}

// === impl Service ===

impl Service {
    /// A service that reads from the caller's store, writes by `writer`, and is a replica of those that stand in
    /// `campaign`.
    pub async fn new(
        scheduler: Scheduler,
        caller: Caller,
        writer: Writer,
        campaign: &Campaign,
    ) -> Result<Self, BusError> {
        Ok(Service {
            scheduler,
            traces: Traces::default(),
            follower: Follower::new(caller.store.clone(), COLLECTIONS),
            writer,
            proposals: caller.bus.subscribe(&subject::propose(campaign.me())).await?,
            caller,
            leadership: campaign.leadership(),
            proposed: HashMap::new(),
            numbered: 0,
            binding: JoinSet::new(),
            asking: JoinSet::new(),
            ordering: JoinSet::new(),
            telling: JoinSet::new(),
            settling: JoinSet::new(),
            settles: None,
            shown: Instant::now(),
            changed: true,
        })
    }

    /// Schedules until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        self.stand();
        while !shutdown.is_cancelled() {
            self.observe_known();
            self.take_proposals();
            self.scheduler.pass(self.follower.passed(), Instant::now());
            self.settle_lost();
            self.changed |= self.scheduler.turn(DECIDED_MAX, Instant::now(), Timestamp::now()) > 0;
            self.send();
            self.answer().await;
            self.show();
            if self.scheduler.has_work(Instant::now()) {
                self.take_answers();
                // Others of this thread are to have their turn, too.
                tokio::task::yield_now().await;
            } else {
                self.wait(&shutdown).await;
            }
        }
        // Binds that are on their way are decided by the log, whether we hear of them or not.
        self.binding.abort_all();
        self.asking.abort_all();
        self.ordering.abort_all();
        self.telling.abort_all();
    }

    /// Takes in what has happened already.
    fn observe_known(&mut self) {
        let now = Instant::now();
        for _ in 0..OBSERVED_MAX {
            let Some(told) = self.follower.next().now_or_never() else { return };
            self.observe(&told, now);
        }
    }

    fn observe(&mut self, told: &[Observed], now: Instant) {
        self.changed |= !told.is_empty();
        self.traces.note(told, self.follower.trace());
        told.iter().for_each(|one| self.scheduler.observe(one, now));
    }

    fn stand(&mut self) {
        let standing = self.leadership.standing();
        if standing.leader.is_none() {
            info!("nobody is known who binds: pods wait");
        }
        self.scheduler.stand(standing, Instant::now());
    }

    /// Takes in what other replicas have proposed already.
    fn take_proposals(&mut self) {
        for _ in 0..PROPOSED_MAX {
            let Some(Some(request)) = self.proposals.next().now_or_never() else { return };
            self.propose(request);
        }
    }

    fn propose(&mut self, request: Incoming) {
        match request.decode::<Proposals>() {
            Ok(proposals) => {
                self.numbered += 1;
                self.proposed.insert(self.numbered, request);
                self.scheduler.proposed(self.numbered, proposals, Instant::now());
            }
            Err(error) => warn!("proposals cannot be read: {error}"),
        }
    }

    async fn answer(&mut self) {
        for (number, answers) in self.scheduler.take_answers() {
            if let Some(request) = self.proposed.remove(&number) {
                request.answer(&answers).await;
            }
        }
    }

    fn take_answers(&mut self) {
        while let Some(ended) = self.binding.try_join_next() {
            self.bound(ended);
        }
        while let Some(ended) = self.telling.try_join_next() {
            self.told(ended);
        }
        while let Some(ended) = self.asking.try_join_next() {
            self.said(ended);
        }
        while let Some(ended) = self.ordering.try_join_next() {
            self.ordered(ended);
        }
    }

    /// Waits for whatever happens next.
    async fn wait(&mut self, shutdown: &Shutdown) {
        let due = self.next_due();
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(ended) = self.binding.join_next() => self.bound(ended),
            Some(ended) = self.telling.join_next() => self.told(ended),
            Some(ended) = self.asking.join_next() => self.said(ended),
            Some(ended) = self.ordering.join_next() => self.ordered(ended),
            Some(ended) = self.settling.join_next() => self.settles = settled(ended),
            Some(request) = self.proposals.next() => self.propose(request),
            () = self.leadership.changed() => self.stand(),
            told = self.follower.next() => self.observe(&told, Instant::now()),
            () = sleep_until(due) => {}
        }
    }

    /// Binds whose answers were lost: the end of the log says which of them have happened.
    fn settle_lost(&mut self) {
        let now = Instant::now();
        if let Some((moment, _)) = self.settles.take_if(|(_, revision)| self.follower.passed() >= *revision) {
            self.scheduler.give_up_lost(moment, now);
        }
        let is_due = self.scheduler.next_lost().is_some_and(|due| due <= now);
        if is_due && self.settles.is_none() && self.settling.is_empty() {
            let store = self.caller.store.clone();
            self.settling.spawn(async move {
                let end = store.barrier().await;
                if end.is_err() {
                    // While the bus is away the answer comes at once, and so would the next question.
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
                (now, end)
            });
        }
    }

    fn next_due(&self) -> Option<Instant> {
        // While the end of the log is asked for, or waited for, its coming is what wakes us.
        let lost = self.scheduler.next_lost().filter(|_| self.settles.is_none() && self.settling.is_empty());
        let show = self.changed.then(|| self.shown + SHOWN_EVERY);
        [self.scheduler.next_due(), lost, show].into_iter().flatten().min()
    }

    fn send(&mut self) {
        while let Some(question) = self.scheduler.take_question() {
            let caller = self.caller.clone();
            self.asking.spawn(async move {
                let said = caller.ask(&question).await;
                (question, said)
            });
        }
        while let Some(order) = self.scheduler.take_order() {
            let caller = self.caller.clone();
            self.ordering.spawn(async move {
                let bound = caller.bind(&order).await;
                (order, bound)
            });
        }
        while let Some(request) = self.scheduler.take_request() {
            let (writer, bus) = (self.writer.clone(), self.caller.bus.clone());
            let traces = match request.destination {
                Destination::ApiServers(..) => self.traces.take(&request.keys),
                // Whoever binds knows them.
                Destination::Binder(..) => Vec::new(),
            };
            self.binding.spawn(async move {
                let Request { number, keys, destination } = request;
                let outcomes = asked(destination, traces, &writer, &bus).await;
                Bound { number, keys, outcomes }
            });
        }
        if self.scheduler.take_doubts() {
            self.leadership.doubt();
        }
        if self.telling.is_empty() {
            let (writes, told) = self.scheduler.take_news(Timestamp::now());
            if !writes.is_empty() {
                let writer = self.writer.clone();
                self.telling.spawn(async move { (told, writer.write(writes).await) });
            }
        }
    }

    fn bound(&mut self, ended: Result<Bound, tokio::task::JoinError>) {
        match ended {
            Ok(Bound { number, keys, outcomes }) => {
                self.changed = true;
                self.scheduler.answered(number, &keys, outcomes, Instant::now());
            }
            Err(error) => warn!("a request of binds ended badly: {error}"),
        }
    }

    fn said(&mut self, ended: Result<(Question, Said), tokio::task::JoinError>) {
        match ended {
            Ok((question, said)) => {
                self.changed = true;
                self.scheduler.said(&question, said, Instant::now(), Timestamp::now());
            }
            Err(error) => warn!("asking extenders ended badly: {error}"),
        }
    }

    fn ordered(&mut self, ended: Result<(BindOrder, anyhow::Result<()>), tokio::task::JoinError>) {
        match ended {
            Ok((order, bound)) => {
                self.changed = true;
                let failure = bound.err().map(|error| format!("{error:#}"));
                self.scheduler.ordered(&order, failure, Instant::now(), Timestamp::now());
            }
            Err(error) => warn!("a bind by an extender ended badly: {error}"),
        }
    }

    fn told(&mut self, ended: Result<(Vec<Told>, Vec<Reply>), tokio::task::JoinError>) {
        match ended {
            Ok((told, replies)) => self.scheduler.told(told, &replies),
            Err(error) => warn!("a request of news ended badly: {error}"),
        }
    }

    fn show(&mut self) {
        if self.changed && self.shown.elapsed() >= SHOWN_EVERY {
            (self.shown, self.changed) = (Instant::now(), false);
            self.scheduler.show();
        }
    }
}

/// What whoever binds says.
async fn asked(
    destination: Destination,
    traces: Vec<Option<Trace>>,
    writer: &Writer,
    bus: &Bus,
) -> Vec<Outcome> {
    match destination {
        Destination::ApiServers(guard, writes) => {
            let replies = traces::write(&writer.under(guard), writes, traces).await;
            replies.into_iter().map(Outcome::from).collect()
        }
        Destination::Binder(replica, proposals) => {
            let count = proposals.items.len();
            let subject = subject::propose(&replica);
            match bus.request::<_, Answers>(&subject, &proposals, BINDER_PATIENCE).await {
                Ok(Answers { answers }) if answers.len() == count => {
                    answers.into_iter().map(Outcome::from).collect()
                }
                // It has not heard of them.
                Err(BusError::NoResponders(_)) => {
                    vec![Outcome::Refused(Why::Binder(BINDER_GONE.to_owned())); count]
                }
                Ok(_) => vec![Outcome::Unknown(Status::internal("an answer of another length")); count],
                Err(error) => vec![Outcome::Unknown(error.into()); count],
            }
        }
    }
}

fn settled(
    ended: Result<(Instant, Result<Revision, Unavailable>), tokio::task::JoinError>,
) -> Option<(Instant, Revision)> {
    match ended {
        Ok((moment, Ok(revision))) => Some((moment, revision)),
        // It is asked again.
        Ok((_, Err(error))) => {
            debug!("the end of the log is not known: {error}");
            None
        }
        Err(error) => {
            warn!("asking for the end of the log ended badly: {error}");
            None
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
