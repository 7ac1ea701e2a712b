//! Being told what is wanted: attaching to an API server, and again whenever the chain breaks.

use std::time::Duration;

use bus::node::{Attach, Began, KEEPALIVE_SECONDS, Snapshot, Want, Wanted};
use bus::{Bus, BusError, Requests, subject};
use futures::FutureExt;
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::chain::{Chain, Verdict};
use crate::decide::Input;
use crate::network::Network;
use crate::proxy::Proxy;
use crate::traces::Traces;
use runtime::Shutdown;

/// Three keepalives that did not come mean that the API server is gone.
const SILENCE: Duration = Duration::from_secs(3 * KEEPALIVE_SECONDS);
/// For each frame of a snapshot; the API server waits for its own state before the first.
const FRAME_PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts, doubled up to the longest. A little at random, so that the nodes of a restarted API server do not
/// all come at once.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Follows what is wanted of a node.
pub struct Follower {
    /// The bus.
    pub bus: Bus,
    /// The node's name.
    pub node: String,
    /// Where changes go.
    pub inputs: mpsc::Sender<Input>,
    /// Where the traces go that changes belong to.
    pub traces: Traces,
    /// Whether it hears of Services: pods find them in their environment.
    pub hears_of_services: bool,
    /// Where Services go as well, if the node carries them out.
    pub proxy: Option<Proxy>,
    /// Where nodes go, if their pods are reached by routes.
    pub network: Option<Network>,
    /// The present session, empty while there is none.
    pub session: watch::Sender<String>,
    /// Met while there is one.
    pub readiness: runtime::Condition,
}

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("no API server answers")]
    NoApiServer,
    #[error("the API server fell silent")]
    Silent,
    #[error("the API server has ended")]
    Replaced,
    #[error("the chain of changes is broken: {0}")]
    Broken(String),
    #[error("the API server refuses: {0}")]
    Refused(model::Status),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("the agent ends")]
    Ending,
}

// === impl Follower ===

impl Follower {
    /// Follows until `shutdown`. What was wanted last stays in force while no API server can be reached.
    pub async fn run(self, shutdown: Shutdown) {
        let mut pause = PAUSE_FIRST;
        self.readiness.set_waiting("no API server has answered yet");
        loop {
            let lost = tokio::select! {
                lost = self.attach(&mut pause) => lost,
                () = shutdown.cancelled() => return,
            };
            if matches!(lost, Lost::Ending) {
                return;
            }
            let had_session = !self.session.send_replace(String::new()).is_empty();
            self.readiness.set_waiting(lost.to_string());
            match had_session {
                true => warn!("attaching again: {lost}"),
                false => debug!("cannot attach: {lost}"),
            }
            let jitter = rand::rng().random_range(0.5..1.5);
            tokio::select! {
                () = sleep(pause.mul_f64(jitter)) => {}
                () = shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// One session from its beginning to its end.
    async fn attach(&self, pause: &mut Duration) -> Lost {
        match self.session(pause).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        }
    }

    async fn session(&self, pause: &mut Duration) -> Result<std::convert::Infallible, Lost> {
        if !self.bus.is_connected() {
            // The question would be kept, and answered after one that is asked later.
            return Err(Lost::Bus(BusError::Disconnected("not connected".to_owned())));
        }
        // Before the question, so that no change after the snapshot is missed.
        let mut wants = self.bus.subscribe(&subject::want(&self.node)).await?;
        let mut began = self.bus.subscribe(subject::BEGAN).await?;
        let session = format!("{:016x}", rand::rng().random::<u64>());
        let question = Attach { session: session.clone(), services: self.hears_of_services };
        let mut answers = self.bus.request_many(&subject::attach(&self.node), &question).await?;
        let (objects, link, host) = snapshot(&mut answers).await?;
        answers.stop().await;
        // An API server says so before it answers: what is here by now is no news.
        while began.next().now_or_never().is_some() {}
        info!(session, objects = objects.len(), "attached");
        *pause = PAUSE_FIRST;
        if let Some(proxy) = &self.proxy {
            proxy.reset(&objects);
        }
        if let Some(network) = &self.network {
            network.reset(&objects);
        }
        self.tell(Input::Snapshot(objects)).await?;
        self.session.send_replace(session.clone());
        self.readiness.set_ready();
        tokio::select! {
            lost = self.follow(&mut wants, Chain::new(&session, link)) => lost,
            lost = replaced(&mut began, &host) => lost,
        }
    }

    async fn follow(&self, wants: &mut Requests, mut chain: Chain) -> Result<std::convert::Infallible, Lost> {
        let mut heard = tokio::time::Instant::now();
        loop {
            let message = match tokio::time::timeout_at(heard + SILENCE, wants.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Lost::Bus(BusError::Disconnected("closed".to_owned()))),
                Err(_) => return Err(Lost::Silent),
            };
            let want: Want = message.decode().map_err(BusError::from)?;
            match chain.accept(&want) {
                // It says nothing of ours, not even that its API server lives.
                Verdict::Foreign => continue,
                Verdict::Broken(why) => return Err(Lost::Broken(why)),
                Verdict::Known => (),
                Verdict::Apply => {
                    debug!(link = want.link, changes = want.changes.len(), "told");
                    self.traces.note(&want.traces);
                }
            }
            heard = tokio::time::Instant::now();
            if !want.changes.is_empty() {
                if let Some(proxy) = &self.proxy {
                    proxy.apply(&want.changes);
                }
                if let Some(network) = &self.network {
                    network.apply(&want.changes);
                }
                self.tell(Input::Changes(want.changes)).await?;
            }
        }
    }

    async fn tell(&self, input: Input) -> Result<(), Lost> {
        self.inputs.send(input).await.map_err(|_| Lost::Ending)
    }
}

/// Ends when an API server begins where the present one should be.
async fn replaced(began: &mut Requests, host: &str) -> Result<std::convert::Infallible, Lost> {
    while let Some(message) = began.next().await {
        let Began { host: here } = message.decode().map_err(BusError::from)?;
        if here == host && !host.is_empty() {
            return Err(Lost::Replaced);
        }
    }
    Err(Lost::Bus(BusError::Disconnected("closed".to_owned())))
}

/// The whole snapshot, the link that it includes, and the host of the API server that sent it.
async fn snapshot(answers: &mut Requests) -> Result<(Vec<Wanted>, u64, String), Lost> {
    let mut objects = Vec::new();
    loop {
        let frame = match timeout(FRAME_PATIENCE, answers.next()).await {
            Ok(Some(frame)) if frame.is_unheard() => return Err(Lost::NoApiServer),
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(Lost::Bus(BusError::Disconnected("closed".to_owned()))),
            Err(_) => return Err(Lost::Silent),
        };
        match frame.decode().map_err(BusError::from)? {
            Snapshot::Part(part) => objects.extend(part),
            Snapshot::End { link, host } => return Ok((objects, link, host)),
            Snapshot::Refused(status) => return Err(Lost::Refused(status)),
        }
    }
}
