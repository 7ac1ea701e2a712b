//! The one loop that serves the agents: it awaits the store and the bus, and does what the hub says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::node::{Attach, Attached, Began, Heartbeat, KEEPALIVE_SECONDS, Snapshot, Want};
use bus::{Bus, BusError, Incoming, Requests, subject};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use model::{Key, Status, Trace};
use store::{Watch, WatchEvent};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::heartbeats::Beat;
use super::hub::Hub;
use super::session::frames;
use super::{metrics, services};
use crate::registry::Registry;

/// Attachments that wait for the state to catch up; more wait on the bus.
const ATTACHING: usize = 1024;
/// Changes that are applied before the agents are told: as many as come at once, but not so many that the first of
/// them waits for long.
const BURST: usize = 1024;
/// An agent that is silent for so long serves nothing here any longer; should it come back, it attaches again. Several
/// times an agent's own patience, so that a session which still works is never the one that ends.
const SILENCE: SignedDuration = SignedDuration::from_secs(60);
/// Before the state is read again after the watch was cut off: it is being read again itself.
const PAUSE: Duration = Duration::from_millis(100);
/// Where the bus is gone as well, its agents notice by themselves, and the server need not wait to say so.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);
/// Nodes that are silent for so long have no Lease to show any more.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Serves the agents that attach to this API server.
pub struct Gateway {
    registry: Arc<Registry>,
    bus: Bus,
}

/// Changes that are being told, and the traces that some of them belong to.
struct Changes {
    watch: Watch,
    traces: HashMap<Key, Trace>,
}

/// What agents say, and attachments that are ready to be answered.
struct Inbox {
    attach: Requests,
    attached: Requests,
    beats: Requests,
    ready: mpsc::Receiver<(Incoming, Attach)>,
    make_ready: mpsc::Sender<(Incoming, Attach)>,
    keepalive: Interval,
}

// === impl Gateway ===

impl Gateway {
    /// A gateway to the objects of `registry`.
    pub fn new(registry: Arc<Registry>, bus: Bus) -> Gateway {
        Gateway { registry, bus }
    }

