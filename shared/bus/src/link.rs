//! What carries the messages of one connection: NATS, or a bus in memory. Everything above this file is the same code
//! on both.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures::StreamExt;

use crate::connection::BusError;
use crate::memory;

/// A connection. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    Nats(Client),
    Memory(memory::Connection),
}

/// What comes in on a subject.
pub(crate) enum Subscription {
    Nats(Subscriber),
    Memory(memory::Subscription),
}

/// A message, whatever carried it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub subject: String,
    /// Where an answer goes, if one is wanted.
    pub reply: Option<String>,
    pub headers: Option<HeaderMap>,
    pub payload: Bytes,
    /// Nobody listens where we asked: the bus says so in the answer's place.
    pub is_unheard: bool,
}

// === impl Link ===

impl Link {
    pub async fn publish(&self, message: Message) -> Result<(), BusError> {
        let client = match self {
            Link::Nats(client) => client,
            Link::Memory(connection) => {
                connection.publish(message).await;
                return Ok(());
            }
        };
        let Message { subject, reply, headers, payload, .. } = message;
        let sent = match (reply, headers) {
            (None, None) => client.publish(subject, payload).await,
            (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
            (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
            (Some(reply), Some(headers)) => {
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        };
        sent.map_err(|error| BusError::Disconnected(error.to_string()))
    }

    pub async fn request(&self, message: Message, patience: Duration) -> Result<Bytes, BusError> {
        let client = match self {
            Link::Nats(client) => client,
            Link::Memory(connection) => return connection.request(message, patience).await,
        };
        let Message { subject, headers, payload, .. } = message;
        let mut request = async_nats::Request::new().payload(payload).timeout(Some(patience));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        match client.send_request(subject.clone(), request).await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                async_nats::RequestErrorKind::TimedOut => BusError::TimedOut(subject),
                async_nats::RequestErrorKind::NoResponders => BusError::NoResponders(subject),
                _ => BusError::Disconnected(error.to_string()),
            }),
        }
    }

    /// Every message on `subject`, or our share of what the members of `group` divide.
    pub async fn subscribe(&self, subject: &str, group: Option<&str>) -> Result<Subscription, BusError> {
        let client = match self {
            Link::Nats(client) => client,
            Link::Memory(connection) => {
                return Ok(Subscription::Memory(connection.subscribe(subject, group).await));
            }
        };
        let subject = subject.to_owned();
        let subscriber = match group {
            Some(group) => client.queue_subscribe(subject, group.to_owned()).await,
            None => client.subscribe(subject).await,
        };
        subscriber.map(Subscription::Nats).map_err(|error| BusError::Disconnected(error.to_string()))
    }

    /// A subject for answers to us alone.
    pub fn new_inbox(&self) -> String {
        match self {
            Link::Nats(client) => client.new_inbox(),
            Link::Memory(connection) => connection.new_inbox(),
        }
    }

    /// Waits until what was published before has left this process.
    pub async fn flush(&self) -> Result<(), BusError> {
        match self {
            Link::Nats(client) => {
                client.flush().await.map_err(|error| BusError::Disconnected(error.to_string()))
            }
            Link::Memory(connection) => {
                connection.flush().await;
                Ok(())
            }
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Link::Nats(client) => client.connection_state() == async_nats::connection::State::Connected,
            Link::Memory(connection) => connection.is_connected(),
        }
    }
}

// === impl Subscription ===

impl Subscription {
    /// Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Message> {
        match self {
            Subscription::Nats(subscriber) => subscriber.next().await.map(Message::from),
            Subscription::Memory(subscription) => Some(subscription.next().await),
        }
    }

    pub async fn stop(self) {
        match self {
            // The connection may be gone already, and with it the subscription.
            Subscription::Nats(mut subscriber) => drop(subscriber.unsubscribe().await),
            Subscription::Memory(subscription) => drop(subscription),
        }
    }
}

// === impl Message ===

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Message {
        Message {
            subject: message.subject.into_string(),
            reply: message.reply.map(async_nats::Subject::into_string),
            headers: message.headers,
            payload: message.payload,
            is_unheard: message.status == Some(async_nats::StatusCode::NO_RESPONDERS),
        }
    }
}
