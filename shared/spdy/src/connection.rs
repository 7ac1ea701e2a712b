//! A connection: the task that reads, the task that writes, and what is shared between them and the streams.
//!
//! Everything that is written goes through one queue, so that what ends a stream stays behind its data. Data wait for
//! room in it; the rest is small and bounded by the number of streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::frame::{self, Decoder, Frame};
use crate::headers::{Deflater, Headers, Inflater};
use crate::inbound::{Inbound, Piece, queue};
use crate::stream::{Receiver, Sender, Stream};
use crate::{Error, frame as wire};

/// Streams of a connection at a time: two for each forwarded connection of a browser, with much to spare.
const STREAMS_MAX: usize = 1_024;
/// Streams that the peer opened and nobody has looked at yet.
const OFFERS_MAX: usize = 64;
/// Bytes of data that wait to be written.
const OUT_ROOM: usize = 256 * 1024;
/// Answers to pings that wait to be written; a peer that does not read gets no more of them.
const PONGS_MAX: usize = 16;
/// What is read and written at a time.
const BUFFER: usize = 64 * 1024;
/// With less than this left a fresh buffer is taken.
const BUFFER_MIN: usize = 8 * 1024;
/// How long a closed connection waits for the peer to have read everything and close its side: dropping it earlier
/// makes the kernel throw away what is under way.
const LINGER: Duration = Duration::from_secs(3);

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asked for the upgrade; its streams have odd numbers.
    Client,
    /// Granted it; its streams have even numbers.
    Server,
}

/// A connection. Dropping it cuts it off; [`Connection::close`] ends it so that everything arrives.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// The streams that the peer opens.
#[derive(Debug)]
pub struct Incoming {
    offers: mpsc::Receiver<Offer>,
}

/// A stream that the peer wants; dropping it refuses it.
#[derive(Debug)]
pub struct Offer {
    /// Its headers.
    pub headers: Headers,
    stream: Option<Stream>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    streams: Mutex<Streams>,
    out: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    pongs: AtomicUsize,
    /// We have ended the connection; what still comes is thrown away.
    closing: CancellationToken,
    closed: CancellationToken,
    why: OnceLock<Error>,
}

#[derive(Debug)]
struct Streams {
    role: Role,
    /// The number of our next stream.
    next: u32,
    /// The last number that the peer used.
    last_of_peer: u32,
    /// The connection takes no more streams.
    over: bool,
    entries: HashMap<u32, Entry>,
}

#[derive(Debug)]
struct Entry {
    inbound: Inbound,
    /// Whoever waits for the peer to accept it.
    reply: Option<oneshot::Sender<Result<Headers, Error>>>,
    reset: CancellationToken,
    /// We have sent all.
    sent: bool,
    /// The peer has sent all.
    received: bool,
    /// Nobody here wants more.
    deaf: bool,
}

#[derive(Debug)]
pub(crate) enum Out {
    Syn { stream: u32, headers: Headers },
    Reply { stream: u32 },
    Data { stream: u32, bytes: Bytes, fin: bool },
    Reset { stream: u32, status: u32 },
    Pong { id: u32 },
    GoAway { last: u32, status: u32 },
    End,
}

#[derive(Debug)]
struct Queued {
    out: Out,
    _room: Option<OwnedSemaphorePermit>,
}

// === impl Connection ===

impl Connection {
    /// Takes over a connection on which both sides have agreed to speak SPDY.
    pub fn start<IO>(io: IO, role: Role) -> (Connection, Incoming)
    where
        IO: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(io);
        let (out, queued) = mpsc::unbounded_channel();
        let (offer, offers) = mpsc::channel(OFFERS_MAX);
        let shared = Arc::new(Shared {
            streams: Mutex::new(Streams::new(role)),
            out,
            room: Arc::new(Semaphore::new(OUT_ROOM)),
            pongs: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            why: OnceLock::new(),
        });
        tokio::spawn(read(reader, shared.clone(), offer));
        tokio::spawn(write(writer, shared.clone(), queued));
        (Connection { shared }, Incoming { offers })
    }

    /// Opens a stream; resolves when the peer has accepted it.
    pub async fn open(&self, headers: Headers) -> Result<Stream, Error> {
        let (reply, replied) = oneshot::channel();
        let stream = self.shared.announce(headers, reply)?;
        match replied.await {
            Ok(Ok(headers)) => Ok(Stream { headers, ..stream }),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(self.shared.why()),
        }
    }

    /// Resolves when the connection has ended, whoever ended it.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    /// Ends the connection behind everything that was sent, and waits a while for the peer to have it.
    pub async fn close(self) {
        let last = self.shared.streams().last_of_peer;
        let _ = self.shared.put(Out::GoAway { last, status: wire::OK });
        let _ = self.shared.put(Out::End);
        self.shared.closing.cancel();
        // A peer that does not close by now has had its time.
        let _ = timeout(LINGER, self.shared.closed.cancelled()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.finish(Error::Closed);
    }
}

