//! Port-forward over SPDY: for each connection the client opens a stream for data and one for errors, which share a
//! request's number.

use std::collections::HashMap;

use spdy::{Connection, Headers, Offer, Role, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tracing::debug;

use super::forward::{self, Forwarder, FromPod, TO_POD};

/// Connections of which only one stream has come; a client opens both at once.
const HALVES_MAX: usize = 64;

/// The two streams of a connection.
#[derive(Default)]
struct Halves {
    port: u16,
    data: Option<Stream>,
    error: Option<Stream>,
}

/// Serves the client's connections until it goes.
pub(super) async fn run<IO>(io: IO, forwarder: Forwarder)
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (_connection, mut incoming) = Connection::start(io, Role::Server);
    let mut halves: HashMap<String, Halves> = HashMap::new();
    // Dropped with whatever is under way when the client goes.
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            offer = incoming.next() => {
                let Some(offer) = offer else { return };
                match pair(&mut halves, offer) {
                    Ok(Some((port, data, error))) => {
                        running.spawn(connect(forwarder.clone(), port, data, error));
                    }
                    Ok(None) => {}
                    Err(why) => debug!("a stream is refused: {why}"),
                }
            }
            Some(_) = running.join_next() => {}
        }
    }
}

/// Puts a stream beside the other one of its connection; returns both once there are both.
fn pair(
    halves: &mut HashMap<String, Halves>,
    offer: Offer,
) -> Result<Option<(u16, Stream, Stream)>, &'static str> {
    let text = |headers: &Headers, name| headers.get(name).map(str::to_owned);
    let request = text(&offer.headers, "requestID").ok_or("it has no requestID")?;
    let port = text(&offer.headers, "port").and_then(|port| port.parse().ok());
    let port: u16 = port.filter(|port| *port > 0).ok_or("it names no port")?;
    let is_data = match offer.headers.get("streamType") {
        Some("data") => true,
        Some("error") => false,
        _ => return Err("it is neither data nor error"),
    };
    if !halves.contains_key(&request) && halves.len() >= HALVES_MAX {
        return Err("too many connections lack their other stream");
    }
    let connection = halves.entry(request.clone()).or_default();
    let slot = if is_data { &mut connection.data } else { &mut connection.error };
    if slot.is_some() {
        return Err("its connection has such a stream already");
    }
    *slot = Some(offer.accept().map_err(|_| "the client is gone")?);
    if is_data {
        connection.port = port;
    }
    if connection.data.is_none() || connection.error.is_none() {
        return Ok(None);
    }
    let Some(Halves { port, data: Some(data), error: Some(error) }) = halves.remove(&request) else {
        return Ok(None);
    };
    Ok(Some((port, data, error)))
}

/// Carries one connection to its end. Whatever fails here means that the client no longer cares.
async fn connect(forwarder: Forwarder, port: u16, mut data: Stream, mut error: Stream) {
    let why = match forwarder.connect(port).await {
        Ok(stream) => carry(stream, &mut data).await,
        Err(why) => why,
    };
    if !why.is_empty() {
        let _ = error.sender.send(why.into()).await;
    }
    let _ = error.sender.finish();
    let _ = data.sender.finish();
}

/// Returns what went wrong, empty when nothing did.
async fn carry(stream: bus::stream::Stream, data: &mut Stream) -> String {
    let (writer, mut reader) = stream.split();
    let gone = data.sender.gone();
    let Stream { sender, receiver, .. } = data;
    let up = async {
        while let Some(bytes) = receiver.next().await? {
            if writer.send(TO_POD, bytes).await.is_err() {
                break;
            }
        }
        // The pod may be through already; what comes from it says so.
        let _ = writer.eof(TO_POD).await;
        std::future::pending::<Result<(), spdy::Error>>().await
    };
    let down = async {
        loop {
            match forward::next(&mut reader).await {
                FromPod::Data(chunk) => sender.send(bytes::Bytes::clone(&chunk)).await?,
                FromPod::Finished => sender.finish()?,
                FromPod::Over(why) => return Ok::<String, spdy::Error>(why),
            }
        }
    };
    tokio::select! {
        why = down => why.unwrap_or_default(),
        _ = up => String::new(),
        () = gone => String::new(),
    }
}
