//! Port-forward in the messages of a WebSocket: two channels for each port, data and errors, beginning with the port.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::forward::{self, Forwarder, FromPod, TO_POD};
use super::upgrade::Channels;
use super::websocket::{self, Heard, Listener, Speaker};

/// Messages of one port that wait for the pod; then the client waits, with all its ports.
const WAITING_MAX: usize = 8;

type Shared<IO> = Arc<Mutex<Speaker<IO>>>;

/// Connects to each of the ports once, and carries them until all are through or the client goes.
pub(super) async fn run<IO>(io: IO, channels: Channels, ports: Vec<u16>, forwarder: Forwarder)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (speaker, mut listener) = websocket::split(io, channels).await;
    let speaker = Arc::new(Mutex::new(speaker));
    let (mut inputs, mut running) = (Vec::new(), JoinSet::new());
    for (at, port) in ports.into_iter().enumerate() {
        let (input, waiting) = mpsc::channel(WAITING_MAX);
        inputs.push(Some(input));
        let data = u8::try_from(2 * at).expect("the ports are limited so that their channels fit");
        running.spawn(port_through(speaker.clone(), data, port, waiting, forwarder.clone()));
    }
    let all_through = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        () = hear(&mut listener, inputs) => return,
        () = all_through => {}
    }
    speaker.lock().await.close(&mut listener).await;
}

/// From the client to the ports, until the client is gone.
async fn hear<IO>(listener: &mut Listener<IO>, mut inputs: Vec<Option<mpsc::Sender<Bytes>>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(heard) = listener.next().await {
        match heard {
            Heard::Data(channel, bytes) if channel % 2 == 0 => {
                if let Some(Some(input)) = inputs.get(usize::from(channel / 2)) {
                    // A port that is through takes nothing any more.
                    let _ = input.send(bytes).await;
                }
            }
            Heard::End(channel) if channel % 2 == 0 => {
                if let Some(input) = inputs.get_mut(usize::from(channel / 2)) {
                    *input = None;
                }
            }
            _ => {}
        }
    }
}

/// One port. Whatever fails here means that the client is gone.
async fn port_through<IO>(
    speaker: Shared<IO>,
    data: u8,
    port: u16,
    mut waiting: mpsc::Receiver<Bytes>,
    forwarder: Forwarder,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let error = data + 1;
    for channel in [data, error] {
        let _ = speaker.lock().await.send(channel, &port.to_le_bytes()).await;
    }
    let stream = match forwarder.connect(port).await {
        Ok(stream) => stream,
        Err(why) => {
            let _ = speaker.lock().await.send(error, why.as_bytes()).await;
            return;
        }
    };
    let (writer, mut reader) = stream.split();
    let up = async {
        while let Some(bytes) = waiting.recv().await {
            if writer.send(TO_POD, bytes).await.is_err() {
                break;
            }
        }
        // The pod may be through already; what comes from it says so.
        let _ = writer.eof(TO_POD).await;
        std::future::pending::<()>().await;
    };
    let down = async {
        loop {
            match forward::next(&mut reader).await {
                FromPod::Data(chunk) => {
                    if speaker.lock().await.send(data, &chunk).await.is_err() {
                        return;
                    }
                }
                // This dialect cannot say that one direction has ended, and a client that waits must not wait for ever.
                FromPod::Finished => return,
                FromPod::Over(why) if why.is_empty() => return,
                FromPod::Over(why) => {
                    let _ = speaker.lock().await.send(error, why.as_bytes()).await;
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
