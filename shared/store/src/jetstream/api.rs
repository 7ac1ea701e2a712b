//! The few requests of the JetStream API that the log needs.

use std::time::Duration;

use async_nats::client::Request;
use async_nats::{Client, HeaderMap, RequestErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::log::LogError;

/// Longest time that a request may take. An election of a replicated stream takes longer: requests are repeated.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no such stream, consumer or message.
    #[error("{0}")]
    NotFound(String),
    /// The subject was written to since.
    #[error("{0}")]
    WrongLastSequence(String),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// No answer, or the server cannot say now.
    #[error("{0}")]
    Unreachable(String),
}

/// The way to the server.
#[derive(Clone)]
pub(super) struct Api {
    pub client: Client,
}

#[derive(Deserialize)]
struct Failure {
    error: Option<ErrorOnWire>,
}

#[derive(Deserialize)]
struct ErrorOnWire {
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A stream as its leader sees it.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub state: StreamState,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: u64,
    pub last_seq: u64,
}

/// A consumer as the server sees it.
#[derive(Deserialize)]
pub(super) struct ConsumerInfo {
    pub name: String,
    pub delivered: Delivered,
    /// Messages that are there and were not sent yet.
    pub num_pending: u64,
}

#[derive(Deserialize)]
pub(super) struct Delivered {
    /// The last message that was sent.
    pub stream_seq: u64,
}

#[derive(Deserialize)]
struct Ack {
    seq: u64,
}

#[derive(Deserialize)]
struct Consumers {
    #[serde(default)]
    consumers: Option<Vec<ConsumerInfo>>,
}

#[derive(Deserialize)]
struct Stored {
    message: StoredMessage,
}

#[derive(Deserialize)]
struct StoredMessage {
    seq: u64,
    #[serde(default)]
    data: String,
}

// === impl Api ===

impl Api {
    pub fn new(client: Client) -> Self {
        Api { client }
    }

    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Publishes a message and waits for its acknowledgement.
    pub async fn publish(
        &self,
        subject: String,
        headers: &[(&'static str, &str)],
        payload: Bytes,
    ) -> Result<u64, ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let ack: Ack = self.send(subject, Request::new().headers(map).payload(payload)).await?;
        Ok(ack.seq)
    }

    pub async fn info(&self, stream: &str) -> Result<StreamInfo, ApiError> {
        self.ask(format!("STREAM.INFO.{stream}"), None).await
    }

    pub async fn create_stream(&self, name: &str, config: &Value) -> Result<(), ApiError> {
        self.ask::<StreamInfo>(format!("STREAM.CREATE.{name}"), Some(config)).await?;
        Ok(())
    }

    pub async fn purge(&self, stream: &str, request: &Value) -> Result<(), ApiError> {
        self.ask::<Value>(format!("STREAM.PURGE.{stream}"), Some(request)).await?;
        Ok(())
    }

    /// The last message on a subject, from the leader.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<(u64, Bytes), ApiError> {
        let request = json!({ "last_by_subj": subject });
        let stored: Stored = self.ask(format!("STREAM.MSG.GET.{stream}"), Some(&request)).await?;
        let broken = |error| ApiError::Refused(format!("not base64: {error}"));
        let data = STANDARD.decode(&stored.message.data).map_err(broken)?;
        Ok((stored.message.seq, data.into()))
    }

    pub async fn create_consumer(&self, stream: &str, name: &str, config: &Value) -> Result<(), ApiError> {
        let request = json!({ "stream_name": stream, "config": config, "action": "create" });
        self.ask::<ConsumerInfo>(format!("CONSUMER.CREATE.{stream}.{name}"), Some(&request)).await?;
        Ok(())
    }

    /// The consumers of a stream: services, so few that one answer holds them all.
    pub async fn consumers(&self, stream: &str) -> Result<Vec<ConsumerInfo>, ApiError> {
        let consumers: Consumers = self.ask(format!("CONSUMER.LIST.{stream}"), None).await?;
        Ok(consumers.consumers.unwrap_or_default())
    }

    pub async fn delete_consumer(&self, stream: &str, name: &str) -> Result<(), ApiError> {
        match self.ask::<Value>(format!("CONSUMER.DELETE.{stream}.{name}"), None).await {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, what: String, request: Option<&Value>) -> Result<T, ApiError> {
        let payload = request.map(|request| Bytes::from(request.to_string())).unwrap_or_default();
        self.send(format!("$JS.API.{what}"), Request::new().payload(payload)).await
    }

    async fn send<T: DeserializeOwned>(&self, subject: String, request: Request) -> Result<T, ApiError> {
        let request = request.timeout(Some(TIMEOUT));
        let answer =
            self.client.send_request(subject, request).await.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => ApiError::Unreachable("no JetStream server answers".into()),
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                    ApiError::Refused(error.to_string())
                }
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    ApiError::Unreachable(error.to_string())
                }
            })?;
        let odd = |error| ApiError::Unreachable(format!("an answer that makes no sense: {error}"));
        match serde_json::from_slice::<Failure>(&answer.payload).map_err(odd)?.error {
            Some(error) => Err(error.into()),
            None => serde_json::from_slice(&answer.payload).map_err(odd),
        }
    }
}

impl From<ErrorOnWire> for ApiError {
    fn from(error: ErrorOnWire) -> Self {
        let ErrorOnWire { code, err_code, description } = error;
        let why = format!("{description} ({err_code})");
        match (code, err_code) {
            (_, 10071 | 10164) => ApiError::WrongLastSequence(why),
            // No room: storage or memory of the server, of the account, or the limit of the stream.
            (_, 10023 | 10028 | 10047 | 10077) => ApiError::Refused(why),
            (404, _) => ApiError::NotFound(why),
            (408 | 503, _) => ApiError::Unreachable(why),
            _ => ApiError::Refused(why),
        }
    }
}

impl From<ApiError> for LogError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::NotFound(why) | ApiError::Unreachable(why) => LogError::Unreachable(why),
            ApiError::WrongLastSequence(why) => LogError::Overtaken(why),
            ApiError::Refused(why) => LogError::Refused(why),
        }
    }
}
