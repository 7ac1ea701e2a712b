//! What came for a stream and was not yet taken: a queue that is bounded in bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use crate::Error;

/// Bytes that wait for a stream's consumer before the connection is not read any further: what a busy consumer misses
/// while the others of the connection are served.
const ROOM: usize = 256 * 1024;
/// What the smallest piece counts for, so that tiny ones cannot fill the memory with bookkeeping.
const PIECE_MIN: usize = 128;

/// What waits.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Fin,
    Reset,
}

/// The read task's side.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    room: Arc<Semaphore>,
    pieces: mpsc::UnboundedSender<Piece>,
}

/// The consumer's side; when it is dropped the rest is thrown away.
#[derive(Debug)]
pub(crate) struct Outlet {
    room: Arc<Semaphore>,
    pieces: mpsc::UnboundedReceiver<Piece>,
    finished: bool,
}

pub(crate) fn queue() -> (Inbound, Outlet) {
    let room = Arc::new(Semaphore::new(ROOM));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Inbound { room: room.clone(), pieces: sender }, Outlet { room, pieces: receiver, finished: false })
}

fn cost(bytes: &Bytes) -> usize {
    bytes.len().clamp(PIECE_MIN, ROOM)
}

// === impl Inbound ===

impl Inbound {
    /// Waits for room. Without a consumer there is always room.
    pub(crate) async fn push(&self, bytes: Bytes) {
        let amount = u32::try_from(cost(&bytes)).expect("a piece is small");
        if let Ok(permits) = self.room.acquire_many(amount).await {
            permits.forget();
            // The consumer may go at any moment.
            let _ = self.pieces.send(Piece::Data(bytes));
        }
    }

    /// Says how it ends; needs no room, and comes after the data.
    pub(crate) fn end(&self, piece: Piece) {
        let _ = self.pieces.send(piece);
    }
}

// === impl Outlet ===

impl Outlet {
    /// The next data, `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.finished {
            return Ok(None);
        }
        match self.pieces.recv().await {
            Some(Piece::Data(bytes)) => {
                self.room.add_permits(cost(&bytes));
                Ok(Some(bytes))
            }
            Some(Piece::Fin) => {
                self.finished = true;
                Ok(None)
            }
            Some(Piece::Reset) => Err(Error::Reset),
            None => Err(Error::Closed),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.room.close();
    }
}
