//! A container's log: the files that the runtime writes, as the lines that a user asked for.
//!
//! ```text
//!  0.log.<time> … 0.log ─> tail (where to begin) ─> reader (files, rotation) ─> line (parse) ─> rendering ─> bus
//! ```
//! Everything but this file is synchronous and runs on threads for blocking work, a step of bounded size at a time.

mod line;
mod reader;
mod rendering;
mod tail;

use std::io;
use std::time::Duration;

use bus::stream::{LogOptions, Open, Reader as StreamReader, Stream, StreamError, Writer};
use bytes::Bytes;
use jiff::Timestamp;
use model::Status;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{last_word, missing};
use crate::pods::{ContainerRef, Pods};
use reader::{Reader, Step};
use rendering::Rendering;

const OUTPUT: u8 = 1;
/// How long a follower waits before it looks again: not noticed by a person, and cheap.
const POLL: Duration = Duration::from_millis(100);

/// A log that is open.
pub(super) struct Log {
    runtime: cri::Client,
    pods: Pods,
    uid: String,
    container: String,
    instance: ContainerRef,
    follow: bool,
    reader: Reader,
}

/// Opens the log of a container's instance.
pub(super) async fn open(
    runtime: &cri::Client,
    pods: &Pods,
    open: &Open,
    container: &str,
    options: LogOptions,
) -> Result<Log, Status> {
    let instance = pods
        .container(&open.uid, container, options.previous)
        .map_err(|why| missing(why, &open.pod, container))?;
    let rendering =
        Rendering::new(since(&options, Timestamp::now())?, options.timestamps, options.limit_bytes);
    let (path, tail) = (instance.log_path.clone(), options.tail_lines);
    let opened = blocking(move || Reader::open(path, tail, rendering)).await;
    let reader = match opened {
        Ok(reader) => reader,
        // The runtime makes the file when it starts the container.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !instance.running => {
            return Err(Status::bad_request(format!(
                "container {container:?} in pod {:?} is waiting to start: ContainerCreating",
                open.pod
            )));
        }
        Err(error) => return Err(Status::internal(format!("cannot open the container's log: {error}"))),
    };
    Ok(Log {
        runtime: runtime.clone(),
        pods: pods.clone(),
        uid: open.uid.clone(),
        container: container.to_owned(),
        instance,
        follow: options.follow,
        reader,
    })
}

/// The moment before which lines are left out.
fn since(options: &LogOptions, now: Timestamp) -> Result<Option<Timestamp>, Status> {
    if let Some(text) = &options.since_time {
        let time = text.parse().map_err(|_| Status::bad_request(format!("{text:?} is no RFC 3339 time")))?;
        return Ok(Some(time));
    }
    // Longer ago than time goes back is everything.
    Ok(options
        .since_seconds
        .and_then(|seconds| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok()))
}

/// File IO away from the tasks that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

// === impl Log ===

impl Log {
    /// Sends the log to its end; with `follow` that is the container's.
    pub(super) async fn carry(self, stream: Stream) {
        let (writer, _reader): (Writer, StreamReader) = stream.split();
        let last = tokio::select! {
            sent = self.send(&writer) => match sent {
                Ok(()) => Bytes::new(),
                Err(error) => last_word(&Status::internal(format!("cannot read the container's log: {error}"))),
            },
            _ = writer.closed() => return,
        };
        // The client may have left in this moment.
        let _ = writer.close(last).await;
    }

    async fn send(mut self, writer: &Writer) -> io::Result<()> {
        let mut ended = false;
        loop {
            let step;
            (self.reader, step) = blocking({
                let mut reader = self.reader;
                move || reader.step().map(|step| (reader, step))
            })
            .await?;
            match step {
                Step::Read(bytes) if bytes.is_empty() => {}
                Step::Read(bytes) => match writer.send(OUTPUT, bytes.into()).await {
                    Ok(()) => {}
                    Err(StreamError::Ended) => return Ok(()),
                    Err(error) => return Err(io::Error::other(error)),
                },
                Step::Limit => return Ok(()),
                // What the container wrote last was read after it had ended.
                Step::CaughtUp if ended || !self.follow => return Ok(()),
                Step::CaughtUp => {
                    ended =
                        has_ended(&self.runtime, &self.pods, &self.uid, &self.container, &self.instance.id)
                            .await;
                    if !ended {
                        sleep(POLL).await;
                    }
                }
            }
        }
    }
}

/// Whether an instance writes no more. A runtime that is away has not ended anything.
async fn has_ended(runtime: &cri::Client, pods: &Pods, uid: &str, container: &str, id: &str) -> bool {
    let known = pods.get(uid).and_then(|pod| {
        let slot = pod.containers.iter().find(|slot| slot.name == container)?;
        slot.instances.iter().find(|instance| instance.id == id).map(|instance| instance.running)
    });
    if known == Some(true) {
        return false;
    }
    match runtime.container_status(id).await {
        Ok(status) => status.state() == cri::v1::ContainerState::ContainerExited,
        Err(error) => error.is_not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_so_many_seconds_ago() {
        let now: Timestamp = "2026-01-02T00:00:10Z".parse().unwrap();
        let options = |seconds, time: Option<&str>| LogOptions {
            since_seconds: seconds,
            since_time: time.map(str::to_owned),
            ..LogOptions::default()
        };
        assert_eq!(since(&options(None, None), now), Ok(None));
        assert_eq!(since(&options(Some(10), None), now), Ok(Some("2026-01-02T00:00:00Z".parse().unwrap())));
        assert_eq!(
            since(&options(None, Some("2026-01-01T02:00:00+02:00")), now),
            Ok(Some("2026-01-01T00:00:00Z".parse().unwrap()))
        );
        assert_eq!(since(&options(Some(i64::MAX), None), now), Ok(None));
        assert!(since(&options(None, Some("yesterday")), now).is_err());
    }
}
