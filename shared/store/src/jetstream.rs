//! The log on NATS JetStream.
//!
//! ```text
//!  stream STATE        state.pods  state.nodes  state.secrets  state.rest      appended to, purged behind checkpoints
//!  stream EVENTS       events.events                                           the same
//!  stream CHECKPOINTS  checkpoint.<stream>.pointer                             last one counts
//!                      checkpoint.<stream>.chunk.<checkpoint>.<class>.<index>
//! ```
//! The requests are written out here instead of going through the client library's builders: the log needs few of
//! them, needs their errors told apart, and needs the counts in a consumer's replies.

mod api;
mod consumer;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Client;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::Class;
use serde_json::json;

use crate::checkpoint::Manifest;
use crate::log::{Bounds, ChunkName, Chunks, Ends, Entry, Log, LogError, Pointer, Stream, Tail};
use api::{Api, ApiError};
use consumer::{Consumer, Received, Wanted};

/// How the streams are made, where they are not there yet.
#[derive(Clone, Copy, Debug)]
pub struct JetStreamOptions {
    /// Servers that hold a copy of each stream: 1, 3 or 5.
    pub replicas: usize,
    /// Whether this process makes the streams. One that has no right to waits until they are there.
    pub create: bool,
}

/// The log on a JetStream server.
#[derive(Clone)]
pub struct JetStream {
    api: Api,
}

/// Messages of a stream, followed by a consumer.
struct JetStreamTail {
    consumer: Consumer,
}

/// Pieces of a checkpoint, read by a consumer.
struct JetStreamChunks {
    consumer: Consumer,
    left: u64,
}

const CHECKPOINTS: &str = "CHECKPOINTS";

/// Pause before the streams are looked for again.
const PAUSE: Duration = Duration::from_millis(250);

/// Sequences left out when a stream that was lost is made again from a checkpoint. More messages than this are never
/// between two checkpoints, so no revision that a client may have seen is given out twice.
const LOST_AT_MOST: u64 = 1 << 17;

/// Within this time the server recognises a message that is sent again by its id. Later copies are recognised when
/// they are applied.
const RECOGNISED: Duration = Duration::from_secs(120);

/// Room for headers in a message.
const HEADERS: usize = 512;

const MSG_ID: &str = "Nats-Msg-Id";
const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";

// === impl JetStreamOptions ===

impl Default for JetStreamOptions {
    fn default() -> Self {
        JetStreamOptions { replicas: 1, create: true }
    }
}

// === impl JetStream ===

impl JetStream {
    /// The log on the server that `client` is connected to. Makes the streams that are missing, or waits for them.
    pub async fn connect(client: Client, options: JetStreamOptions) -> Result<JetStream, LogError> {
        let log = JetStream { api: Api::new(client) };
        log.ensure(CHECKPOINTS, options, || log.make_checkpoints(options)).await?;
        for stream in [Stream::State, Stream::Events] {
            log.ensure(stream.name(), options, || log.make(stream, options)).await?;
        }
        Ok(log)
    }

