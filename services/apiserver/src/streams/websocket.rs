//! A WebSocket whose messages are a channel's number and bytes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::upgrade::Channels;

/// What upstream accepts: some clients put a whole file into one message of standard input.
const MESSAGE_MAX: usize = 32 * 1024 * 1024;
/// What a WebSocket reads at a time; it holds a buffer of this size from the beginning, also when it is idle.
const BUFFER: usize = 16 * 1024;
/// How long we wait for the client's own close after ours: leaving earlier makes the kernel throw away what is under
/// way.
const LINGER: Duration = Duration::from_secs(3);
/// The channel with which version 5 says that another has ended.
const END: u8 = 255;

/// A WebSocket in the role of the server.
pub(super) async fn start<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> WebSocketStream<IO> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// A message by its meaning.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    Data(u8, Bytes),
    End(u8),
    /// Nothing to act on: pings, or what nobody understands.
    Nothing,
}

/// The half to the client.
pub(super) struct Speaker<IO> {
    sink: SplitSink<WebSocketStream<IO>, Message>,
    channels: Channels,
}

/// The half from the client.
pub(super) struct Listener<IO> {
    source: SplitStream<WebSocketStream<IO>>,
    channels: Channels,
}

/// Both halves.
pub(super) async fn split<IO>(io: IO, channels: Channels) -> (Speaker<IO>, Listener<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, source) = start(io).await.split();
    (Speaker { sink, channels }, Listener { source, channels })
}

/// Ends a WebSocket in the way that clients take for success.
pub(super) fn normal_end() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

// === impl Speaker ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Speaker<IO> {
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<(), Error> {
        self.sink.send(encode(self.channels, channel, bytes)).await
    }

    /// Says that we are here. An answer that nobody asked for is allowed, and needs none.
    pub(super) async fn pong(&mut self) -> Result<(), Error> {
        self.sink.send(Message::Pong(Bytes::new())).await
    }

    /// Closes, and waits a while for the client to have heard everything.
    pub(super) async fn close(&mut self, listener: &mut Listener<IO>) {
        if self.sink.send(normal_end()).await.is_err() {
            return;
        }
        let rest = async { while let Some(Ok(_)) = listener.source.next().await {} };
        // A client that does not close by now has had its time.
        let _ = timeout(LINGER, rest).await;
    }
}

// === impl Listener ===

impl<IO: AsyncRead + AsyncWrite + Unpin> Listener<IO> {
    /// The next message; `None` when the client has gone.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        match self.source.next().await? {
            Ok(Message::Close(_)) | Err(_) => None,
            Ok(message) => Some(decode(self.channels, message)),
        }
    }
}

fn encode(channels: Channels, channel: u8, bytes: &[u8]) -> Message {
    if channels.base64 {
        return Message::text(format!("{channel}{}", STANDARD.encode(bytes)));
    }
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

fn decode(channels: Channels, message: Message) -> Heard {
    let mut bytes = match message {
        Message::Text(text) if channels.base64 => return decode_text(text.as_str()),
        // Clients in browsers send the binary form as text.
        Message::Text(text) => Bytes::from(text),
        Message::Binary(bytes) => bytes,
        _ => return Heard::Nothing,
    };
    if bytes.is_empty() {
        return Heard::Nothing;
    }
    let channel = bytes.split_to(1)[0];
    match (channel, bytes.first()) {
        (END, Some(ended)) if channels.ends => Heard::End(*ended),
        _ => Heard::Data(channel, bytes),
    }
}

fn decode_text(text: &str) -> Heard {
    let mut characters = text.chars();
    let channel = characters.next().and_then(|digit| digit.to_digit(10));
    match (channel, STANDARD.decode(characters.as_str())) {
        (Some(channel), Ok(bytes)) => Heard::Data(channel as u8, bytes.into()),
        _ => Heard::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: Channels = Channels { ends: true, base64: false };
    const TEXT: Channels = Channels { ends: false, base64: true };

    #[test]
    fn messages_carry_their_channel_in_front() {
        for channels in [BINARY, TEXT] {
            let message = encode(channels, 1, b"\x00\xff");
            assert_eq!(decode(channels, message), Heard::Data(1, Bytes::from_static(b"\x00\xff")));
        }
        assert_eq!(encode(TEXT, 2, b"hi"), Message::text("2aGk="));
    }

    #[test]
    fn version_5_ends_a_channel() {
        let message = || Message::Binary(Bytes::from_static(&[255, 0]));
        assert_eq!(decode(BINARY, message()), Heard::End(0));
        let version_4 = Channels { ends: false, base64: false };
        assert_eq!(decode(version_4, message()), Heard::Data(255, Bytes::from_static(&[0])));
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert_eq!(decode(BINARY, Message::Binary(Bytes::new())), Heard::Nothing);
        assert_eq!(decode(BINARY, Message::Ping(Bytes::new())), Heard::Nothing);
        assert_eq!(
            decode(BINARY, Message::Binary(Bytes::from_static(&[255]))),
            Heard::Data(255, Bytes::new())
        );
        for text in ["", "x", "1***", "ä"] {
            assert_eq!(decode(TEXT, Message::text(text)), Heard::Nothing, "{text}");
        }
    }
}
