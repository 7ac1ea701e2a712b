//! GET of a collection with `watch`: what is there, if asked for, then every change in order.
//!
//! ```text
//!  store ── Put/Delete ──> did the object match before? does it now? ──> ADDED MODIFIED DELETED
//!        ── Progress ────> remembered, told in a BOOKMARK once a minute
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kinds::{Kind, Table, Verb};
use model::object::with_resource_version;
use model::{FieldError, Key, Revision, Status};
use serde_json::{Value, json};
use store::{Change, Item, Watch, WatchEvent};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::get::{catch_up, parse_revision};
use super::select::{Selection, TURN};
use super::{Context, Target, WatchItem, WatchKind, WatchOptions};
use crate::registry::{Part, Registry, part, pipeline};

/// How often a client that understands bookmarks gets one: upstream's pace, fast enough that a client which comes
/// back resumes within what the history holds.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Marks the bookmark after the objects that were there in the beginning.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The events of a watch.
pub struct WatchStream {
    kind: Arc<Kind>,
    selection: Selection,
    /// Events to hand out before any change.
    first: VecDeque<WatchItem>,
    /// Nothing where the watch failed to start; then `first` says why.
    changes: Option<Watch>,
    /// For a custom kind: the table, whose next one may have another row for it.
    tables: Option<watch::Receiver<Arc<Table>>>,
    bookmarks: Option<Interval>,
    /// Everything up to here was handed out.
    progress: Revision,
    bookmarked: Revision,
}

/// Where a watch begins.
#[derive(Debug, PartialEq)]
enum Start {
    /// With an ADDED for each object that is there.
    Initial,
    /// With the next change.
    Now,
    /// With the change after this.
    After(Revision),
}

/// Follows what the selectors choose.
pub async fn watch(
    registry: &Registry,
    _context: &Context,
    target: &Target,
    options: &WatchOptions,
) -> Result<WatchStream, Status> {
    let kind = &target.kind;
    if !target.subresource.is_empty() {
        return Err(part::no_such_part());
    }
    if !kind.verbs.contains(Verb::Watch) {
        return Err(Status::method_not_allowed(&kind.group, &kind.plural, "watch"));
    }
    check(options)?;
    let selection = Selection::new(target, &options.label_selector, &options.field_selector)?;
    let start = start(options)?;
    if !matches!(start, Start::After(_)) || options.send_initial_events == Some(true) {
        catch_up(registry, selection.prefix(), &options.resource_version).await?;
    }
    let mut stream = WatchStream::new(kind, selection, options);
    stream.tables = kind.custom.as_ref().map(|_| registry.table_changes());
    match start {
        Start::Initial => stream.begin_with_what_is_there(registry, options).await?,
        Start::Now => {
            let newest = registry.store().revision_of(stream.selection.prefix());
            stream.follow(registry, newest);
        }
        Start::After(revision) => stream.follow(registry, revision),
    }
    Ok(stream)
}

fn start(options: &WatchOptions) -> Result<Start, Status> {
    let version = options.resource_version.as_str();
    Ok(match (options.send_initial_events, version) {
        (Some(true), _) | (None, "" | "0") => Start::Initial,
        (Some(false), "" | "0") => Start::Now,
        (_, version) => Start::After(parse_revision(version)?),
    })
}

fn check(options: &WatchOptions) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    let how = options.resource_version_match.as_str();
    if options.send_initial_events.is_some() && how != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(MATCH, why));
    }
    if !how.is_empty() && options.send_initial_events.is_none() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(MATCH, why));
    }
    if !matches!(how, "" | "NotOlderThan") {
        errors.push(FieldError::not_supported(MATCH, how, &["NotOlderThan"]));
    }
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors)),
    }
}

// === impl WatchStream ===

impl WatchStream {
    fn new(kind: &Arc<Kind>, selection: Selection, options: &WatchOptions) -> WatchStream {
        let bookmarks = options.allow_bookmarks.then(|| {
            let mut every = interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        });
        WatchStream {
            kind: Arc::clone(kind),
            selection,
            first: VecDeque::new(),
            changes: None,
            tables: None,
            bookmarks,
            progress: Revision::ZERO,
            bookmarked: Revision::ZERO,
        }
    }

