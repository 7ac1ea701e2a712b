//! The connection to NATS: requests with a deadline, and requests to answer.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use model::Status;
use serde::{Serialize, de::DeserializeOwned};
use tracing::{info, warn};

use crate::{codec, trace};

/// Where the bus is and who we are on it.
#[derive(Clone, Debug)]
pub struct Config {
    /// `nats://user:password@host:port`, several separated by commas.
    pub url: String,
    /// Shown in the server's list of connections: `scheduler`, `node-agent/node-1`.
    pub name: String,
}

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
    client: Client,
}

/// Messages on a subject that we serve.
pub struct Requests {
    subscriber: Subscriber,
    client: Client,
}

/// A message to act on and, if it is a request, to answer.
#[derive(Debug)]
pub struct Incoming {
    /// The message as it came.
    pub message: Message,
    client: Client,
}

/// How long [`Bus::connect`] lets one attempt take; it tries again until the server is there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to reconnect; a restarting server is back within a few of these.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Messages that a subscription may hold before the client calls us slow: 64k small ones.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

// === impl Bus ===

impl Bus {
    /// Connects, waiting for the server as long as it takes. Fails only for a URL that cannot be used.
    pub async fn connect(config: &Config) -> Result<Self, BusError> {
        let servers = config
            .url
            .split(',')
            .map(|one| one.trim().parse::<async_nats::ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BusError::Refused(format!("{}: {error}", config.url)))?;
        let mut options = async_nats::ConnectOptions::new();
        // The client does not look for credentials in the URL itself.
        if let Some((user, password)) = servers.iter().find_map(|one| one.username().zip(one.password())) {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        let options = options
            .name(&config.name)
            .retry_on_initial_connect()
            .connection_timeout(CONNECT_PATIENCE)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            // The first attempt is made at once: it is also the one at the start.
            .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_PAUSE })
            .max_reconnects(None)
            .event_callback(|event| async move {
                match event {
                    async_nats::Event::Connected => info!("connected to the bus"),
                    other => warn!("bus: {other}"),
                }
            });
        let client = options.connect(servers).await.map_err(|error| BusError::Refused(error.to_string()))?;
        Ok(Bus { client })
    }

    /// The connection itself, for the store.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether the connection stands at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
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
        let mut headers = HeaderMap::new();
        trace::inject(&mut headers);
        let mut request = async_nats::Request::new().payload(payload).timeout(Some(patience));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                async_nats::RequestErrorKind::TimedOut => BusError::TimedOut(subject.to_owned()),
                async_nats::RequestErrorKind::NoResponders => BusError::NoResponders(subject.to_owned()),
                _ => BusError::Disconnected(error.to_string()),
            }),
        }
    }

    /// Asks, for an answer that comes in several messages. Whoever asks says how long each may take; when nobody
    /// listens, the first message is [`Incoming::is_unheard`].
    pub async fn request_many<Q: Serialize>(
        &self,
        subject: &str,
        question: &Q,
    ) -> Result<Requests, BusError> {
        let inbox = self.client.new_inbox();
        let answers = self.subscribe(&inbox).await?;
        let mut headers = HeaderMap::new();
        trace::inject(&mut headers);
        self.client
            .publish_with_reply_and_headers(subject.to_owned(), inbox, headers, codec::encode(question))
            .await
            .map_err(|error| BusError::Disconnected(error.to_string()))?;
        Ok(answers)
    }

    /// Tells whoever listens.
    pub async fn publish<T: Serialize>(&self, subject: &str, value: &T) -> Result<(), BusError> {
        self.publish_bytes(subject, codec::encode(value)).await
    }

    /// Tells whoever listens, with a payload that is already encoded.
    pub async fn publish_bytes(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        let mut headers = HeaderMap::new();
        trace::inject(&mut headers);
        let sent = if headers.is_empty() {
            self.client.publish(subject.to_owned(), payload).await
        } else {
            self.client.publish_with_headers(subject.to_owned(), headers, payload).await
        };
        sent.map_err(|error| BusError::Disconnected(error.to_string()))
    }

    /// Every message on a subject.
    pub async fn subscribe(&self, subject: &str) -> Result<Requests, BusError> {
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .map_err(|error| BusError::Disconnected(error.to_string()))?;
        Ok(Requests { subscriber, client: self.client.clone() })
    }

    /// Our share of the messages on a subject; the members of `group` divide them.
    pub async fn serve(&self, subject: &str, group: &str) -> Result<Requests, BusError> {
        let subscriber = self
            .client
            .queue_subscribe(subject.to_owned(), group.to_owned())
            .await
            .map_err(|error| BusError::Disconnected(error.to_string()))?;
        Ok(Requests { subscriber, client: self.client.clone() })
    }
}

// === impl Requests ===

impl Requests {
    /// The next message; `None` once the connection was closed for good.
    pub async fn next(&mut self) -> Option<Incoming> {
        let message = self.subscriber.next().await?;
        Some(Incoming { message, client: self.client.clone() })
    }

    /// Ends the subscription.
    pub async fn stop(mut self) {
        // The connection may be gone already, and with it the subscription.
        let _ = self.subscriber.unsubscribe().await;
    }
}

// === impl Incoming ===

impl Incoming {
    /// What the message holds.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, codec::Malformed> {
        codec::decode(&self.message.payload)
    }

    /// The server's word that nobody listens where we asked.
    pub fn is_unheard(&self) -> bool {
        self.message.status == Some(async_nats::StatusCode::NO_RESPONDERS)
    }

    /// The subject that it came on.
    pub fn subject(&self) -> &str {
        self.message.subject.as_str()
    }

    /// Makes `span` a child of the sender's.
    pub fn adopt(&self, span: &tracing::Span) {
        trace::adopt(span, self.message.headers.as_ref());
    }

    /// Answers; may be called several times where the protocol has an answer in several frames.
    pub async fn answer<T: Serialize>(&self, value: &T) {
        let Some(reply) = &self.message.reply else { return };
        if let Err(error) = self.client.publish(reply.clone(), codec::encode(value)).await {
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
