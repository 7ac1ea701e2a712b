//! The one task that reads a stream and applies it, from the first message until the store is dropped.
//!
//! ```text
//!  newest checkpoint ──> state ──> tail from the next sequence ──> apply ──> apply ──> …
//!        ^                                   │ lost, gap
//!        │ what comes next was purged        v
//!        └──────────────────────── look at the log again, go on after what is applied
//! ```
//! A reader of all classes sees every sequence and finds a gap by itself. A reader of some classes relies on the tail,
//! which counts what it was sent; when somebody must know how far it has come, it asks the log where its classes end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use tokio::sync::watch;

use crate::apply::{At, Verdict};
use crate::checkpoint;
use crate::committer::Pending;
use crate::item::Health;
use crate::log::{Bounds, Ends, Entry, Log, LogError, Tail};
use crate::metrics;
use crate::partition::Shared;
use crate::txn::{Frame, FrameError};

/// Pause before the log is tried again: the first one hides a blip, the longest is what a recovery may be late by.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a wanted sequence may fail to come by itself before the log is asked whether it will, and the longest time
/// until it is asked again. Messages on their way take less than a millisecond.
const ASK_AFTER: Duration = Duration::from_millis(3);
const ASK_LONGEST: Duration = Duration::from_millis(100);

/// The same for a reader of all classes, to which every sequence comes unless it was removed by hand.
const ASK_AFTER_ALL: Duration = Duration::from_millis(250);

/// Reads one stream.
pub(crate) struct Feed {
    pub partition: Shared,
    pub log: Arc<dyn Log>,
    pub pending: Arc<Pending>,
}

/// Why following came to an end.
enum End {
    /// It can go on where it stopped.
    Lost(String),
    /// It must not go on.
    Stopped(String),
}

// === impl Feed ===

