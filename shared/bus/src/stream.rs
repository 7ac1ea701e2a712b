//! Byte streams between an API server and a node: exec, attach, logs and port-forward.
//!
//! ```text
//!  API server                                          node
//!   open(): subscribe stream.<node>.<id>                │ Openings::next()
//!      ├─ node.<node>.open  Open ──────────────────────>│ prepares, subscribes node.<node>.stream.<id>
//!      │<─ Opened ──────────────────────────────────────┤ accept() or refuse()
//!      │<═ Frame 0, 1, 2 … ═══════════════════════════> │ each direction numbered by itself
//! ```
//! Each direction carries [`Frame`]s under credit: a sender may have [`WINDOW`] bytes a channel unacknowledged, so
//! that a slow reader holds its writer and nobody else. Core NATS may lose messages: a gap in the numbers, or a peer
//! that is silent for [`SILENCE`], fails the stream; nothing is sent twice and nothing is missing unnoticed.
//!
//! * this file: what goes over the wire
//! * `credit`: who may send how much (pure)
//! * `inbound`: what a frame that came means (pure)
//! * `end`: an end of a stream, with the one task that drives it
//! * `open`: how the two ends find each other

mod credit;
mod end;
mod inbound;
mod open;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use model::Status;
use serde::{Deserialize, Serialize};

/// Bytes a channel that may be under way unacknowledged: a few frames, so that the bus is never the buffer.
pub const WINDOW: usize = 1024 * 1024;
/// Bytes of data in one frame at most.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Channels are numbered below this: the standard streams, 3 (an error channel on other wires) and resize.
pub const CHANNELS: u8 = 5;
/// How often an end that has nothing to say says so.
pub const KEEPALIVE: Duration = Duration::from_secs(5);
/// A peer that was not heard for so long is gone: three keepalives.
pub const SILENCE: Duration = Duration::from_secs(15);

pub use credit::cost;
pub use end::{Chunk, Event, Reader, Stream, StreamError, Writer};
pub use open::{Opening, Openings, open, serve};

/// Asks a node to open a stream; answered by [`Opened`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Names the stream's subjects.
    pub id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// What to do.
    pub kind: Kind,
}

/// The node's answer to [`Open`].
pub type Opened = Result<(), Status>;

/// What a stream carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Run a command. Channels: 0 stdin, 1 stdout, 2 stderr, 4 resize (`{"Width":80,"Height":24}`).
    Exec {
        /// In this container.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// Which of the channels there are.
        stdio: Stdio,
    },
    /// Join the container's own process; channels as for exec.
    Attach {
        /// To this container.
        container: String,
        /// Which of the channels there are.
        stdio: Stdio,
    },
    /// Read a container's log; channel 1.
    Logs {
        /// Of this container.
        container: String,
        /// Which lines.
        options: LogOptions,
    },
    /// Connect to ports of the pod; each connection is a stream of its own: channel 0 to the pod, 1 from it.
    PortForward {
        /// The port.
        port: u16,
    },
}

/// Which standard streams a command has.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Stdio {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; never with a terminal.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

/// Which lines of a log, as `PodLogOptions` has them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogOptions {
    /// Go on as lines come.
    pub follow: bool,
    /// Of the instance before the present one.
    pub previous: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<i64>,
    /// Only lines since this RFC 3339 time.
    pub since_time: Option<String>,
    /// Each line with its time before it.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// What goes over a stream's subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    /// Counts a direction's frames from 0: a gap means that the bus lost one, and the stream fails.
    pub number: u64,
    /// What it says.
    pub body: FrameBody,
}

/// What a [`Frame`] says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FrameBody {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// A channel has ended.
    Eof(u8),
    /// The receiver has consumed so much of a channel, counted by [`cost`].
    Credit(u8, u64),
    /// The sender lives.
    Keepalive,
    /// The stream has ended: for exec with the command's result, a `metav1.Status` as JSON.
    Close(Bytes),
}
