//! port-forward: a connection to a port inside the pod's network.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bus::stream::{Event, Reader, Stream, Writer};
use bytes::{Bytes, BytesMut};
use model::{Reason, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::netns::Network;
use super::refused;
use crate::pods::Pods;

const TO_POD: u8 = 0;
const FROM_POD: u8 = 1;
/// Inside one machine a connection is there at once, or the backlog is full.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read at a time.
const BUFFER: usize = 64 * 1024;

/// Connects to a port that a pod serves on its own loopback address.
pub(super) async fn connect(
    runtime: &cri::Client,
    pods: &Pods,
    uid: &str,
    port: u16,
) -> Result<TcpStream, Status> {
    let sandbox = pods.get(uid).and_then(|pod| pod.sandbox.clone());
    let sandbox = sandbox.ok_or_else(|| Status::internal("the pod is not running"))?;
    let info = runtime.sandbox_info(&sandbox).await.map_err(refused)?;
    let network = Network::of(&info)
        .ok_or_else(|| Status::internal("the runtime does not say which network the pod has"))?;
    let sockets = network.sockets().await.map_err(Status::internal)?;
    let v4 = sockets.v4.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let why = match timeout(PATIENCE, v4).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "timed out".to_owned(),
    };
    if let Some(v6) = sockets.v6 {
        let v6 = v6.connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        if let Ok(Ok(connection)) = timeout(PATIENCE, v6).await {
            return Ok(connection);
        }
    }
    // Quoted in a message that says what has failed.
    let message = format!("failed to connect to localhost:{port} inside the pod's network: {why}");
    Err(Status::new(Reason::InternalError, message))
}

/// Carries bytes both ways until both are through, or the client is gone. A connection that the pod breaks off ends
/// like one that it closes: clients give up all their connections over a word about one.
pub(super) async fn carry(connection: TcpStream, stream: Stream) {
    // Keystrokes are small; without it they wait for each other.
    let _ = connection.set_nodelay(true);
    let (from_pod, to_pod) = connection.into_split();
    let (writer, reader) = stream.split();
    let both = async { tokio::join!(up(reader, to_pod), down(from_pod, &writer)) };
    tokio::select! {
        _ = both => {}
        _ = writer.closed() => return,
    }
    // The client may have left in this moment.
    let _ = writer.close(Bytes::new()).await;
}

/// From the client to the pod.
async fn up(mut reader: Reader, mut to_pod: OwnedWriteHalf) {
    loop {
        match reader.recv().await {
            Ok(Event::Data(TO_POD, chunk)) => {
                if to_pod.write_all(&chunk).await.is_err() {
                    // The pod reads no more; what it writes still counts.
                    return;
                }
            }
            Ok(Event::Eof(TO_POD)) => {
                // It may have closed by itself.
                let _ = to_pod.shutdown().await;
                return;
            }
            Ok(Event::Data(..) | Event::Eof(_)) => {}
            Ok(Event::Close(_)) | Err(_) => return,
        }
    }
}

/// From the pod to the client.
async fn down(mut from_pod: OwnedReadHalf, writer: &Writer) {
    let mut buffer = BytesMut::with_capacity(BUFFER);
    while matches!(from_pod.read_buf(&mut buffer).await, Ok(1..)) {
        if writer.send(FROM_POD, buffer.split().freeze()).await.is_err() {
            return;
        }
        buffer.reserve(BUFFER);
    }
    // The client may be gone.
    let _ = writer.eof(FROM_POD).await;
}
