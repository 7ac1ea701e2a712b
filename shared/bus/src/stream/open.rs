//! How the two ends of a stream find each other.

use std::time::Duration;

use model::{Reason, Status};

use super::end::Pace;
use super::{Open, Opened, Stream};
use crate::{Bus, BusError, Incoming, Requests, subject};

/// How long a node may take to prepare a stream: a command that starts in a busy container takes a while.
const PATIENCE: Duration = Duration::from_secs(20);
/// An id is a token of a subject; ours are UUIDs.
const ID_LENGTH_MAX: usize = 64;

/// A node's requests to open streams.
pub struct Openings {
    bus: Bus,
    node: String,
    requests: Requests,
}

/// One request, to be accepted or refused.
#[derive(Debug)]
pub struct Opening {
    /// What is asked.
    pub open: Open,
    bus: Bus,
    node: String,
    request: Incoming,
}

/// Opens a stream to a pod on `node`. The error is what the user gets to see.
pub async fn open(bus: &Bus, node: &str, open: Open) -> Result<Stream, Status> {
    if !bus.is_connected() {
        return Err(Status::unavailable("the bus is gone"));
    }
    // Subscribed before we ask, so that the node's first frame finds us.
    let incoming = bus.subscribe(&subject::stream_from_node(node, &open.id)).await?;
    let answer: Result<Opened, BusError> = bus.request(&subject::open(node), &open, PATIENCE).await;
    let why = match answer {
        Ok(Ok(())) => {
            let outgoing = subject::stream_to_node(node, &open.id);
            return Ok(Stream::start(bus, incoming, outgoing, Pace::default()));
        }
        Ok(Err(status)) => status,
        Err(BusError::NoResponders(_)) => unreachable_node(node, "it is not connected"),
        Err(BusError::TimedOut(_)) => unreachable_node(node, "it did not answer in time"),
        Err(other) => other.into(),
    };
    incoming.stop().await;
    Err(why)
}

/// Every request to open a stream on `node`.
pub async fn serve(bus: &Bus, node: &str) -> Result<Openings, BusError> {
    let requests = bus.subscribe(&subject::open(node)).await?;
    Ok(Openings { bus: bus.clone(), node: node.to_owned(), requests })
}

fn unreachable_node(node: &str, why: &str) -> Status {
    Status::new(Reason::InternalError, format!("error dialing backend: node {node:?}: {why}"))
}

// === impl Openings ===

impl Openings {
    /// The next request; `None` once the connection was closed for good. Malformed ones are answered here.
    pub async fn next(&mut self) -> Option<Opening> {
        loop {
            let request = self.requests.next().await?;
            let refusal = match request.decode::<Open>() {
                Ok(open) if is_token(&open.id) => {
                    return Some(Opening { open, bus: self.bus.clone(), node: self.node.clone(), request });
                }
                Ok(_) => Status::bad_request("a stream's id is letters, digits and dashes"),
                Err(malformed) => Status::bad_request(malformed.to_string()),
            };
            request.answer(&Opened::Err(refusal)).await;
        }
    }
}

// === impl Opening ===

impl Opening {
    /// Makes `span` a child of the asker's.
    pub fn adopt(&self, span: &tracing::Span) {
        self.request.adopt(span);
    }

    /// The stream is there.
    pub async fn accept(self) -> Result<Stream, BusError> {
        let id = &self.open.id;
        let incoming = self.bus.subscribe(&subject::stream_to_node(&self.node, id)).await?;
        let outgoing = subject::stream_from_node(&self.node, id);
        let stream = Stream::start(&self.bus, incoming, outgoing, Pace::default());
        self.request.answer(&Opened::Ok(())).await;
        Ok(stream)
    }

    /// There will be no stream.
    pub async fn refuse(self, status: Status) {
        self.request.answer(&Opened::Err(status)).await;
    }
}

/// Whether an id can stand in a subject, and stands for itself only.
fn is_token(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= ID_LENGTH_MAX
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
