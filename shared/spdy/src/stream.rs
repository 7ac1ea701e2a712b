//! A stream's two halves.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::connection::Shared;
use crate::frame::CANCEL;
use crate::headers::Headers;
use crate::inbound::Outlet;

/// Bytes in one data frame at most, so that streams share the connection.
const DATA_MAX: usize = 32 * 1024;

/// A stream of bytes in each direction.
#[derive(Debug)]
pub struct Stream {
    /// What the peer said of it.
    pub headers: Headers,
    /// To the peer.
    pub sender: Sender,
    /// From the peer.
    pub receiver: Receiver,
}

/// The half towards the peer. Dropping it before it is finished gives the stream up.
#[derive(Debug)]
pub struct Sender {
    id: u32,
    shared: Arc<Shared>,
    reset: CancellationToken,
    done: bool,
}

/// The half from the peer. Dropping it throws away what still comes.
#[derive(Debug)]
pub struct Receiver {
    id: u32,
    shared: Arc<Shared>,
    outlet: Outlet,
}

// === impl Sender ===

impl Sender {
    pub(crate) fn new(id: u32, shared: Arc<Shared>, reset: CancellationToken) -> Self {
        Sender { id, shared, reset, done: false }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The peer wants nothing from us.
    pub(crate) fn not_ours(&mut self) {
        self.done = true;
    }

    /// Sends bytes, waiting while the connection is full.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        if self.done {
            return Err(Error::Closed);
        }
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(DATA_MAX));
            tokio::select! {
                biased;
                () = self.reset.cancelled() => return Err(Error::Reset),
                sent = self.shared.put_data(self.id, part) => sent?,
            }
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(());
        }
        self.shared.sent_all(self.id)
    }

    /// Resolves when the peer gave the stream up or the connection has ended.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reset.clone().cancelled_owned()
    }

    pub(crate) fn reset(&mut self, status: u32) {
        if !std::mem::replace(&mut self.done, true) {
            self.shared.give_up(self.id, status);
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.reset(CANCEL);
    }
}

// === impl Receiver ===

impl Receiver {
    pub(crate) fn new(id: u32, shared: Arc<Shared>, outlet: Outlet) -> Self {
        Receiver { id, shared, outlet }
    }

    /// The next bytes; `None` when the peer has finished.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.outlet.next().await {
            Err(Error::Closed) => Err(self.shared.why()),
            other => other,
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.deaf(self.id);
    }
}