    /// Serves until `shutdown`; then its agents are sent to another API server at once.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), BusError> {
        let mut inbox = Inbox::open(&self.bus).await?;
        // Before the first answer, so that no agent takes it to be about the session that it begins now.
        self.bus.publish(subject::BEGAN, &Began { host: hostname() }).await?;
        while !shutdown.is_cancelled() {
            let store = self.registry.store();
            let listing = store.list(&Key::prefix("", "pods", None));
            // Listed after the pods: what changed between the two lists is told again, which does no harm.
            let services = services::COLLECTIONS
                .iter()
                .flat_map(|(group, plural)| store.list(&Key::prefix(group, plural, None)).items);
            let volumes = store.list(&Key::prefix("", "persistentvolumes", None)).items;
            let mut hub = Hub::new(&listing.items, services).with_volumes(&volumes);
            if let Ok(watch) = store.watch("", listing.revision) {
                let changes = Changes { watch, traces: HashMap::new() };
                self.serve(&mut hub, changes, &mut inbox, &shutdown).await;
            }
            metrics::SESSIONS.set(0);
            for (node, session) in hub.sessions() {
                self.tell(node, &session.broken()).await;
            }
            // What is only buffered goes down with the process.
            match tokio::time::timeout(GOODBYE_PATIENCE, self.bus.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!("the agents cannot be told to attach again: {error}"),
                Err(_) => debug!("the agents cannot be told to attach again: the bus is gone"),
            }
            if !shutdown.is_cancelled() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Serves sessions until the watch is cut off.
    async fn serve(
        &self,
        hub: &mut Hub,
        mut changes: Changes,
        inbox: &mut Inbox,
        shutdown: &CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = changes.watch.next() => match event {
                    Some(event) => self.apply(hub, &event, &mut changes),
                    None => {
                        warn!("cut off from the changes: every agent attaches again");
                        return;
                    }
                },
                Some(request) = inbox.attach.next() => self.prepare(request, inbox.make_ready.clone()),
                Some((request, attach)) = inbox.ready.recv() => {
                    // The state is new enough, and what led to it is at hand: the hub gets there first, however
                    // much it is. A snapshot without a pod that the agent runs would end that pod.
                    if !self.drain(hub, &mut changes, usize::MAX) {
                        return;
                    }
                    self.attach(hub, &request, &attach).await;
                },
                Some(message) = inbox.attached.next() => note_attached(hub, &message),
                Some(message) = inbox.beats.next() => self.note_beat(hub, &message),
                _ = inbox.keepalive.tick() => self.keep_alive(hub).await,
            }
            if !self.drain(hub, &mut changes, BURST) {
                return;
            }
            for (node, mut want) in hub.take_untold() {
                changes.trace(&mut want);
                self.tell(&node, &want).await;
            }
            changes.traces.clear();
        }
    }

    fn apply(&self, hub: &mut Hub, event: &WatchEvent, changes: &mut Changes) {
        if let WatchEvent::Change(change) = event {
            changes.traces.extend(changes.watch.trace().map(|trace| (change.key().clone(), trace)));
            hub.apply(change, &|key| self.registry.store().get(key));
        }
    }

    /// Applies up to `most` changes that are there without waiting; false when the watch was cut off.
    fn drain(&self, hub: &mut Hub, changes: &mut Changes, most: usize) -> bool {
        for _ in 0..most {
            match changes.watch.next().now_or_never() {
                Some(Some(event)) => self.apply(hub, &event, changes),
                Some(None) => return false,
                None => break,
            }
        }
        true
    }

    /// An agent that ran a pod must never be told by a state from before that pod: the answer waits for the log.
    fn prepare(&self, request: Incoming, ready: mpsc::Sender<(Incoming, Attach)>) {
        let registry = Arc::clone(&self.registry);
        tokio::spawn(async move {
            let attach: Attach = match request.decode() {
                Ok(attach) => attach,
                Err(error) => {
                    return request.answer(&Snapshot::Refused(Status::bad_request(error.to_string()))).await;
                }
            };
            match registry.catch_up("").await {
                // The gateway may have ended; then another API server is asked.
                Ok(_) => drop(ready.send((request, attach)).await),
                Err(status) => request.answer(&Snapshot::Refused(status)).await,
            }
        });
    }

    async fn attach(&self, hub: &mut Hub, request: &Incoming, attach: &Attach) {
        let node = subject::node_of(request.subject());
        let now = Timestamp::now();
        let snapshot = hub.attach(&node, attach, now, &|key| self.registry.store().get(key));
        info!(node, session = attach.session, objects = snapshot.len(), "agent attached");
        metrics::ATTACHMENTS.inc();
        for frame in frames(snapshot) {
            request.answer(&Snapshot::Part(frame)).await;
        }
        let link = hub.session(&node).map_or(0, |session| session.link());
        request.answer(&Snapshot::End { link, host: hostname() }).await;
        self.registry.heartbeats().note(&node, Beat { received: now, session: attach.session.clone() });
        let attached = Attached { session: attach.session.clone() };
        if let Err(error) = self.bus.publish(&subject::attached(&node), &attached).await {
            // A server that still serves an older session gives it up when its keepalives go unheard.
            debug!(node, "cannot announce the session: {error}");
        }
    }

    fn note_beat(&self, hub: &mut Hub, message: &Incoming) {
        let Ok(beat) = message.decode::<Heartbeat>() else { return };
        let node = subject::node_of(message.subject());
        let beat = Beat { received: Timestamp::now(), session: beat.session };
        if hub.note_beat(&node, &beat).is_some() {
            debug!(node, "the agent follows another session");
        }
        self.registry.heartbeats().note(&node, beat);
    }

    async fn keep_alive(&self, hub: &mut Hub) {
        let now = Timestamp::now();
        let heartbeats = self.registry.heartbeats();
        heartbeats.forget_before(now - FORGET_AFTER);
        for node in hub.detach_silent(now - SILENCE, &|node| heartbeats.last(node)) {
            info!(node, "the agent is silent: its session ends");
        }
        for (node, session) in hub.sessions() {
            self.tell(node, &session.keepalive()).await;
        }
        metrics::SESSIONS.set(i64::try_from(hub.sessions().count()).unwrap_or(i64::MAX));
    }

    async fn tell(&self, node: &str, want: &Want) {
        if let Err(error) = self.bus.publish(&subject::want(node), want).await {
            // The agent finds the gap in the chain and attaches again.
            debug!(node, "cannot tell the agent: {error}");
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// Two API servers on one host share it, and then a restart of one costs the agents of both an attachment.
fn hostname() -> String {
    // Without a name nobody is told to attach again; the keepalives that stay away do it then.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Another API server serves the node now.
fn note_attached(hub: &mut Hub, message: &Incoming) {
    let Ok(attached) = message.decode::<Attached>() else { return };
    let node = subject::node_of(message.subject());
    if hub.session(&node).is_some_and(|session| session.id() != attached.session) {
        debug!(node, "the agent attached elsewhere");
        hub.detach(&node);
    }
}

// === impl Changes ===

impl Changes {
    /// Puts the traces of what is told into the telling.
    fn trace(&self, want: &mut Want) {
        if !self.traces.is_empty() {
            let known = want.changes.iter().filter_map(|change| {
                self.traces.get(change.key.as_str()).map(|trace| (change.key.clone(), *trace))
            });
            want.traces = known.collect();
        }
    }
}

// === impl Inbox ===

impl Inbox {
    async fn open(bus: &Bus) -> Result<Inbox, BusError> {
        let (make_ready, ready) = mpsc::channel(ATTACHING);
        let mut keepalive = interval(Duration::from_secs(KEEPALIVE_SECONDS));
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Inbox {
            attach: bus.serve(subject::ATTACH_ALL, subject::API_SERVERS).await?,
            attached: bus.subscribe(subject::ATTACHED_ALL).await?,
            beats: bus.subscribe(subject::HEARTBEAT_ALL).await?,
            ready,
            make_ready,
            keepalive,
        })
    }
}
