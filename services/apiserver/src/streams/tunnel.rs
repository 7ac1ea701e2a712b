//! A stream of bytes inside the binary messages of a WebSocket; where one message ends and the next begins means
//! nothing.

use std::time::Duration;

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::websocket;

/// Bytes between the WebSocket and whoever speaks inside it.
const BUFFER: usize = 64 * 1024;
/// How long we wait for the client's own close after ours.
const LINGER: Duration = Duration::from_secs(3);

/// The stream inside the WebSocket; its ends are the WebSocket's.
pub(super) async fn open<IO>(io: IO) -> DuplexStream
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = websocket::start(io).await;
    let (near, far) = tokio::io::duplex(BUFFER);
    tokio::spawn(pump(socket, far));
    near
}

async fn pump<IO: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<IO>, far: DuplexStream) {
    let (mut sink, mut source) = socket.split();
    let (mut from_near, mut to_near) = tokio::io::split(far);
    let inward = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) if to_near.write_all(&bytes).await.is_err() => break,
                Message::Close(_) => break,
                _ => {}
            }
        }
    };
    let outward = async {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        while matches!(from_near.read_buf(&mut buffer).await, Ok(1..)) {
            if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                return;
            }
            buffer.reserve(BUFFER);
        }
        // The client may be gone.
        let _ = sink.send(websocket::normal_end()).await;
    };
    tokio::pin!(inward);
    tokio::select! {
        () = &mut inward => {}
        () = outward => {
            // A client that does not close by now has had its time.
            let _ = timeout(LINGER, inward).await;
        }
    }
}
