//! exec, attach, logs and port-forward: the node's end of the streams that API servers open over the bus. The node
//! opens no port.
//!
//! ```text
//!  node.<node>.open ─> serve ─┬─ command ──── CRI Exec, Attach ─> a loopback URL ─> upgrade ─> SPDY
//!                             ├─ logs ─────── the files that the runtime writes
//!                             └─ port_forward ── a socket made inside the pod's network (netns)
//! ```
//! A stream is prepared before it is accepted, so that whatever is wrong reaches the user as a `Status`. What passes
//! through is bounded by the stream's credit: a client that reads slowly holds the process that writes.

mod command;
mod logs;
mod netns;
mod port_forward;
mod upgrade;

use std::sync::Arc;

use bus::stream::{Kind, Opening, Stream};
use bus::{Bus, BusError};
use bytes::Bytes;
use model::{Reason, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, info_span};

use crate::metrics;
use crate::pods::{Missing, Pods};

/// Streams of a node at a time; each may have a window of a megabyte a channel under way. A browser behind a
/// port-forward takes a dozen.
const STREAMS_MAX: usize = 512;

/// What streams reach into.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where API servers ask.
    pub bus: Bus,
    /// The node's name.
    pub node: String,
    /// What runs here.
    pub pods: Pods,
    /// The runtime; a hollow node has none.
    pub runtime: Option<cri::Client>,
}

/// One of the [`STREAMS_MAX`].
struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Serves streams until `shutdown`, then ends them.
pub async fn serve(host: Host, shutdown: runtime::Shutdown) -> Result<(), BusError> {
    let mut openings = bus::stream::serve(&host.bus, &host.node).await?;
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    // Dropped at the end, and the streams with it.
    let mut running = JoinSet::new();
    loop {
        let opening = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(_) = running.join_next() => continue,
            opening = openings.next() => opening,
        };
        let Some(opening) = opening else { return Err(BusError::Disconnected("closed".to_owned())) };
        let Some(place) = Place::take(&places) else {
            let why = format!("the node carries {STREAMS_MAX} streams already");
            opening.refuse(Status::new(Reason::TooManyRequests, why)).await;
            continue;
        };
        let span = info_span!("stream", pod = opening.open.pod, namespace = opening.open.namespace);
        opening.adopt(&span);
        let host = host.clone();
        let served = async move {
            host.run(opening).await;
            drop(place);
        };
        running.spawn(served.instrument(span));
    }
}

// === impl Place ===

impl Place {
    fn take(places: &Arc<Semaphore>) -> Option<Place> {
        let permit = places.clone().try_acquire_owned().ok()?;
        metrics::STREAMS_OPEN.inc();
        Some(Place { _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::STREAMS_OPEN.dec();
    }
}

// === impl Host ===

impl Host {
    async fn run(&self, opening: Opening) {
        let Some(runtime) = &self.runtime else {
            return opening.refuse(Status::bad_request("a hollow node runs nothing")).await;
        };
        let kind = opening.open.kind.clone();
        let uid = opening.open.uid.clone();
        match kind {
            Kind::Exec { .. } | Kind::Attach { .. } => {
                let command = command::start(runtime, &self.pods, &uid, kind).await;
                if let Some((command, stream)) = settle("command", opening, command).await {
                    command.carry(stream).await;
                }
            }
            Kind::Logs { container, options } => {
                let log = logs::open(runtime, &self.pods, &opening.open, &container, options).await;
                if let Some((log, stream)) = settle("log", opening, log).await {
                    log.carry(stream).await;
                }
            }
            Kind::PortForward { port } => {
                let connection = port_forward::connect(runtime, &self.pods, &uid, port).await;
                if let Some((connection, stream)) = settle("port-forward", opening, connection).await {
                    port_forward::carry(connection, stream).await;
                }
            }
        }
    }
}

/// Accepts a stream that is prepared, and refuses one that cannot be.
async fn settle<T>(kind: &str, opening: Opening, prepared: Result<T, Status>) -> Option<(T, Stream)> {
    let result = if prepared.is_ok() { "opened" } else { "refused" };
    metrics::STREAMS.with_label_values(&[kind, result]).inc();
    match prepared {
        // Without a bus there is nobody who waits for it.
        Ok(prepared) => opening.accept().await.ok().map(|stream| (prepared, stream)),
        Err(status) => {
            debug!("refused: {status}");
            opening.refuse(status).await;
            None
        }
    }
}

/// A `Status` as the last word of a stream.
fn last_word(status: &Status) -> Bytes {
    debug!("stream ends: {status}");
    status.to_json().to_string().into()
}

/// The runtime's refusal, for a user.
fn refused(error: cri::CriError) -> Status {
    if error.is_down() { Status::unavailable(error.to_string()) } else { Status::internal(error) }
}

/// Why there is no such container, for a user.
fn missing(missing: Missing, pod: &str, container: &str) -> Status {
    match missing {
        // Bound to this node, but the agent has not begun with it.
        Missing::Pod => Status::bad_request(format!(
            "container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"
        )),
        other => Status::bad_request(other.to_string()),
    }
}
