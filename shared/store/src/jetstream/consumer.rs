//! An ordered push consumer that ends at the first sign of a loss.
//!
//! The server counts what it sends; a count that is skipped, a heartbeat that names a later count, or silence means
//! that something was lost, and the reader starts a new consumer where it stands. Flow control: the server sends at
//! most some megabytes ahead of what this side has taken from the queue.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use model::Class;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::api::Api;
use crate::log::{Entry, LogError};

/// The server speaks at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Silence of this length means that the consumer is gone.
const SILENCE: Duration = Duration::from_secs(3);

/// How often the connection is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(250);

/// The server forgets a consumer whose reader has been away for this long.
const FORGET: Duration = Duration::from_secs(10);

/// What a consumer is to deliver.
pub(super) struct Wanted {
    pub stream: &'static str,
    /// Only these subjects, or all if there are none.
    pub subjects: Vec<String>,
    /// The first sequence.
    pub from: u64,
}

/// A consumer and the subscription that it delivers to.
pub(super) struct Consumer {
    api: Api,
    stream: &'static str,
    name: String,
    messages: Subscriber,
    /// Messages received so far.
    delivered: u64,
    /// Connections made before this consumer was; a new one means that it may have missed something.
    connects: u64,
    heard: Instant,
}

/// What came.
pub(super) enum Received {
    Message(Delivery),
    /// A heartbeat: there was nothing to send.
    Idle,
}

/// A message, and what the server says about it.
pub(super) struct Delivery {
    subject: String,
    sequence: u64,
    /// Milliseconds since 1970.
    time: u64,
    pub pending: u64,
    pub payload: Bytes,
}

/// What the reply subject of a delivered message says.
struct Place {
    sequence: u64,
    count: u64,
    nanoseconds: u64,
    pending: u64,
}

// === impl Consumer ===

impl Consumer {
    pub async fn start(api: Api, wanted: Wanted) -> Result<Consumer, LogError> {
        let connects = api.client.statistics().connects.load(Ordering::Relaxed);
        let inbox = api.client.new_inbox();
        let messages = api.client.subscribe(inbox.clone()).await.map_err(unreachable)?;
        let name = format!("reader-{:016x}", rand::random::<u64>());
        let config = json!({
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": wanted.from.max(1),
            "filter_subjects": wanted.subjects,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": true,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
            "inactive_threshold": FORGET.as_nanos() as u64,
            "mem_storage": true,
            "num_replicas": 1,
        });
        api.create_consumer(wanted.stream, &name, &config).await?;
        let stream = wanted.stream;
        Ok(Consumer { api, stream, name, messages, delivered: 0, connects, heard: Instant::now() })
    }

    /// The next thing that comes. Cancelling loses nothing.
    pub async fn receive(&mut self) -> Result<Received, LogError> {
        loop {
            let Ok(next) = timeout(LOOK, self.messages.next()).await else {
                self.check()?;
                continue;
            };
            let message = next.ok_or_else(|| LogError::Unreachable("the subscription ended".into()))?;
            self.heard = Instant::now();
            match message.status.map(|status| status.as_u16()) {
                None => return self.delivery(message).map(Received::Message),
                Some(100) => {
                    if self.answer(message)? {
                        return Ok(Received::Idle);
                    }
                }
                Some(status) => {
                    let why = message.description.unwrap_or_default();
                    return Err(LogError::Unreachable(format!("the consumer ended: {status} {why}")));
                }
            }
        }
    }

    /// Whether the consumer can still be there, asked while nothing comes.
    fn check(&self) -> Result<(), LogError> {
        let client = &self.api.client;
        if client.connection_state() != State::Connected {
            return Err(LogError::Unreachable("the connection to the bus is lost".into()));
        }
        if client.statistics().connects.load(Ordering::Relaxed) != self.connects {
            return Err(LogError::Unreachable("the connection to the bus was made anew".into()));
        }
        if self.heard.elapsed() > SILENCE {
            return Err(LogError::Unreachable("the consumer is silent".into()));
        }
        Ok(())
    }