// === impl Incoming ===

impl Incoming {
    /// The next stream that the peer wants; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Offer> {
        self.offers.recv().await
    }
}

// === impl Offer ===

impl Offer {
    /// Takes the stream.
    pub fn accept(mut self) -> Result<Stream, Error> {
        let stream = self.stream.take().expect("an offer holds its stream until it is used");
        self.shared.put(Out::Reply { stream: stream.sender.id() })?;
        Ok(Stream { headers: std::mem::take(&mut self.headers), ..stream })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.sender.reset(wire::REFUSED_STREAM);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().expect("nothing panics while it holds this lock")
    }

    pub(crate) fn why(&self) -> Error {
        self.why.get().cloned().unwrap_or(Error::Closed)
    }

    /// Queues what needs no room.
    pub(crate) fn put(&self, out: Out) -> Result<(), Error> {
        self.out.send(Queued { out, _room: None }).map_err(|_| self.why())
    }

    /// Queues data, waiting for room.
    pub(crate) async fn put_data(&self, stream: u32, bytes: Bytes) -> Result<(), Error> {
        let size = u32::try_from(bytes.len()).expect("data are cut before");
        let room = self.room.clone().acquire_many_owned(size).await.map_err(|_| self.why())?;
        let out = Out::Data { stream, bytes, fin: false };
        self.out.send(Queued { out, _room: Some(room) }).map_err(|_| self.why())
    }

    /// Ends the connection for everybody on this side.
    fn finish(&self, why: Error) {
        // Whoever was first knows why.
        let _ = self.why.set(why);
        self.room.close();
        let ended: Vec<Entry> = {
            let mut streams = self.streams();
            streams.over = true;
            streams.entries.drain().map(|(_, entry)| entry).collect()
        };
        ended.iter().for_each(|entry| entry.reset.cancel());
        self.closed.cancel();
    }

    fn announce(
        self: &Arc<Self>,
        headers: Headers,
        reply: oneshot::Sender<Result<Headers, Error>>,
    ) -> Result<Stream, Error> {
        let mut streams = self.streams();
        if streams.over {
            return Err(self.why());
        }
        let id = streams.next;
        streams.next =
            id.checked_add(2).filter(|next| next >> 31 == 0).ok_or(Error::Protocol("no more streams"))?;
        // Queued under the lock, because numbers must rise on the wire.
        self.put(Out::Syn { stream: id, headers })?;
        Ok(streams.insert(self, id, Some(reply)))
    }

    /// Our side of a stream has sent all.
    pub(crate) fn sent_all(&self, stream: u32) -> Result<(), Error> {
        self.put(Out::Data { stream, bytes: Bytes::new(), fin: true })?;
        self.change(stream, |entry| entry.sent = true);
        Ok(())
    }

    /// Nobody here wants more of a stream.
    pub(crate) fn deaf(&self, stream: u32) {
        self.change(stream, |entry| entry.deaf = true);
    }

    /// Gives a stream up.
    pub(crate) fn give_up(&self, stream: u32, status: u32) {
        if self.streams().entries.remove(&stream).is_some() {
            // The connection may be gone, and the stream with it.
            let _ = self.put(Out::Reset { stream, status });
        }
    }

    /// Changes a stream and forgets it once both sides are through with it.
    fn change(&self, stream: u32, change: impl FnOnce(&mut Entry)) {
        let mut streams = self.streams();
        let Some(entry) = streams.entries.get_mut(&stream) else { return };
        change(entry);
        let (sent, received, deaf) = (entry.sent, entry.received, entry.deaf);
        if sent && (received || deaf) {
            streams.entries.remove(&stream);
            if !received {
                // What the peer still sends interests nobody: let it stop.
                let _ = self.put(Out::Reset { stream, status: wire::CANCEL });
            }
        }
    }