impl Feed {
    /// Follows the stream, and follows it again after every loss.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.partition.reached();
            let why = match self.follow().await {
                End::Lost(why) => why,
                End::Stopped(why) => {
                    tracing::error!(stream = self.partition.stream.name(), why, "the store stops");
                    return self.partition.set_health(Health::Stopped(why));
                }
            };
            tracing::info!(stream = self.partition.stream.name(), why, "the feed is interrupted");
            let starting = matches!(self.partition.health().borrow().0, Health::Starting(_));
            self.partition.set_health(if starting {
                Health::Starting(why)
            } else {
                Health::Disconnected(why)
            });
            if self.partition.reached() > before {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn follow(&self) -> End {
        match self.catch_up().await {
            Ok((tail, last)) => self.apply_all(tail, last).await,
            Err(end) => end,
        }
    }

    /// Brings the state to where the log can go on, and opens the tail. Also says where the log ends now.
    async fn catch_up(&self) -> Result<(Box<dyn Tail>, u64), End> {
        let partition = &self.partition;
        if partition.reached() == 0 {
            self.load_checkpoint().await?;
        }
        loop {
            let reached = partition.reached();
            let tail = self.log.read(&partition.classes, reached + 1).await?;
            // Asked after the tail was opened: what is still there now, the tail will get.
            let bounds = self.log.bounds(partition.stream).await?;
            if bounds.last < reached {
                let why = format!("the log ends at {}, before {reached}: it went back", bounds.last);
                return Err(End::Stopped(why));
            }
            if bounds.first <= reached + 1 {
                metrics::FOLLOWED.with_label_values(&[partition.stream.name()]).inc();
                return Ok((tail, bounds.last));
            }
            self.make_up(bounds).await?;
        }
    }

    /// The log begins after what the state needs next: a checkpoint must have it.
    async fn make_up(&self, bounds: Bounds) -> Result<(), End> {
        let partition = &self.partition;
        let reached = partition.reached();
        if self.load_checkpoint().await? {
            return Ok(());
        }
        let empty = bounds.last < bounds.first;
        if reached == 0 && empty {
            // Nothing was ever written before `first`: the stream was made to start there.
            partition.skip_to(bounds.last);
            return Ok(());
        }
        let first = bounds.first;
        Err(End::Stopped(format!(
            "the log begins at {first}, no checkpoint goes beyond {reached}: what is between is lost"
        )))
    }

    fn follows_all(&self) -> bool {
        self.partition.classes.len() == self.partition.stream.classes().len()
    }

    /// Takes the newest checkpoint if it is ahead of the state.
    async fn load_checkpoint(&self) -> Result<bool, End> {
        let partition = &self.partition;
        let loaded = checkpoint::load(&*self.log, partition).await.map_err(|error| match error {
            checkpoint::LoadError::Log(error) => End::from(error),
            checkpoint::LoadError::Unreadable(why) => End::Stopped(why),
        })?;
        for class in partition.classes.iter().filter(|_| loaded) {
            let number = partition.read().state.writers.number(*class, self.pending.writer);
            self.pending.lose(*class, number);
        }
        Ok(loaded)
    }

    /// Applies what comes, answers those who wait, until the tail is lost. Ready once `last` is reached.
    async fn apply_all(&self, mut tail: Box<dyn Tail>, last: u64) -> End {
        let mut wanted = self.partition.wanted();
        let mut owed: Option<Ends> = None;
        let mut delivered = 0;
        let mut ready = false;
        let (first_ask, longest_ask) =
            if self.follows_all() { (ASK_AFTER_ALL, ASK_AFTER_ALL * 4) } else { (ASK_AFTER, ASK_LONGEST) };
        let mut ask_after = first_ask;
        loop {
            let reached = self.partition.reached();
            if !ready && reached >= last {
                ready = true;
                self.partition.set_health(Health::Ready);
            }
            let missing = reached < last.max(*wanted.borrow_and_update());
            let ends = OptionFuture::from(missing.then(|| self.ask(ask_after)));
            tokio::select! {
                biased;
                entry = tail.next() => {
                    delivered += 1;
                    let passed = match entry {
                        Ok(entry) => self.pass(entry, delivered == 1).await,
                        Err(error) => Err(error.into()),
                    };
                    if let Err(end) = passed {
                        return end;
                    }
                    ask_after = first_ask;
                }
                () = changed(&mut wanted) => {}
                Some(ends) = ends => match ends {
                    Ok(ends) => {
                        owed = Some(ends);
                        ask_after = (ask_after * 2).min(longest_ask);
                    }
                    Err(error) => return error.into(),
                }
            }
            if let Some(ends) = owed.take_if(|ends| self.partition.reached() >= ends.classes) {
                self.partition.skip_to(ends.stream);
            }
        }
    }

    /// Asks where the log ends, after a while in which the answer may come by itself.
    async fn ask(&self, after: Duration) -> Result<Ends, LogError> {
        tokio::time::sleep(after).await;
        self.log.ends(&self.partition.classes).await
    }

    /// Applies one message. `first` says that it is the first one of its tail.
    async fn pass(&self, entry: Entry, first: bool) -> Result<(), End> {
        let Entry { sequence, time, class, payload } = entry;
        let partition = &self.partition;
        let reached = partition.reached();
        if sequence <= reached {
            return Ok(());
        }
        if self.follows_all() && sequence != reached + 1 {
            self.judge_gap(reached, sequence, first).await?;
        }
        let frame = match Frame::read(&payload, class, sequence) {
            Ok(frame) => Some(frame),
            Err(FrameError::Version(version)) => {
                return Err(End::Stopped(format!("message {sequence}: {}", FrameError::Version(version))));
            }
            Err(FrameError::Corrupt(why)) => {
                tracing::error!(stream = partition.stream.name(), sequence, why, "corrupt message, a no-op");
                metrics::CORRUPT.inc();
                None
            }
        };
        let own =
            frame.as_ref().filter(|frame| frame.writer == self.pending.writer).map(|frame| frame.number);
        partition.note_size(sequence, payload.len());
        let verdict = partition.apply(At { sequence, time, class }, frame);
        metrics::APPLIED.with_label_values(&[partition.stream.name(), name(&verdict)]).inc();
        if let Some(number) = own {
            self.pending.settle((class, number), verdict);
        }
        Ok(())
    }

    /// A sequence was skipped. In the middle of a tail something was lost or purged; a tail that begins with a gap
    /// shows that the messages are not there, for any reader, unless they were purged since it was opened.
    async fn judge_gap(&self, reached: u64, sequence: u64, first: bool) -> Result<(), End> {
        let stream = self.partition.stream;
        if !first || self.log.bounds(stream).await?.first > reached + 1 {
            return Err(End::Lost(format!("message {sequence} came after {reached}")));
        }
        tracing::warn!(
            stream = stream.name(),
            reached,
            sequence,
            "messages were removed from the log by hand"
        );
        Ok(())
    }
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Corrupt => "corrupt",
        Verdict::Stale => "stale",
        Verdict::Duplicate => "duplicate",
        Verdict::Decided(_) => "decided",
    }
}

async fn changed(wanted: &mut watch::Receiver<u64>) {
    wanted.changed().await.expect("the sender lives as long as the feed");
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        End::Lost(error.to_string())
    }
}
