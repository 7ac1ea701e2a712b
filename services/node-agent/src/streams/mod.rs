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

use bus::stream::{Kind, Opening};
use bus::{Bus, BusError};
use bytes::Bytes;
use model::{Reason, Status};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{Instrument, debug, info_span};

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
        let Ok(place) = places.clone().try_acquire_owned() else {
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

// === impl Host ===

impl Host {
    async fn run(&self, opening: Opening) {
        let Some(runtime) = &self.runtime else {
            return opening.refuse(Status::bad_request("a hollow node runs nothing")).await;
        };
        // The API server may be gone when a stream is accepted; then its silence ends the stream.
        let kind = opening.open.kind.clone();
        match kind {
            Kind::Exec { .. } | Kind::Attach { .. } => {
                match command::start(runtime, &self.pods, &opening.open.uid, kind).await {
                    Ok(command) => {
                        let Ok(stream) = opening.accept().await else { return };
                        command.carry(stream).await;
                    }
                    Err(status) => opening.refuse(status).await,
                }
            }
            Kind::Logs { container, options } => {
                match logs::open(runtime, &self.pods, &opening.open, &container, options).await {
                    Ok(log) => {
                        let Ok(stream) = opening.accept().await else { return };
                        log.carry(stream).await;
                    }
                    Err(status) => opening.refuse(status).await,
                }
            }
            Kind::PortForward { port } => {
                match port_forward::connect(runtime, &self.pods, &opening.open.uid, port).await {
                    Ok(connection) => {
                        let Ok(stream) = opening.accept().await else { return };
                        port_forward::carry(connection, stream).await;
                    }
                    Err(status) => opening.refuse(status).await,
                }
            }
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
