//! The connection to NATS: requests with a deadline, and requests to answer.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use model::Status;
use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use crate::config::Config;
use crate::link::{Link, Message, Subscription};
use crate::{codec, trace};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection, or the server went away while we waited.
    #[error("the bus is gone: {0}")]
    Disconnected(String),
    /// Nobody listens on the subject.
    #[error("nobody answers on {0}")]
    NoResponders(String),
    /// The deadline passed.
    #[error("no answer on {0} in time")]
    TimedOut(String),
    /// The answer is not what was expected.
    #[error(transparent)]
    Malformed(#[from] codec::Malformed),
    /// The URL or the credentials are wrong.
    #[error("cannot use the bus: {0}")]
    Refused(String),
}

/// A connection that comes back by itself.
#[derive(Clone, Debug)]
pub struct Bus {
    link: Link,
}

/// Messages on a subject that we serve.
pub struct Requests {
    subscription: Subscription,
    link: Link,
}

/// A message to act on and, if it is a request, to answer.
#[derive(Debug)]
pub struct Incoming {
    message: Message,
    link: Link,
}

/// Messages that a subscription may hold before the client calls us slow: 64k small ones.
pub(crate) const SUBSCRIPTION_CAPACITY: usize = 65_536;

// === impl Bus ===

impl Bus {
    /// Connects, waiting for the server as long as it takes. Fails only for a URL or credentials that cannot be used.
    pub async fn connect(config: &Config) -> Result<Self, BusError> {
        let servers = config.servers()?;
        let options = config.options(&servers)?.retry_on_initial_connect();
        let client = options.connect(servers).await.map_err(refused)?;
        Ok(Bus { link: Link::Nats(client) })
    }

    /// Connects, or says why that does not work at this moment.
    pub async fn connect_now(config: &Config) -> Result<Self, BusError> {
        let servers = config.servers()?;
        let client = config.options(&servers)?.connect(servers).await.map_err(refused)?;
        Ok(Bus { link: Link::Nats(client) })
    }

    /// A bus over a connection that stands.
    pub(crate) fn over(link: Link) -> Self {
        Bus { link }
    }

    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }

    /// The connection itself, for the store. Whoever has a bus in memory has a log in memory, too, and does not ask.
    pub fn client(&self) -> Client {
        match &self.link {
            Link::Nats(client) => client.clone(),
            Link::Memory(_) => panic!("a log on JetStream was asked of a bus in memory"),
        }
    }

    /// Whether the connection stands at this moment.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// Waits until what was published before has left this process.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.link.flush().await
    }

    /// Asks and waits for one answer.
    pub async fn request<Q, A>(&self, subject: &str, question: &Q, patience: Duration) -> Result<A, BusError>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        let payload = self.request_bytes(subject, codec::encode(question), patience).await?;
        Ok(codec::decode(&payload)?)
    }

    /// Asks with a payload that is already encoded.
    pub async fn request_bytes(
        &self,
        subject: &str,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Bytes, BusError> {
        self.link.request(message(subject, payload), patience).await
    }

    /// Asks, for an answer that comes in several messages. Whoever asks says how long each may take; when nobody
    /// listens, the first message is [`Incoming::is_unheard`].
    pub async fn request_many<Q: Serialize>(
        &self,
        subject: &str,
        question: &Q,
    ) -> Result<Requests, BusError> {
        let inbox = self.link.new_inbox();
        let answers = self.subscribe(&inbox).await?;
        let question = message(subject, codec::encode(question));
        self.link.publish(Message { reply: Some(inbox), ..question }).await?;
        Ok(answers)
    }

    /// Tells whoever listens.
    pub async fn publish<T: Serialize>(&self, subject: &str, value: &T) -> Result<(), BusError> {
        self.publish_bytes(subject, codec::encode(value)).await
    }

    /// Tells whoever listens, with a payload that is already encoded.
    pub async fn publish_bytes(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        self.link.publish(message(subject, payload)).await
    }

    /// Every message on a subject.
    pub async fn subscribe(&self, subject: &str) -> Result<Requests, BusError> {
        self.hear(subject, None).await
    }

    /// Our share of the messages on a subject; the members of `group` divide them.
    pub async fn serve(&self, subject: &str, group: &str) -> Result<Requests, BusError> {
        self.hear(subject, Some(group)).await
    }

    async fn hear(&self, subject: &str, group: Option<&str>) -> Result<Requests, BusError> {
        let subscription = self.link.subscribe(subject, group).await?;
        Ok(Requests { subscription, link: self.link.clone() })
    }
}

/// With what lies behind it: "TLS error" alone helps nobody.
fn refused(error: async_nats::ConnectError) -> BusError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(deeper) = source {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        source = deeper.source();
    }
    BusError::Refused(text)
}

/// A message in the current span.
fn message(subject: &str, payload: Bytes) -> Message {
    let mut headers = HeaderMap::new();
    trace::inject(&mut headers);
    Message {
        subject: subject.to_owned(),
        reply: None,
        headers: (!headers.is_empty()).then_some(headers),
        payload,
        is_unheard: false,
    }
}

// === impl Requests ===

impl Requests {
    /// The next message; `None` once the connection was closed for good.
    pub async fn next(&mut self) -> Option<Incoming> {
        let message = self.subscription.next().await?;
        Some(Incoming { message, link: self.link.clone() })
    }

    /// Ends the subscription.
    pub async fn stop(self) {
        self.subscription.stop().await;
    }
}

// === impl Incoming ===

impl Incoming {
    /// What the message holds.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, codec::Malformed> {
        codec::decode(&self.message.payload)
    }

    /// The bus's word that nobody listens where we asked.
    pub fn is_unheard(&self) -> bool {
        self.message.is_unheard
    }

    /// The subject that it came on.
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// Makes `span` a child of the sender's.
    pub fn adopt(&self, span: &tracing::Span) {
        trace::adopt(span, self.message.headers.as_ref());
    }

    /// Answers; may be called several times where the protocol has an answer in several frames.
    pub async fn answer<T: Serialize>(&self, value: &T) {
        let Some(reply) = &self.message.reply else { return };
        let answer = Message {
            subject: reply.clone(),
            reply: None,
            headers: None,
            payload: codec::encode(value),
            is_unheard: false,
        };
        if let Err(error) = self.link.publish(answer).await {
            // Whoever asked will ask again.
            warn!(subject = %self.message.subject, "cannot answer: {error}");
        }
    }
}

// === impl BusError ===

impl From<BusError> for Status {
    fn from(error: BusError) -> Status {
        match error {
            BusError::Malformed(malformed) => Status::internal(malformed),
            other => Status::unavailable(other.to_string()),
        }
    }
}
