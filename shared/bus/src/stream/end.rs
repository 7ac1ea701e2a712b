//! An end of a stream: a writer, a reader and the task between them and the bus.
//!
//! The task takes everything off the subscription at once, so that the bus is never the buffer and never calls us
//! slow; what it hands to the reader is bounded by the credit that the peer was given, and credit goes back when the
//! consumer drops a [`Chunk`].

use std::ops::Deref;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use super::credit::cost;
use super::inbound::{Inbound, Meaning};
use super::{CHANNELS, FRAME_BYTES, Frame, FrameBody, KEEPALIVE, SILENCE, WINDOW};
use crate::connection::Requests;
use crate::link::{Link, Message};
use crate::{Bus, codec};

/// How long the task that ends a stream waits for the connection to take its last word.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How often an end speaks, and how long it listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) keepalive: Duration,
    pub(super) silence: Duration,
}

/// Why a stream no longer works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A frame is missing.
    #[error("the bus lost a part of the stream")]
    Gap,
    /// Nothing was heard of the peer for [`SILENCE`].
    #[error("the other end of the stream is gone")]
    Silent,
    /// The peer does not keep to the protocol.
    #[error("the other end broke the rules of the stream: {0}")]
    Protocol(&'static str),
    /// Our connection to the bus was closed for good.
    #[error("the bus is gone")]
    Disconnected,
    /// It was closed in the ordinary way, by either side.
    #[error("the stream has ended")]
    Ended,
}

/// Data that came; dropping it gives its credit back to the peer, so keep it until it is written.
#[derive(Debug)]
pub struct Chunk {
    bytes: Bytes,
    channel: u8,
    consumed: mpsc::UnboundedSender<(u8, usize)>,
}

/// What a reader sees.
#[derive(Debug)]
pub enum Event {
    /// Bytes of a channel.
    Data(u8, Chunk),
    /// A channel has ended.
    Eof(u8),
    /// The peer has closed the stream: for exec with the command's result, a `metav1.Status` as JSON; empty when it
    /// had none to give. The last event.
    Close(Bytes),
}

/// One end of a stream. Dropping it tells the peer that it is over.
#[derive(Debug)]
pub struct Stream {
    writer: Writer,
    reader: Reader,
}

/// The sending half; clones share the stream. The stream lives as long as a half of it.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader {
    events: mpsc::UnboundedReceiver<Event>,
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    /// Where our frames go.
    subject: String,
    /// The number of our next frame; held while a frame is handed to the connection, so that numbers are in order.
    next: Mutex<u64>,
    /// What we may send.
    credit: [Semaphore; CHANNELS as usize],
    over: CancellationToken,
    why: OnceLock<StreamError>,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Pace { keepalive: KEEPALIVE, silence: SILENCE }
    }
}

// === impl Stream ===

impl Stream {
    /// An end that reads from `incoming` and writes to `subject`.
    pub(super) fn start(bus: &Bus, incoming: Requests, subject: String, pace: Pace) -> Stream {
        let shared = Arc::new(Shared {
            link: bus.link(),
            subject,
            next: Mutex::new(0),
            credit: std::array::from_fn(|_| Semaphore::new(WINDOW)),
            over: CancellationToken::new(),
            why: OnceLock::new(),
        });
        let abandoned = CancellationToken::new();
        let alive = Arc::new(abandoned.clone().drop_guard());
        let (to_reader, events) = mpsc::unbounded_channel();
        tokio::spawn(drive(shared.clone(), incoming, to_reader, abandoned, pace));
        Stream {
            writer: Writer { shared: shared.clone(), _alive: alive.clone() },
            reader: Reader { events, shared, _alive: alive },
        }
    }

    /// The two halves.
    pub fn split(self) -> (Writer, Reader) {
        (self.writer, self.reader)
    }

    /// See [`Writer::send`].
    pub async fn send(&self, channel: u8, bytes: Bytes) -> Result<(), StreamError> {
        self.writer.send(channel, bytes).await
    }

    /// See [`Writer::eof`].
    pub async fn eof(&self, channel: u8) -> Result<(), StreamError> {
        self.writer.eof(channel).await
    }

    /// See [`Writer::close`].
    pub async fn close(&self, status: Bytes) -> Result<(), StreamError> {
        self.writer.close(status).await
    }

    /// See [`Reader::recv`].
    pub async fn recv(&mut self) -> Result<Event, StreamError> {
        self.reader.recv().await
    }
}

// === impl Writer ===

impl Writer {
    /// Sends bytes on a channel, waiting while the peer has too many of them unread. When the future is dropped
    /// part of the bytes may have gone.
    pub async fn send(&self, channel: u8, mut bytes: Bytes) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(FRAME_BYTES));
            let amount = u32::try_from(cost(part.len())).expect("a frame is small");
            let credit = self.shared.credit[channel as usize].acquire_many(amount).await;
            credit.map_err(|_| self.shared.why())?.forget();
            self.shared.publish(FrameBody::Data(channel, part)).await?;
        }
        Ok(())
    }

    /// Ends a channel.
    pub async fn eof(&self, channel: u8) -> Result<(), StreamError> {
        self.shared.publish(FrameBody::Eof(channel)).await
    }

    /// Ends the stream. What was sent before arrives before.
    pub async fn close(&self, status: Bytes) -> Result<(), StreamError> {
        self.shared.publish(FrameBody::Close(status)).await?;
        self.shared.end(StreamError::Ended);
        Ok(())
    }

    /// Resolves when the stream is over, whoever ended it.
    pub async fn closed(&self) -> StreamError {
        self.shared.over.cancelled().await;
        self.shared.why()
    }
}

