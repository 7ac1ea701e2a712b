//! One forwarded connection: a stream of its own to the pod's port.

use bus::Bus;
use bus::stream::{Event, Kind, Open, Reader, Stream};
use bytes::Bytes;
use model::Status;

/// To the pod.
pub(super) const TO_POD: u8 = 0;
/// From the pod.
pub(super) const FROM_POD: u8 = 1;

/// Opens connections to the ports of one pod.
#[derive(Clone, Debug)]
pub(super) struct Forwarder {
    bus: Bus,
    node: String,
    template: Open,
}

/// What comes from the pod.
#[derive(Debug)]
pub(super) enum FromPod {
    Data(bus::stream::Chunk),
    /// The pod sends no more.
    Finished,
    /// The connection is over, in the way that is written here; empty for the ordinary one.
    Over(String),
}

// === impl Forwarder ===

impl Forwarder {
    pub(super) fn new(bus: Bus, node: &str, template: Open) -> Self {
        Forwarder { bus, node: node.to_owned(), template }
    }

    /// Connects to a port of the pod; the error is what the user gets to see.
    pub(super) async fn connect(&self, port: u16) -> Result<Stream, String> {
        let id = uuid::Uuid::new_v4().to_string();
        let open = Open { id, kind: Kind::PortForward { port }, ..self.template.clone() };
        let opened = bus::stream::open(&self.bus, &self.node, open).await;
        opened.map_err(|status| {
            format!(
                "error forwarding port {port} to pod {}, uid {}: {}",
                self.template.pod, self.template.uid, status.message
            )
        })
    }
}

/// What comes next from the pod.
pub(super) async fn next(reader: &mut Reader) -> FromPod {
    loop {
        match reader.recv().await {
            Ok(Event::Data(FROM_POD, chunk)) => return FromPod::Data(chunk),
            Ok(Event::Eof(FROM_POD)) => return FromPod::Finished,
            Ok(Event::Data(..) | Event::Eof(_)) => {}
            Ok(Event::Close(status)) => return FromPod::Over(reason(&status)),
            Err(error) => return FromPod::Over(error.to_string()),
        }
    }
}

/// The message of a `Status`, if the node sent one.
fn reason(status: &Bytes) -> String {
    let parsed = serde_json::from_slice::<Status>(status);
    parsed.map(|status| status.message).unwrap_or_default()
}