    /// Waits until a stream is there. Makes it if that is this process' part.
    async fn ensure<F>(
        &self,
        name: &str,
        options: JetStreamOptions,
        make: impl Fn() -> F,
    ) -> Result<(), LogError>
    where
        F: Future<Output = Result<(), LogError>>,
    {
        loop {
            let tried = match self.api.info(name).await {
                Ok(_) => return Ok(()),
                Err(ApiError::NotFound(_)) if options.create => make().await,
                Err(error) => Err(error.into()),
            };
            match tried {
                Err(LogError::Refused(why)) => {
                    return Err(LogError::Refused(format!("stream {name}: {why}")));
                }
                Err(error) => tracing::info!(stream = name, %error, "waiting for the stream"),
                Ok(()) => continue,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn make_checkpoints(&self, options: JetStreamOptions) -> Result<(), LogError> {
        let config = json!({
            "name": CHECKPOINTS,
            "description": "Sampan: the state at some sequences of STATE and EVENTS",
            "subjects": ["checkpoint.>"],
            "max_msgs_per_subject": 1,
            "num_replicas": options.replicas,
            "storage": "file",
            "discard": "new",
        });
        Ok(self.api.create_stream(CHECKPOINTS, &config).await?)
    }

    /// Makes a stream of the log. If there is a checkpoint of it, it is there for the second time: the messages after
    /// the checkpoint are lost, and it begins where none of their revisions can come again.
    async fn make(&self, stream: Stream, options: JetStreamOptions) -> Result<(), LogError> {
        let mut first = 1;
        if let Some(pointer) = self.pointer(stream).await? {
            let mut manifest = Manifest::decode(&pointer.value).map_err(LogError::Refused)?;
            if manifest.move_beyond(LOST_AT_MOST) {
                self.point(stream, manifest.encode(), pointer.version).await?;
            }
            first = manifest.sequence + 1;
            let stream = stream.name();
            tracing::warn!(stream, first, "the stream is lost; made again from the checkpoint");
        }
        let config = json!({
            "name": stream.name(),
            "description": "Sampan: packed conditional transactions, in the order that decides them",
            "subjects": [format!("{}.*", prefix(stream))],
            "num_replicas": options.replicas,
            "storage": "file",
            "discard": "new",
            "duplicate_window": RECOGNISED.as_nanos() as u64,
            "first_seq": first,
        });
        Ok(self.api.create_stream(stream.name(), &config).await?)
    }

    /// Sequence of the newest message of a class. The answer brings the message along, which is why only readers of
    /// some classes ask; a consumer's own state does not tell how far it has looked past what it skips.
    async fn newest(&self, stream: &str, class: Class) -> Result<u64, LogError> {
        match self.api.last(stream, &subject(class)).await {
            Ok((sequence, _)) => Ok(sequence),
            Err(ApiError::NotFound(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    async fn end_slow_consumers(&self, stream: Stream, before: u64) -> Result<(), LogError> {
        for consumer in self.api.consumers(stream.name()).await? {
            if consumer.delivered.stream_seq + 1 < before && consumer.num_pending > 0 {
                let (name, at) = (&consumer.name, consumer.delivered.stream_seq);
                tracing::warn!(
                    stream = stream.name(),
                    name,
                    at,
                    before,
                    "a reader is too slow and starts again"
                );
                self.api.delete_consumer(stream.name(), name).await?;
            }
        }
        Ok(())
    }
}

impl Log for JetStream {
    fn append<'a>(
        &'a self,
        class: Class,
        id: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        async move {
            let headers = [(MSG_ID, id), (EXPECTED_STREAM, Stream::of(class).name())];
            Ok(self.api.publish(subject(class), &headers, payload).await?)
        }
        .boxed()
    }

    fn read<'a>(&'a self, classes: &'a [Class], from: u64) -> BoxFuture<'a, Result<Box<dyn Tail>, LogError>> {
        async move {
            let stream = stream_of(classes);
            let all = classes.len() == stream.classes().len();
            let subjects = classes.iter().filter(|_| !all).map(|class| subject(*class)).collect();
            let wanted = Wanted { stream: stream.name(), subjects, from };
            let consumer = Consumer::start(self.api.clone(), wanted).await?;
            Ok(Box::new(JetStreamTail { consumer }) as Box<dyn Tail>)
        }
        .boxed()
    }

    fn bounds(&self, stream: Stream) -> BoxFuture<'_, Result<Bounds, LogError>> {
        async move {
            let state = self.api.info(stream.name()).await?.state;
            let first = if state.messages == 0 { state.last_seq + 1 } else { state.first_seq };
            Ok(Bounds { first, last: state.last_seq, bytes: state.bytes })
        }
        .boxed()
    }

    fn ends<'a>(&'a self, classes: &'a [Class]) -> BoxFuture<'a, Result<Ends, LogError>> {
        async move {
            let stream = stream_of(classes).name();
            // In this order: what the classes get after the first answer may be left out of neither.
            let end = self.api.info(stream).await?.state.last_seq;
            let newest = classes.iter().map(|class| self.newest(stream, *class));
            let newest = futures::future::try_join_all(newest).await?;
            Ok(Ends { stream: end, classes: newest.into_iter().max().unwrap_or(0) })
        }
        .boxed()
    }

    fn purge(&self, stream: Stream, before: u64) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.end_slow_consumers(stream, before).await?;
            Ok(self.api.purge(stream.name(), &json!({ "seq": before })).await?)
        }
        .boxed()
    }

    fn pointer(&self, stream: Stream) -> BoxFuture<'_, Result<Option<Pointer>, LogError>> {
        async move {
            match self.api.last(CHECKPOINTS, &pointer_subject(stream)).await {
                Ok((version, value)) => Ok(Some(Pointer { value, version })),
                Err(ApiError::NotFound(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn point(&self, stream: Stream, value: Bytes, replaces: u64) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let replaces = replaces.to_string();
            let headers = [(EXPECTED_LAST, replaces.as_str()), (EXPECTED_STREAM, CHECKPOINTS)];
            self.api.publish(pointer_subject(stream), &headers, value).await?;
            Ok(())
        }
        .boxed()
    }

    fn write_chunk(&self, name: ChunkName, chunk: Bytes) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.api.publish(chunk_subject(name), &[(EXPECTED_STREAM, CHECKPOINTS)], chunk).await?;
            Ok(())
        }
        .boxed()
    }

    fn read_chunks(&self, first: ChunkName, count: u64) -> BoxFuture<'_, Result<Box<dyn Chunks>, LogError>> {
        async move {
            let ChunkName { stream, checkpoint, class, .. } = first;
            let subject = format!("{}.{}.*", checkpoint_subjects(stream, checkpoint), class.token());
            let wanted = Wanted { stream: CHECKPOINTS, subjects: vec![subject], from: 1 };
            let consumer = Consumer::start(self.api.clone(), wanted).await?;
            Ok(Box::new(JetStreamChunks { consumer, left: count }) as Box<dyn Chunks>)
        }
        .boxed()
    }

    fn drop_chunks(&self, newest: ChunkName, failed: bool) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let request = if failed {
                json!({ "filter": format!("{}.>", checkpoint_subjects(newest.stream, newest.checkpoint)) })
            } else {
                let (first, _) = self.api.last(CHECKPOINTS, &chunk_subject(newest)).await?;
                json!({ "filter": format!("checkpoint.{}.chunk.>", newest.stream.name()), "seq": first })
            };
            Ok(self.api.purge(CHECKPOINTS, &request).await?)
        }
        .boxed()
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }

    fn max_message(&self) -> usize {
        self.api.max_payload().saturating_sub(HEADERS)
    }
}

// === impl JetStreamTail ===

impl Tail for JetStreamTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Entry, LogError>> {
        async move {
            loop {
                if let Received::Message(message) = self.consumer.receive().await? {
                    return message.entry();
                }
            }
        }
        .boxed()
    }
}

// === impl JetStreamChunks ===

impl Chunks for JetStreamChunks {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, LogError>> {
        async move {
            let gone = || LogError::Overtaken("the checkpoint was dropped while it was read".into());
            match self.consumer.receive().await? {
                Received::Message(message) => {
                    self.left = self.left.saturating_sub(1);
                    // The server tells how many more there are: fewer than needed means that they were dropped.
                    if message.pending < self.left { Err(gone()) } else { Ok(message.payload) }
                }
                // The server has nothing more to send.
                Received::Idle => Err(gone()),
            }
        }
        .boxed()
    }
}

/// The stream of some classes that are all of one.
fn stream_of(classes: &[Class]) -> Stream {
    classes.first().map_or(Stream::State, |class| Stream::of(*class))
}

fn prefix(stream: Stream) -> &'static str {
    match stream {
        Stream::State => "state",
        Stream::Events => "events",
    }
}

fn subject(class: Class) -> String {
    format!("{}.{}", prefix(Stream::of(class)), class.token())
}

fn pointer_subject(stream: Stream) -> String {
    format!("checkpoint.{}.pointer", stream.name())
}

fn checkpoint_subjects(stream: Stream, checkpoint: u64) -> String {
    format!("checkpoint.{}.chunk.{checkpoint:016x}", stream.name())
}

fn chunk_subject(name: ChunkName) -> String {
    format!("{}.{}.{}", checkpoint_subjects(name.stream, name.checkpoint), name.class.token(), name.index)
}
