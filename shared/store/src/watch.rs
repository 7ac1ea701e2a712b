//! A watch reads the history at its own pace. There is no queue per watcher: one that is slower than the history is
//! long finds its next batch gone and is cut off, and costs nobody anything before that.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Revision, Trace};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::item::{Change, TooOld, WatchEvent};
use crate::metrics;
use crate::partition::Shared;
use crate::topics::Touched;

/// How often a watch that has nothing to deliver says how far it has come, if there is anything new to say.
const PROGRESS: Duration = Duration::from_secs(5);

/// Batches looked at under one hold of the lock: a few microseconds.
const BATCHES: usize = 64;

/// Changes under a prefix, in order, without gap or repetition.
pub struct Watch {
    partition: Shared,
    prefix: Box<str>,
    /// Changes up to here are not delivered.
    after: Revision,
    /// Number of the next batch to look at.
    cursor: u64,
    topic: watch::Receiver<Touched>,
    pending: VecDeque<(Change, Option<Trace>)>,
    /// Of the change that was delivered last.
    trace: Option<Trace>,
    told: Revision,
    tell: Instant,
    /// Whether the last look found nothing more: then there is nothing until the topic changes.
    caught_up: bool,
}

/// What [`Watch::glance`] finds.
#[derive(Clone, Debug)]
pub enum Glance {
    /// The next change.
    Change(Change),
    /// Everything that the state holds was delivered.
    CaughtUp,
    /// The watch was cut off, as when [`Watch::next`] is `None`: list and start again.
    CutOff,
}

/// What a look at the history found.
enum Look {
    /// Batches were read, more may follow.
    Read,
    /// Nothing more up to this revision.
    CaughtUp(Revision),
    /// What should have come next is gone.
    Gone,
}

// === impl Watch ===

impl Watch {
    pub(crate) fn start(partition: Shared, prefix: &str, from: Revision) -> Result<Watch, TooOld> {
        let (cursor, topic) = partition.write(|guarded| {
            let history = &guarded.state.history;
            let cursor = history.cursor_after(from)?;
            let end = history.end();
            Ok((cursor, guarded.topics.subscribe(prefix, end)))
        })?;
        metrics::WATCHES.inc();
        Ok(Watch {
            partition,
            prefix: prefix.into(),
            after: from,
            cursor,
            topic,
            pending: VecDeque::new(),
            trace: None,
            told: Revision::ZERO,
            tell: Instant::now(),
            caught_up: false,
        })
    }

    /// The next event. None: the watch was cut off, because it was too slow, or because the state was read again from
    /// a checkpoint, or because the store was closed; list and start again. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(change) = self.take() {
                return Some(WatchEvent::Change(change));
            }
            let caught_up = match self.look() {
                Look::Read => continue,
                Look::Gone => return None,
                Look::CaughtUp(revision) => revision,
            };
            let now = Instant::now();
            if caught_up > self.told && now >= self.tell {
                (self.told, self.tell) = (caught_up, now + PROGRESS);
                return Some(WatchEvent::Progress(caught_up));
            }
            // A progress that is due makes the next round tell it; when nothing is new, look again a period later.
            let wake = self.tell.max(now + Duration::from_millis(1));
            let wake = if now >= self.tell { now + PROGRESS } else { wake };
            tokio::select! {
                biased;
                changed = self.topic.changed() => changed.ok()?,
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// What there is at this moment, without waiting: for a reader who only asks now and then.
    pub fn glance(&mut self) -> Glance {
        loop {
            if let Some(change) = self.take() {
                return Glance::Change(change);
            }
            match self.topic.has_changed() {
                Ok(false) if self.caught_up => return Glance::CaughtUp,
                Ok(_) => {}
                Err(_) => return Glance::CutOff,
            }
            match self.look() {
                Look::Read => {}
                Look::CaughtUp(_) => return Glance::CaughtUp,
                Look::Gone => return Glance::CutOff,
            }
        }
    }

    /// The trace that the change delivered last belongs to, if its writer was traced.
    pub fn trace(&self) -> Option<Trace> {
        self.trace
    }

    fn take(&mut self) -> Option<Change> {
        let (change, trace) = self.pending.pop_front()?;
        self.trace = trace;
        Some(change)
    }

    fn look(&mut self) -> Look {
        let batches: Vec<_> = {
            let guarded = self.partition.read();
            if guarded.closed {
                return Look::Gone;
            }
            let history = &guarded.state.history;
            let touched = self.topic.borrow_and_update();
            if touched.missed(self.cursor, history.front()) {
                return Look::Gone;
            }
            self.cursor = self.cursor.max(history.front());
            if touched.end <= self.cursor || self.cursor == history.end() {
                self.cursor = history.end();
                self.caught_up = true;
                return Look::CaughtUp(guarded.state.revision());
            }
            history.from(self.cursor, BATCHES).cloned().collect()
        };
        self.caught_up = false;
        self.cursor += batches.len() as u64;
        let changes = batches.iter().flat_map(|batch| batch.traced());
        let wanted = |(change, _): &(&Change, Option<Trace>)| {
            change.revision() > self.after && change.key().as_str().starts_with(&*self.prefix)
        };
        self.pending.extend(changes.filter(wanted).map(|(change, trace)| (change.clone(), trace)));
        Look::Read
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        metrics::WATCHES.dec();
    }
}
