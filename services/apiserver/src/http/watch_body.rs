//! Watches: a line of JSON for each event, sent at once.
//!
//! Nothing is buffered here: a client that does not read holds its own stream alone, whose queue is bounded where
//! it is filled. When that overflows the stream ends, and the client starts again from where it was.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use model::Status;
use runtime::Shutdown;
use tokio::time::Instant;

use super::body::{self, Body};
use super::metrics::Gauged;
use super::negotiate::MetaVersion;
use crate::discovery::table::{self, Rows};
use crate::verbs::{WatchItem, WatchKind, WatchStream};

/// How the objects of events are shown.
#[derive(Clone, Debug)]
pub enum Shown {
    /// As they are.
    Whole,
    /// As a table with one row.
    Rows(Box<Rows>),
    /// Their metadata.
    Metadata(MetaVersion),
}

/// A watch that has no end of its own ends after this long and up to twice as long, so that clients spread over
/// servers again; as upstream.
pub const TIMEOUT_LEAST: Duration = Duration::from_secs(1800);

struct Lines {
    events: WatchStream,
    shown: Shown,
    with_headings: bool,
    deadline: Instant,
    shutdown: Shutdown,
    /// Counts the watch for as long as it is open.
    counted: Gauged,
}

/// The body of a watch that ends with its events, after `timeout`, or when the server does.
pub fn events(
    events: WatchStream,
    shown: Shown,
    timeout: Duration,
    shutdown: Shutdown,
    counted: Gauged,
) -> Body {
    let deadline = Instant::now() + timeout;
    let lines = Lines { events, shown, with_headings: true, deadline, shutdown, counted };
    body::streamed(futures::stream::unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        Some((line, lines))
    }))
}

/// A watch that has failed before it began.
pub fn failed(status: &Status) -> Body {
    let item = WatchItem { kind: WatchKind::Error, object: status.to_json().to_string().into() };
    body::full(line(item.kind, &item.object))
}

// === impl Lines ===

impl Lines {
    async fn next(&mut self) -> Option<Bytes> {
        let item = tokio::select! {
            // The end first: a watch with an event at every moment ends as well.
            biased;
            () = self.shutdown.cancelled() => return None,
            () = tokio::time::sleep_until(self.deadline) => return None,
            item = self.events.next() => item?,
        };
        self.counted.event();
        Some(self.line(&item))
    }

    fn line(&mut self, item: &WatchItem) -> Bytes {
        if item.kind == WatchKind::Error {
            return line(item.kind, &item.object);
        }
        let object = match &self.shown {
            Shown::Whole => item.object.clone(),
            Shown::Metadata(version) => table::metadata_only(&item.object, *version),
            Shown::Rows(rows) => {
                let with_headings = std::mem::take(&mut self.with_headings);
                match item.kind {
                    WatchKind::Bookmark => rows.bookmark(&item.object, with_headings),
                    _ => rows.single(&item.object, with_headings),
                }
            }
        };
        line(item.kind, &object)
    }
}

fn line(kind: WatchKind, object: &Bytes) -> Bytes {
    let kind = kind.as_str();
    let mut out = BytesMut::with_capacity(object.len() + kind.len() + 32);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json() {
        let bytes = line(WatchKind::Added, &Bytes::from_static(b"{\"kind\":\"Pod\"}"));
        assert_eq!(&bytes[..], b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\"}}\n");
    }
}
