//! A command's standard streams in the messages of a WebSocket.

use std::time::Duration;

use bus::stream::{Event, Reader, Stdio, Stream, Writer};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Error;

use super::exit;
use super::upgrade::Channels;
use super::websocket::{self, Heard, Listener, Speaker};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// How often the client hears of us though the command is silent, so that one that vanished is noticed.
const PONG: Duration = Duration::from_secs(15);

/// Carries `stream` until the command has ended or the client is gone, which ends the command's streams.
pub(super) async fn run<IO>(io: IO, channels: Channels, stream: Stream, stdio: Stdio)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (mut speaker, mut listener) = websocket::split(io, channels).await;
    let (writer, mut reader) = stream.split();
    let status = tokio::select! {
        () = hear(&mut listener, &writer) => return,
        spoken = speak(&mut speaker, &mut reader, stdio) => spoken,
    };
    let Ok(status) = status else { return };
    if speaker.send(ERROR, &status).await.is_ok() {
        speaker.close(&mut listener).await;
    }
}

/// From the client to the command, until the client is gone.
async fn hear<IO>(listener: &mut Listener<IO>, writer: &Writer)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(heard) = listener.next().await {
        let passed_on = match heard {
            Heard::Data(channel @ (STDIN | RESIZE), bytes) => writer.send(channel, bytes).await,
            Heard::End(STDIN) => writer.eof(STDIN).await,
            _ => Ok(()),
        };
        if passed_on.is_err() {
            // The other direction learns why.
            return std::future::pending().await;
        }
    }
}

/// From the command to the client, until the command has ended; returns its `Status`.
async fn speak<IO>(speaker: &mut Speaker<IO>, reader: &mut Reader, stdio: Stdio) -> Result<Bytes, Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // An empty message tells the client that it is connected, as upstream does it.
    let first = if stdio.stdout {
        STDOUT
    } else if stdio.stderr {
        STDERR
    } else {
        ERROR
    };
    speaker.send(first, b"").await?;
    let mut pong = interval(PONG);
    pong.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = reader.recv() => match event {
                Ok(Event::Data(channel @ (STDOUT | STDERR), chunk)) => speaker.send(channel, &chunk).await?,
                Ok(Event::Data(..) | Event::Eof(_)) => {}
                Ok(Event::Close(status)) => return Ok(exit::status(status)),
                Err(error) => return Ok(exit::broken_off(&error.to_string())),
            },
            _ = pong.tick() => speaker.pong().await?,
        }
    }
}