    /// The next event; `None` when the watch has ended and the client is to start again from where it is.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<WatchItem> {
        if let Some(item) = self.first.pop_front() {
            return Some(item);
        }
        let changes = self.changes.as_mut()?;
        loop {
            let event = tokio::select! {
                biased;
                event = changes.next() => event?,
                () = tick(&mut self.bookmarks) => match self.progress > self.bookmarked {
                    true => break,
                    false => continue,
                },
                // What is delivered has the form of the old row; the client lists and learns the new one.
                () = retired(&mut self.tables, &self.kind) => return None,
            };
            match event {
                WatchEvent::Progress(revision) => self.progress = self.progress.max(revision),
                WatchEvent::Change(change) => {
                    self.progress = self.progress.max(change.revision());
                    if let Some(item) = translate(&self.kind, &self.selection, change) {
                        return Some(item);
                    }
                }
            }
        }
        self.bookmarked = self.progress;
        Some(self.bookmark(self.progress, json!({})))
    }

    async fn begin_with_what_is_there(
        &mut self,
        registry: &Registry,
        options: &WatchOptions,
    ) -> Result<(), Status> {
        let listing = registry.store().list(self.selection.prefix());
        for (index, item) in listing.items.into_iter().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            if self.selection.matches(&self.kind, &item.key, &item.value) {
                let object = pipeline::answer(&self.kind, &Part::Whole, item.value)?;
                self.first.push_back(WatchItem { kind: WatchKind::Added, object });
            }
        }
        if options.send_initial_events == Some(true) && options.allow_bookmarks {
            let end = self.bookmark(listing.revision, json!({"annotations": {INITIAL_EVENTS_END: "true"}}));
            self.first.push_back(end);
            self.bookmarked = listing.revision;
        }
        self.follow(registry, listing.revision);
        Ok(())
    }

    fn follow(&mut self, registry: &Registry, from: Revision) {
        self.progress = from;
        self.bookmarked = self.bookmarked.max(from);
        match registry.store().watch(self.selection.prefix(), from) {
            Ok(changes) => self.changes = Some(changes),
            Err(too_old) => {
                let message = format!("too old resource version: {from} ({})", too_old.oldest);
                self.first.push_back(failed(&Status::expired(message)));
            }
        }
    }

    fn bookmark(&self, revision: Revision, metadata: Value) -> WatchItem {
        let mut metadata = metadata;
        metadata["resourceVersion"] = json!(revision.to_string());
        metadata["creationTimestamp"] = Value::Null;
        let object = json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata
        });
        WatchItem { kind: WatchKind::Bookmark, object: Bytes::from(object.to_string()) }
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Waits until a custom kind has another row, or none.
async fn retired(tables: &mut Option<watch::Receiver<Arc<Table>>>, kind: &Arc<Kind>) {
    let Some(tables) = tables else { return std::future::pending().await };
    let is_current = |table: &Arc<Table>| {
        table.find(&kind.group, &kind.version, &kind.plural).is_some_and(|row| Arc::ptr_eq(&row, kind))
    };
    // The sender lives as long as the registry.
    let _ = tables.wait_for(|table| !is_current(table)).await;
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// What a change is to somebody who sees only what the selection chooses.
fn translate(kind: &Kind, selection: &Selection, change: Change) -> Option<WatchItem> {
    let matches = |key: &Key, value: &Bytes| selection.is_everything() || selection.matches(kind, key, value);
    let (what, object) = match change {
        Change::Put { item, previous } => {
            let was = previous.filter(|previous| matches(&previous.key, &previous.value));
            match (matches(&item.key, &item.value), was) {
                (true, None) => (WatchKind::Added, item.value),
                (true, Some(_)) => (WatchKind::Modified, item.value),
                (false, Some(was)) => (WatchKind::Deleted, last_seen(&was, item.revision)),
                (false, None) => return None,
            }
        }
        Change::Delete { key, revision, previous } => match matches(&key, &previous.value) {
            true => (WatchKind::Deleted, last_seen(&previous, revision)),
            false => return None,
        },
    };
    match pipeline::answer(kind, &Part::Whole, object) {
        Ok(object) => Some(WatchItem { kind: what, object }),
        Err(status) => Some(failed(&status)),
    }
}

/// The object as it was last seen, at the revision at which it went.
fn last_seen(item: &Item, gone: Revision) -> Bytes {
    with_resource_version(&item.value, gone)
}

fn failed(status: &Status) -> WatchItem {
    WatchItem { kind: WatchKind::Error, object: Bytes::from(status.to_json().to_string()) }
}
