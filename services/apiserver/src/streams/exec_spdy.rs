//! A command's standard streams over SPDY: a stream each, and one for the result.

use std::time::Duration;

use bus::stream::{Event, Reader, Stdio, Stream, Writer};
use bytes::Bytes;
use spdy::{Connection, Incoming, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::exit;
use super::upgrade::Version;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 4;

/// How long the client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);

/// The streams that a client opens.
#[derive(Default)]
struct Standard {
    error: Option<spdy::Stream>,
    stdin: Option<spdy::Stream>,
    stdout: Option<spdy::Stream>,
    stderr: Option<spdy::Stream>,
    resize: Option<spdy::Stream>,
}

/// Carries `stream` until the command has ended or the client is gone, which ends the command's streams.
pub(super) async fn run<IO>(io: IO, version: Version, stream: Stream, stdio: Stdio)
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (connection, mut incoming) = Connection::start(io, Role::Server);
    let opened = timeout(OPENING, Standard::gather(&mut incoming, version, stdio)).await;
    let Ok(Some(mut standard)) = opened else { return debug!("the client did not open its streams") };
    let (writer, mut reader) = stream.split();
    let (stdin, resize) = (standard.stdin.take(), standard.resize.take());
    let input = async {
        tokio::join!(hear(stdin, STDIN, &writer), hear(resize, RESIZE, &writer));
        // The command goes on without input.
        std::future::pending::<()>().await;
    };
    let status = tokio::select! {
        () = input => return,
        () = connection.closed() => return,
        status = speak(&mut standard, &mut reader) => status,
    };
    let Ok(status) = status else { return };
    let result = if version == Version::V4 { status } else { exit::text(&status) };
    if standard.finish(result).await.is_ok() {
        connection.close().await;
    }
}

/// From a stream of the client to a channel of the command.
async fn hear(stream: Option<spdy::Stream>, channel: u8, writer: &Writer) {
    let Some(mut stream) = stream else { return };
    // A stream that breaks off ends like one that is finished: the command must not wait for more.
    while let Ok(Some(bytes)) = stream.receiver.next().await {
        if writer.send(channel, bytes).await.is_err() {
            return;
        }
    }
    // The stream may have ended already; whoever reads it knows why.
    let _ = writer.eof(channel).await;
}

/// From the command to the client, until the command has ended; returns its `Status`.
async fn speak(standard: &mut Standard, reader: &mut Reader) -> Result<Bytes, spdy::Error> {
    loop {
        match reader.recv().await {
            Ok(Event::Data(channel, chunk)) => {
                if let Some(stream) = standard.output(channel) {
                    stream.sender.send(Bytes::clone(&chunk)).await?;
                }
            }
            Ok(Event::Eof(channel)) => {
                if let Some(stream) = standard.output(channel) {
                    stream.sender.finish()?;
                }
            }
            Ok(Event::Close(status)) => return Ok(exit::status(status)),
            Err(error) => return Ok(exit::broken_off(&error.to_string())),
        }
    }
}

// === impl Standard ===

impl Standard {
    /// Takes the streams that the client has to open; `None` when it opens others or goes.
    async fn gather(incoming: &mut Incoming, version: Version, stdio: Stdio) -> Option<Standard> {
        let mut standard = Standard::default();
        while !standard.complete(version, stdio) {
            let offer = incoming.next().await?;
            let kind = offer.headers.get("streamType").unwrap_or("").to_owned();
            let slot = match kind.as_str() {
                "error" => &mut standard.error,
                "stdin" => &mut standard.stdin,
                "stdout" => &mut standard.stdout,
                "stderr" => &mut standard.stderr,
                "resize" => &mut standard.resize,
                _ => return None,
            };
            if slot.is_some() {
                return None;
            }
            *slot = Some(offer.accept().ok()?);
        }
        Some(standard)
    }

    fn complete(&self, version: Version, stdio: Stdio) -> bool {
        let resizes = stdio.tty && version != Version::V2;
        self.error.is_some()
            && (self.stdin.is_some() || !stdio.stdin)
            && (self.stdout.is_some() || !stdio.stdout)
            && (self.stderr.is_some() || !stdio.stderr)
            && (self.resize.is_some() || !resizes)
    }

    fn output(&mut self, channel: u8) -> Option<&mut spdy::Stream> {
        match channel {
            STDOUT => self.stdout.as_mut(),
            STDERR => self.stderr.as_mut(),
            _ => None,
        }
    }

    /// Ends the outputs, then says how the command ended.
    async fn finish(&mut self, result: Bytes) -> Result<(), spdy::Error> {
        for stream in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            stream.sender.finish()?;
        }
        if let Some(error) = &mut self.error {
            error.sender.send(result).await?;
            error.sender.finish()?;
        }
        Ok(())
    }
}
