//! Group commit: while one message is in flight, the next one fills.
//!
//! ```text
//!  callers ── encoded transactions ──> queue ──> gather ──> frame ──append──> log
//!     ^                                                       │ (again, same id, until known)
//!     └──── outcome <── pending (class, number) <── the own feed passes the frame
//! ```
//! An outcome is never taken from the acknowledgement: only the order of the log decides. The acknowledgement merely
//! lets the next message go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::Class;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Verdict;
use crate::log::{Log, LogError};
use crate::metrics;
use crate::partition::Shared;
use crate::txn::{CommitError, Committed, Frame, MAX_EVENT_OPS, MAX_OPS};

/// Bytes that a message is filled up to; one that is larger by itself travels alone. Writing and syncing a megabyte
/// takes about as long as the round trip, and readers get it in one piece.
const BATCH_BYTES: usize = 1 << 20;

/// Pause before a message is sent again: short, because the callers wait, and doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A transaction that waits to be packed.
pub(crate) struct Queued {
    pub encoded: Vec<u8>,
    pub ops: usize,
    pub waiter: Waiter,
}

type Waiter = oneshot::Sender<Result<Committed, CommitError>>;

/// The frames of this writer whose outcome is not known yet.
pub(crate) struct Pending {
    /// The writer's name in frames.
    pub writer: u64,
    frames: Mutex<HashMap<(Class, u64), InFlight>>,
}

struct InFlight {
    waiters: Vec<Waiter>,
    /// Dropped with the entry, which tells the committer that the outcome is known.
    _settled: oneshot::Sender<()>,
}

/// Packs and sends the transactions of one class.
pub(crate) struct Committer {
    class: Class,
    log: Arc<dyn Log>,
    partition: Shared,
    pending: Arc<Pending>,
    queue: mpsc::Receiver<Queued>,
    /// Taken from the queue, but it did not fit into the last message.
    held: Option<Queued>,
    number: u64,
    buffer: BytesMut,
}

// === impl Committer ===

impl Committer {
    pub fn new(
        class: Class,
        log: Arc<dyn Log>,
        partition: Shared,
        pending: Arc<Pending>,
        queue: mpsc::Receiver<Queued>,
    ) -> Self {
        Committer { class, log, partition, pending, queue, held: None, number: 0, buffer: BytesMut::new() }
    }

    /// Runs until no one can ask any more.
    pub async fn run(mut self) {
        while let Some(first) = self.next().await {
            let (txns, waiters) = self.gather(first);
            if txns.is_empty() {
                continue;
            }
            metrics::BATCH.observe(txns.len() as f64);
            self.number += 1;
            let payload = Frame::pack(
                &mut self.buffer,
                self.pending.writer,
                self.number,
                self.partition.reached(),
                &txns,
            );
            let settled = self.pending.insert((self.class, self.number), waiters);
            self.deliver(payload, settled).await;
        }
    }

    async fn next(&mut self) -> Option<Queued> {
        match self.held.take() {
            Some(held) => Some(held),
            None => self.queue.recv().await,
        }
    }

    /// Everything that waits and fits. Transactions whose caller has given up are left out.
    fn gather(&mut self, first: Queued) -> (Vec<Vec<u8>>, Vec<Waiter>) {
        let (most_bytes, most_ops) = (BATCH_BYTES.min(self.log.max_message() / 2), most_ops(self.class));
        let (mut bytes, mut ops) = (0, 0);
        let (mut txns, mut waiters) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(queued) = next {
            if !queued.waiter.is_closed() {
                let fits = bytes + queued.encoded.len() <= most_bytes && ops + queued.ops <= most_ops;
                if !fits && !txns.is_empty() {
                    self.held = Some(queued);
                    break;
                }
                bytes += queued.encoded.len();
                ops += queued.ops;
                txns.push(queued.encoded);
                waiters.push(queued.waiter);
            }
            next = self.queue.try_recv().ok();
        }
        (txns, waiters)
    }

    /// Appends the message, again and again until the log has it, or its outcome is known, or nobody waits for it.
    async fn deliver(&self, payload: Bytes, mut settled: oneshot::Receiver<()>) {
        let frame = (self.class, self.number);
        let id = format!("{:016x}-{}-{}", self.pending.writer, self.class.token(), self.number);
        let mut pause = FIRST_PAUSE;
        loop {
            let result = tokio::select! {
                biased;
                _ = &mut settled => return,
                result = self.log.append(self.class, &id, payload.clone()) => result,
            };
            match result {
                Ok(_) => return metrics::APPENDED.inc(),
                Err(LogError::Refused(reason)) => return self.pending.fail(frame, &reason),
                Err(error) => tracing::debug!(%error, id, "no acknowledgement, sending again"),
            }
            if self.pending.abandoned(frame) {
                return;
            }
            metrics::RESENT.inc();
            tokio::select! {
                biased;
                _ = &mut settled => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

/// Most operations in one frame of a class.
pub(crate) fn most_ops(class: Class) -> usize {
    match class {
        Class::Events => MAX_EVENT_OPS,
        Class::Pods | Class::Nodes | Class::Secrets | Class::Rest => MAX_OPS,
    }
}

// === impl Pending ===

impl Pending {
    pub fn new(writer: u64) -> Self {
        Pending { writer, frames: Mutex::default() }
    }

    fn insert(&self, frame: (Class, u64), waiters: Vec<Waiter>) -> oneshot::Receiver<()> {
        let (settled, told) = oneshot::channel();
        self.frames.lock().insert(frame, InFlight { waiters, _settled: settled });
        told
    }

    /// The own feed has passed a frame of this writer.
    pub fn settle(&self, frame: (Class, u64), verdict: Verdict) {
        let Some(in_flight) = self.frames.lock().remove(&frame) else { return };
        match verdict {
            Verdict::Decided(outcomes) => {
                for (waiter, committed) in in_flight.waiters.into_iter().zip(outcomes) {
                    // A caller that has given up does not care.
                    let _ = waiter.send(Ok(committed));
                }
            }
            Verdict::Stale => in_flight.fail(&CommitError::Stale),
            // Only the first copy of a frame finds it pending, and that one is no duplicate.
            Verdict::Duplicate | Verdict::Corrupt => in_flight.fail(&lost("its outcome was not seen")),
        }
    }

    /// The state was read from a checkpoint: frames up to `number` are in it, but not what became of them.
    pub fn lose(&self, class: Class, number: u64) {
        let mut lost_frames = Vec::new();
        self.frames.lock().retain(|frame, in_flight| {
            let lost = frame.0 == class && frame.1 <= number;
            if lost {
                lost_frames.append(&mut in_flight.waiters);
            }
            !lost
        });
        for waiter in lost_frames {
            let _ = waiter.send(Err(lost("the log was purged before its outcome was seen")));
        }
    }

    fn fail(&self, frame: (Class, u64), reason: &str) {
        if let Some(in_flight) = self.frames.lock().remove(&frame) {
            in_flight.fail(&lost(reason));
        }
    }

    /// Forgets the frame if nobody waits for it.
    fn abandoned(&self, frame: (Class, u64)) -> bool {
        let mut frames = self.frames.lock();
        let waited = frames.get(&frame).is_some_and(|f| f.waiters.iter().any(|waiter| !waiter.is_closed()));
        if !waited {
            frames.remove(&frame);
        }
        !waited
    }
}

impl InFlight {
    fn fail(self, error: &CommitError) {
        for waiter in self.waiters {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

fn lost(reason: &str) -> CommitError {
    CommitError::Unavailable(reason.to_owned())
}