// === impl Reader ===

impl Reader {
    /// What came next. After [`Event::Close`] or a failure there is only [`StreamError::Ended`] or that failure.
    pub async fn recv(&mut self) -> Result<Event, StreamError> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => Err(self.shared.why()),
        }
    }
}

// === impl Chunk ===

impl Deref for Chunk {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // Nobody is left to tell once the stream is over.
        let _ = self.consumed.send((self.channel, cost(self.bytes.len())));
    }
}

// === impl Shared ===

impl Shared {
    async fn publish(&self, body: FrameBody) -> Result<(), StreamError> {
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(self.why()),
            published = self.publish_anyway(body) => published,
        }
    }

    async fn publish_anyway(&self, body: FrameBody) -> Result<(), StreamError> {
        let mut next = self.next.lock().await;
        let frame = codec::encode(&Frame { number: *next, body });
        let message = Message {
            subject: self.subject.clone(),
            reply: None,
            headers: None,
            payload: frame,
            is_unheard: false,
        };
        self.link.publish(message).await.map_err(|_| StreamError::Disconnected)?;
        *next += 1;
        Ok(())
    }

    fn end(&self, why: StreamError) {
        // Whoever was first knows why.
        let _ = self.why.set(why);
        self.credit.iter().for_each(Semaphore::close);
        self.over.cancel();
    }

    fn why(&self) -> StreamError {
        self.why.get().cloned().unwrap_or(StreamError::Ended)
    }
}

/// Takes what comes, gives credit back, and says that we live, until either end has closed the stream.
async fn drive(
    shared: Arc<Shared>,
    mut incoming: Requests,
    to_reader: mpsc::UnboundedSender<Event>,
    abandoned: CancellationToken,
    pace: Pace,
) {
    let why = converse(&shared, &mut incoming, &to_reader, &abandoned, pace).await;
    if let Err(error) = &why {
        debug!(subject = %shared.subject, "stream failed: {error}");
    }
    let closed_here = shared.over.is_cancelled();
    if !closed_here && why != Ok(Over::ClosedByPeer) {
        // So that the peer need not wait for our silence. It may be gone, or the bus.
        let _ = timeout(LAST_WORD, shared.publish_anyway(FrameBody::Close(Bytes::new()))).await;
    }
    shared.end(why.err().unwrap_or(StreamError::Ended));
    drop(to_reader);
    incoming.stop().await;
}

#[derive(Debug, PartialEq)]
enum Over {
    ClosedByPeer,
    ClosedHere,
    Abandoned,
}

async fn converse(
    shared: &Shared,
    incoming: &mut Requests,
    to_reader: &mpsc::UnboundedSender<Event>,
    abandoned: &CancellationToken,
    pace: Pace,
) -> Result<Over, StreamError> {
    let (consumed, mut to_give_back) = mpsc::unbounded_channel();
    let mut inbound = Inbound::new();
    let mut keepalive = interval_at(Instant::now() + pace.keepalive, pace.keepalive);
    keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            message = incoming.next() => {
                let message = message.ok_or(StreamError::Disconnected)?;
                let frame = message.decode().map_err(|_| StreamError::Protocol("a malformed frame"))?;
                heard = Instant::now();
                match inbound.accept(frame)? {
                    Meaning::Data(channel, bytes) => {
                        let chunk = Chunk { bytes, channel, consumed: consumed.clone() };
                        // A reader that was dropped has consumed everything: the chunk is dropped here.
                        let _ = to_reader.send(Event::Data(channel, chunk));
                    }
                    Meaning::Eof(channel) => {
                        let _ = to_reader.send(Event::Eof(channel));
                    }
                    Meaning::Credit(channel, amount) => grant(&shared.credit[channel as usize], amount)?,
                    Meaning::Close(status) => {
                        let _ = to_reader.send(Event::Close(status));
                        return Ok(Over::ClosedByPeer);
                    }
                    Meaning::Alive => {}
                }
            }
            Some((channel, amount)) = to_give_back.recv() => {
                if let Some(portion) = inbound.consumed(channel, amount) {
                    say(shared, FrameBody::Credit(channel, portion), pace).await?;
                }
            }
            _ = keepalive.tick() => {
                if heard.elapsed() > pace.silence {
                    return Err(StreamError::Silent);
                }
                say(shared, FrameBody::Keepalive, pace).await?;
            }
            () = shared.over.cancelled() => return Ok(Over::ClosedHere),
            () = abandoned.cancelled() => return Ok(Over::Abandoned),
        }
    }
}

/// A frame of the task's own. The connection takes none while it is away and its queue is full.
async fn say(shared: &Shared, body: FrameBody, pace: Pace) -> Result<(), StreamError> {
    timeout(pace.silence, shared.publish_anyway(body)).await.map_err(|_| StreamError::Disconnected)?
}

/// More credit than the window holds can only be a peer's mistake.
fn grant(credit: &Semaphore, amount: usize) -> Result<(), StreamError> {
    if credit.available_permits().saturating_add(amount) > WINDOW {
        return Err(StreamError::Protocol("more credit than there was data"));
    }
    credit.add_permits(amount);
    Ok(())
}