    /// Takes a message whose count is the next one.
    fn delivery(&mut self, message: Message) -> Result<Delivery, LogError> {
        let place = message.reply.as_deref().and_then(Place::read);
        let place =
            place.ok_or_else(|| LogError::Unreachable("a message that is not of the stream".into()))?;
        if place.count != self.delivered + 1 {
            return Err(self.gap(place.count));
        }
        self.delivered = place.count;
        Ok(Delivery {
            subject: message.subject.to_string(),
            sequence: place.sequence,
            time: place.nanoseconds / 1_000_000,
            pending: place.pending,
            payload: message.payload,
        })
    }

    /// Answers the server where it asks for an answer. Says whether it has nothing to send.
    fn answer(&self, message: Message) -> Result<bool, LogError> {
        // A request of flow control has a reply subject, a heartbeat of a consumer that waits for one names it.
        let header = |name| message.headers.as_ref().and_then(|headers: &HeaderMap| headers.get(name));
        let stalled = header("Nats-Consumer-Stalled").map(|subject| subject.as_str().into());
        let last = header("Nats-Last-Consumer").and_then(|count| count.as_str().parse().ok());
        let heartbeat = message.reply.is_none();
        if let Some(subject) = message.reply.or(stalled) {
            let client = self.api.client.clone();
            // Sent by a task, so that receiving can be cancelled at any time.
            tokio::spawn(async move { client.publish(subject, Bytes::new()).await });
            return Ok(false);
        }
        match last {
            Some(count) if count > self.delivered => Err(self.gap(count)),
            _ => Ok(heartbeat),
        }
    }

    fn gap(&self, count: u64) -> LogError {
        LogError::Unreachable(format!("{} was followed by {count}: messages were lost", self.delivered))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // Spares the server the time until it forgets the consumer by itself. Not from a runtime that is going away.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (api, stream, name) = (self.api.clone(), self.stream, self.name.clone());
            runtime.spawn(async move { api.delete_consumer(stream, &name).await });
        }
    }
}

fn unreachable(error: impl std::error::Error) -> LogError {
    LogError::Unreachable(error.to_string())
}

// === impl Delivery ===

impl Delivery {
    pub fn entry(self) -> Result<Entry, LogError> {
        let token = self.subject.rsplit('.').next().unwrap_or_default();
        let class = Class::from_token(token)
            .ok_or_else(|| LogError::Unreachable(format!("subject {} has no class", self.subject)))?;
        Ok(Entry { sequence: self.sequence, time: self.time, class, payload: self.payload })
    }
}

// === impl Place ===

impl Place {
    /// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<times>.<sequence>.<count>.<nanoseconds>.<pending>[.…]`
    fn read(reply: &str) -> Option<Place> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let skip = if tokens.len() == 9 { 5 } else { 7 };
        let number = |index: usize| tokens.get(skip + index)?.parse().ok();
        match reply.starts_with("$JS.ACK.") {
            true => Some(Place {
                sequence: number(0)?,
                count: number(1)?,
                nanoseconds: number(2)?,
                pending: number(3)?,
            }),
            false => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_reply_subject_tell_the_place() {
        for reply in
            ["$JS.ACK.S.c.1.70.7.1700000000000000000.3", "$JS.ACK._.h.S.c.1.70.7.1700000000000000000.3.r"]
        {
            let place = Place::read(reply).expect("a place");
            assert_eq!((place.sequence, place.count, place.pending), (70, 7, 3));
            assert_eq!(place.nanoseconds / 1_000_000, 1_700_000_000_000);
        }
        assert!(Place::read("_INBOX.x").is_none());
        assert!(Place::read("$JS.ACK.S.c.1.x.7.1.3").is_none());
    }
}