    /// Acts on a frame.
    async fn take(
        self: &Arc<Self>,
        frame: Frame,
        inflater: &mut Inflater,
        offers: &mpsc::Sender<Offer>,
    ) -> Result<(), Error> {
        match frame {
            Frame::SynStream { stream, fin, unidirectional, block } => {
                let headers = inflater.inflate(&block)?;
                self.offered(stream, headers, fin, unidirectional, offers)?;
            }
            Frame::SynReply { stream, fin, block } => {
                let headers = inflater.inflate(&block)?;
                self.change(stream, |entry| {
                    if let Some(reply) = entry.reply.take() {
                        // Whoever opened it may have left.
                        let _ = reply.send(Ok(headers));
                    }
                });
                self.received(stream, Bytes::new(), fin).await;
            }
            Frame::Headers { stream, fin, block } => {
                inflater.inflate(&block)?;
                self.received(stream, Bytes::new(), fin).await;
            }
            Frame::Data { stream, bytes, fin } => self.received(stream, bytes, fin).await,
            Frame::Reset { stream } => self.was_reset(stream),
            Frame::Ping { id } => self.pinged(id),
            Frame::GoAway => self.streams().over = true,
            Frame::Other => {}
        }
        Ok(())
    }

    fn offered(
        self: &Arc<Self>,
        id: u32,
        headers: Headers,
        fin: bool,
        unidirectional: bool,
        offers: &mpsc::Sender<Offer>,
    ) -> Result<(), Error> {
        let mut stream = {
            let mut streams = self.streams();
            streams.number_of_peer(id)?;
            if streams.over || streams.entries.len() >= STREAMS_MAX {
                return self.put(Out::Reset { stream: id, status: wire::REFUSED_STREAM });
            }
            streams.insert(self, id, None)
        };
        if unidirectional {
            stream.sender.not_ours();
            self.change(id, |entry| entry.sent = true);
        }
        if fin {
            self.ended_by_peer(id);
        }
        // Dropping the offer when there is no place for it refuses the stream.
        let _ = offers.try_send(Offer { headers, stream: Some(stream), shared: self.clone() });
        Ok(())
    }

    async fn received(&self, stream: u32, bytes: Bytes, fin: bool) {
        if !bytes.is_empty() {
            // What comes for a stream that we have forgotten is thrown away.
            let inbound = {
                let streams = self.streams();
                streams
                    .entries
                    .get(&stream)
                    .filter(|entry| !entry.received)
                    .map(|entry| entry.inbound.clone())
            };
            if let Some(inbound) = inbound {
                tokio::select! {
                    () = self.closing.cancelled() => {}
                    () = inbound.push(bytes) => {}
                }
            }
        }
        if fin {
            self.ended_by_peer(stream);
        }
    }

    fn ended_by_peer(&self, stream: u32) {
        self.change(stream, |entry| {
            entry.received = true;
            entry.inbound.end(Piece::Fin);
        });
    }

    fn was_reset(&self, stream: u32) {
        let Some(entry) = self.streams().entries.remove(&stream) else { return };
        if let Some(reply) = entry.reply {
            // Whoever opened it may have left.
            let _ = reply.send(Err(Error::Reset));
        }
        entry.inbound.end(Piece::Reset);
        entry.reset.cancel();
    }

    fn pinged(&self, id: u32) {
        // The peer's pings have numbers of its own parity; the others would be answers to ours.
        if self.streams().is_of_peer(id) && self.pongs.load(Ordering::Relaxed) < PONGS_MAX {
            self.pongs.fetch_add(1, Ordering::Relaxed);
            // The connection may be gone.
            let _ = self.put(Out::Pong { id });
        }
    }
}

// === impl Streams ===

impl Streams {
    fn new(role: Role) -> Self {
        let next = match role {
            Role::Client => 1,
            Role::Server => 2,
        };
        Streams { role, next, last_of_peer: 0, over: false, entries: HashMap::new() }
    }

    fn is_of_peer(&self, number: u32) -> bool {
        (number % 2 == 1) == (self.role == Role::Server)
    }

