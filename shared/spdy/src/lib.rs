//! SPDY/3.1 as Kubernetes uses it: many byte streams over one upgraded connection, in both roles.
//!
//! ```text
//!  Connection::open(headers) ─┐                               ┌─> Incoming::next() -> Offer ─ accept ─> Stream
//!  Stream { Sender, Receiver }├─ Out ─> write task ─> frames ─┤
//!                             │         (compresses headers)  ├─> Receiver::next()   (a bounded queue a stream)
//!                             └───────── read task <─ frames ─┘
//! ```
//! * `dictionary`: the words that both sides' compression knows beforehand
//! * `headers`: names and values, compressed and not
//! * `frame`: bytes to frames and back (pure)
//! * `inbound`: what came for a stream and was not yet taken
//! * `connection`: the two tasks, and what a program holds of a connection
//! * `stream`: a stream's two halves
//!
//! kubectl up to 1.30 speaks it after an HTTP upgrade, kubectl from 1.31 inside WebSocket messages for port-forward,
//! and containerd at its streaming addresses. Absent on purpose: the HTTP upgrade itself, and flow control, because
//! none of those peers keeps to windows: the queue of a stream whose consumer stands still is filled, then the
//! connection is not read any further.

mod connection;
mod dictionary;
mod frame;
mod headers;
mod inbound;
mod stream;

pub use connection::{Connection, Incoming, Offer, Role};
pub use headers::Headers;
pub use stream::{Receiver, Sender, Stream};

/// What goes wrong on a connection or one of its streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection ended, or we ended it.
    #[error("the connection is closed")]
    Closed,
    /// The peer gave this stream up.
    #[error("the stream was reset by the other side")]
    Reset,
    /// The peer does not keep to the protocol.
    #[error("the other side broke SPDY's rules: {0}")]
    Protocol(&'static str),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Io(error.to_string())
    }
}
