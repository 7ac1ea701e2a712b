//! What the store asks of a log. [`crate::jetstream`] and [`crate::memory`] give it; one contract suite holds both.

use bytes::Bytes;
use futures::future::BoxFuture;
use model::Class;

/// A totally ordered sequence of messages. Two make up the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// All objects but events.
    State,
    /// Events, which leave by age.
    Events,
}

/// A message as a reader gets it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the stream.
    pub sequence: u64,
    /// Milliseconds since 1970, by the log's clock.
    pub time: u64,
    /// The class that it was appended to.
    pub class: Class,
    /// What was appended.
    pub payload: Bytes,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest sequence still there; one past `last` when the stream is empty.
    pub first: u64,
    /// The newest sequence ever given out, also if that message is gone.
    pub last: u64,
    /// Bytes of all messages.
    pub bytes: u64,
}

/// Where a stream ends, for a reader of some of its classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the stream ends.
    pub stream: u64,
    /// The newest message of the classes asked for; zero if there is none left. None that is newer than this is before
    /// the end of the stream.
    pub classes: u64,
}

/// The place of a piece of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkName {
    /// Whose state.
    pub stream: Stream,
    /// The checkpoint, a number drawn by its writer.
    pub checkpoint: u64,
    /// The class.
    pub class: Class,
    /// Counted from zero.
    pub index: u64,
}

/// The newest complete checkpoint of a stream, and the token with which it may be replaced.
#[derive(Clone, Debug)]
pub struct Pointer {
    /// What the writer of the checkpoint put there.
    pub value: Bytes,
    /// Must be given back to replace it.
    pub version: u64,
}

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No answer, or the connection is away. Whether the request was carried out is not known.
    #[error("{0}")]
    Unreachable(String),
    /// The log said no; nothing was changed.
    #[error("refused by the log: {0}")]
    Refused(String),
    /// Somebody else replaced the pointer meanwhile, or the chunk asked for is gone.
    #[error("overtaken: {0}")]
    Overtaken(String),
}

/// A log. All methods may be called at any time and from many tasks; none waits longer than some seconds.
pub trait Log: Send + Sync + 'static {
    /// Appends a message. Appending again with the same `id` after a lost answer is harmless.
    fn append<'a>(
        &'a self,
        class: Class,
        id: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<u64, LogError>>;

    /// Follows the messages of `classes` (all of one stream) from sequence `from` on.
    fn read<'a>(&'a self, classes: &'a [Class], from: u64) -> BoxFuture<'a, Result<Box<dyn Tail>, LogError>>;

    /// What the stream holds now. Counts as a linearizable read of its end.
    fn bounds(&self, stream: Stream) -> BoxFuture<'_, Result<Bounds, LogError>>;

    /// Where the stream of `classes` ends, and where the messages of these classes do. A linearizable read.
    fn ends<'a>(&'a self, classes: &'a [Class]) -> BoxFuture<'a, Result<Ends, LogError>>;

    /// Removes every message before sequence `before`, and ends the tails that are not yet there.
    fn purge(&self, stream: Stream, before: u64) -> BoxFuture<'_, Result<(), LogError>>;

    /// The newest checkpoint, if there is one.
    fn pointer(&self, stream: Stream) -> BoxFuture<'_, Result<Option<Pointer>, LogError>>;

    /// Makes `value` the newest checkpoint if `replaces` is still the version of the pointer (0: there is none).
    fn point(&self, stream: Stream, value: Bytes, replaces: u64) -> BoxFuture<'_, Result<(), LogError>>;

    /// Stores a piece of a checkpoint.
    fn write_chunk(&self, name: ChunkName, chunk: Bytes) -> BoxFuture<'_, Result<(), LogError>>;

    /// The `count` pieces of one class of a checkpoint, in order.
    fn read_chunks(&self, first: ChunkName, count: u64) -> BoxFuture<'_, Result<Box<dyn Chunks>, LogError>>;

    /// Removes the pieces of every checkpoint older than `newest`, or only those of `newest` itself if it failed.
    fn drop_chunks(&self, newest: ChunkName, failed: bool) -> BoxFuture<'_, Result<(), LogError>>;

    /// The log's clock, as well as this process knows it: milliseconds since 1970.
    fn now(&self) -> u64;

    /// Most bytes that a message may have.
    fn max_message(&self) -> usize;
}

/// Messages as they come.
pub trait Tail: Send {
    /// The next message. After an error the tail is of no more use.
    /// Cancelling loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Entry, LogError>>;
}

/// Pieces of a checkpoint as they come.
pub trait Chunks: Send {
    /// The next piece; an error if it is gone.
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, LogError>>;
}

// === impl Stream ===

impl Stream {
    /// The stream that a class is in.
    pub fn of(class: Class) -> Stream {
        match class {
            Class::Events => Stream::Events,
            Class::Pods | Class::Nodes | Class::Secrets | Class::Rest => Stream::State,
        }
    }

    /// The stream that keys with this prefix are in.
    pub fn of_prefix(prefix: &str) -> Stream {
        match prefix.strip_prefix("core/").or_else(|| prefix.strip_prefix("events.k8s.io/")) {
            Some(rest) if rest.starts_with("events/") => Stream::Events,
            _ => Stream::State,
        }
    }

    /// Every class of the stream.
    pub fn classes(self) -> &'static [Class] {
        match self {
            Stream::State => &Class::STATE,
            Stream::Events => &[Class::Events],
        }
    }

    /// The stream's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Stream::State => "STATE",
            Stream::Events => "EVENTS",
        }
    }
}