    fn number_of_peer(&mut self, id: u32) -> Result<(), Error> {
        if !self.is_of_peer(id) || id <= self.last_of_peer {
            return Err(Error::Protocol("a stream's number is not the next one"));
        }
        self.last_of_peer = id;
        Ok(())
    }

    fn insert(
        &mut self,
        shared: &Arc<Shared>,
        id: u32,
        reply: Option<oneshot::Sender<Result<Headers, Error>>>,
    ) -> Stream {
        let (inbound, outlet) = queue();
        let reset = CancellationToken::new();
        let entry = Entry { inbound, reply, reset: reset.clone(), sent: false, received: false, deaf: false };
        self.entries.insert(id, entry);
        Stream {
            headers: Headers::new(),
            sender: Sender::new(id, shared.clone(), reset),
            receiver: Receiver::new(id, shared.clone(), outlet),
        }
    }
}

// === the two tasks ===

async fn read<R: AsyncRead + Unpin>(mut io: R, shared: Arc<Shared>, offers: mpsc::Sender<Offer>) {
    let why = tokio::select! {
        why = read_all(&mut io, &shared, &offers) => why,
        () = shared.closed.cancelled() => return,
    };
    let Err(why) = why else { return shared.finish(Error::Closed) };
    debug!("connection fails: {why}");
    if matches!(why, Error::Protocol(_)) {
        let last = shared.streams().last_of_peer;
        let _ = shared.put(Out::GoAway { last, status: wire::PROTOCOL_ERROR });
        let _ = shared.put(Out::End);
        // Gives the write task the time to say so.
        let _ = timeout(LINGER, shared.out.closed()).await;
    }
    shared.finish(why);
}

async fn read_all<R: AsyncRead + Unpin>(
    io: &mut R,
    shared: &Arc<Shared>,
    offers: &mpsc::Sender<Offer>,
) -> Result<(), Error> {
    let (mut decoder, mut inflater) = (Decoder::default(), Inflater::new());
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = decoder.decode(&mut buffer)? {
            shared.take(frame, &mut inflater, offers).await?;
        }
        if buffer.capacity() - buffer.len() < BUFFER_MIN {
            buffer.reserve(BUFFER);
        }
        if io.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut io: W,
    shared: Arc<Shared>,
    queued: mpsc::UnboundedReceiver<Queued>,
) {
    let written = tokio::select! {
        written = write_all(&mut io, &shared, queued) => written,
        () = shared.closed.cancelled() => return,
    };
    if let Err(why) = written {
        shared.finish(why);
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    io: &mut W,
    shared: &Shared,
    mut queued: mpsc::UnboundedReceiver<Queued>,
) -> Result<(), Error> {
    let (mut deflater, mut buffer) = (Deflater::new(), BytesMut::with_capacity(BUFFER));
    while let Some(mut next) = queued.recv().await {
        loop {
            if matches!(next.out, Out::End) {
                io.write_all_buf(&mut buffer).await?;
                io.shutdown().await?;
                return Ok(());
            }
            encode(&mut buffer, &mut deflater, shared, &next.out);
            if buffer.len() >= BUFFER {
                break;
            }
            match queued.try_recv() {
                Ok(more) => next = more,
                Err(_) => break,
            }
        }
        // The room of what was written is free again with `next`; the buffer is bounded by itself.
        io.write_all_buf(&mut buffer).await?;
        io.flush().await?;
    }
    Ok(())
}

fn encode(buffer: &mut BytesMut, deflater: &mut Deflater, shared: &Shared, out: &Out) {
    match out {
        Out::Syn { stream, headers } => frame::put_syn_stream(buffer, *stream, &deflater.compress(headers)),
        Out::Reply { stream } => frame::put_syn_reply(buffer, *stream, &deflater.compress(&Headers::new())),
        Out::Data { stream, bytes, fin } => frame::put_data(buffer, *stream, bytes, *fin),
        Out::Reset { stream, status } => frame::put_reset(buffer, *stream, *status),
        Out::Pong { id } => {
            shared.pongs.fetch_sub(1, Ordering::Relaxed);
            frame::put_ping(buffer, *id);
        }
        Out::GoAway { last, status } => frame::put_go_away(buffer, *last, *status),
        Out::End => {}
    }
}
