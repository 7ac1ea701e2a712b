//! Which of the streaming protocols a client and we have in common. No IO.
//!
//! ```text
//!  Upgrade: websocket   Sec-WebSocket-Protocol:    v5.channel.k8s.io, v4.channel.k8s.io   a byte of channel a message
//!                                                  v4.base64.channel.k8s.io               the same as text
//!                                                  SPDY/3.1+portforward.k8s.io            SPDY inside messages
//!  Upgrade: SPDY/3.1    X-Stream-Protocol-Version: v4.channel.k8s.io …, portforward.k8s.io
//! ```

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use model::Status;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::body::{self, Body};

const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What the stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Command,
    PortForward,
}

/// How the streams are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A message is a channel's number and bytes.
    Channels(Channels),
    /// SPDY inside WebSocket messages.
    Tunnel,
    /// SPDY on the connection itself.
    Spdy(Version),
}

/// The variants of channels in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels {
    /// Channels can be ended one by one: version 5.
    pub(super) ends: bool,
    /// Messages are text: the channel as a digit, then base64.
    pub(super) base64: bool,
}

/// The variants of streams over SPDY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The result is text; there is no resize.
    V2,
    /// With resize.
    V3,
    /// The result is a `Status`.
    V4,
    /// Pairs of streams, one for data and one for errors.
    PortForward,
}

/// A protocol that both sides speak.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) dialect: Dialect,
    /// As the client named it; `None` when it named none.
    name: Option<&'static str>,
    /// Of a WebSocket.
    accept_key: Option<String>,
}

type Names = &'static [(&'static str, Dialect)];

const BINARY: Channels = Channels { ends: false, base64: false };
const TEXT: Channels = Channels { ends: false, base64: true };
const ENDING: Channels = Channels { ends: true, base64: false };

const COMMAND_WEBSOCKET: Names = &[
    ("v5.channel.k8s.io", Dialect::Channels(ENDING)),
    ("v4.channel.k8s.io", Dialect::Channels(BINARY)),
    ("v4.base64.channel.k8s.io", Dialect::Channels(TEXT)),
];
const COMMAND_SPDY: Names = &[
    ("v4.channel.k8s.io", Dialect::Spdy(Version::V4)),
    ("v3.channel.k8s.io", Dialect::Spdy(Version::V3)),
    ("v2.channel.k8s.io", Dialect::Spdy(Version::V2)),
];
const FORWARD_WEBSOCKET: Names = &[
    ("SPDY/3.1+portforward.k8s.io", Dialect::Tunnel),
    ("v5.channel.k8s.io", Dialect::Channels(ENDING)),
    ("v4.channel.k8s.io", Dialect::Channels(BINARY)),
    ("v4.base64.channel.k8s.io", Dialect::Channels(TEXT)),
];
const FORWARD_SPDY: Names = &[("portforward.k8s.io", Dialect::Spdy(Version::PortForward))];

/// What both sides speak, by the client's order of preference.
pub(super) fn negotiate(headers: &HeaderMap, purpose: Purpose) -> Result<Agreed, Status> {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !words(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) || upgrade.is_empty() {
        return Err(Status::bad_request("Upgrade request required"));
    }
    if upgrade.eq_ignore_ascii_case("websocket") {
        return websocket(headers, purpose);
    }
    if upgrade.eq_ignore_ascii_case(SPDY) {
        return spdy(headers, purpose);
    }
    Err(Status::bad_request(format!("cannot upgrade to {upgrade:?}: websocket and {SPDY} are served here")))
}

fn websocket(headers: &HeaderMap, purpose: Purpose) -> Result<Agreed, Status> {
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return Err(Status::bad_request("a WebSocket request without Sec-WebSocket-Key"));
    };
    let known = match purpose {
        Purpose::Command => COMMAND_WEBSOCKET,
        Purpose::PortForward => FORWARD_WEBSOCKET,
    };
    let accept_key = Some(derive_accept_key(key.as_bytes()));
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(Agreed { dialect: Dialect::Channels(BINARY), name: None, accept_key });
    }
    let (name, dialect) = choose(headers, &SEC_WEBSOCKET_PROTOCOL, known)?;
    Ok(Agreed { dialect, name: Some(name), accept_key })
}

fn spdy(headers: &HeaderMap, purpose: Purpose) -> Result<Agreed, Status> {
    let known = match purpose {
        Purpose::Command => COMMAND_SPDY,
        Purpose::PortForward => FORWARD_SPDY,
    };
    let (name, dialect) = choose(headers, &STREAM_PROTOCOL, known)?;
    Ok(Agreed { dialect, name: Some(name), accept_key: None })
}

fn choose(headers: &HeaderMap, header: &HeaderName, known: Names) -> Result<(&'static str, Dialect), Status> {
    let found = words(headers, header).find_map(|word| known.iter().find(|(name, _)| *name == word));
    found.copied().ok_or_else(|| {
        let asked: Vec<&str> = words(headers, header).collect();
        let served: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Status::bad_request(format!(
            "unable to negotiate protocol: client supports [{}], server accepts [{}]",
            asked.join(" "),
            served.join(" ")
        ))
    })
}

/// The words of a header that may stand in several lines and hold several in each.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

// === impl Agreed ===

impl Agreed {
    /// `101 Switching Protocols`
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(body::full(bytes::Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        match &self.accept_key {
            Some(key) => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                let key = HeaderValue::from_str(key).expect("base64 is a header value");
                headers.insert(SEC_WEBSOCKET_ACCEPT, key);
                if let Some(name) = self.name {
                    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
                }
            }
            None => {
                headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
                if let Some(name) = self.name {
                    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(name));
                }
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    fn websocket(protocols: &'static str) -> HeaderMap {
        headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", protocols),
        ])
    }

    #[test]
    fn the_clients_first_choice_that_is_served_wins() {
        let chosen = |protocols, purpose| negotiate(&websocket(protocols), purpose).unwrap().dialect;
        assert_eq!(chosen("v5.channel.k8s.io", Purpose::Command), Dialect::Channels(ENDING));
        assert_eq!(
            chosen("v9, v4.channel.k8s.io, v5.channel.k8s.io", Purpose::Command),
            Dialect::Channels(BINARY)
        );
        assert_eq!(chosen("SPDY/3.1+portforward.k8s.io", Purpose::PortForward), Dialect::Tunnel);
    }

    #[test]
    fn a_websocket_is_accepted_as_its_standard_says() {
        let response = negotiate(&websocket("v4.channel.k8s.io"), Purpose::Command).unwrap().response();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "v4.channel.k8s.io");
    }

    #[test]
    fn spdy_names_its_protocol_in_one_header_or_several() {
        let asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        let agreed = negotiate(&asked, Purpose::Command).unwrap();
        assert_eq!(agreed.dialect, Dialect::Spdy(Version::V4));
        assert_eq!(agreed.response().headers()[STREAM_PROTOCOL], "v4.channel.k8s.io");
        assert_eq!(agreed.response().headers()[UPGRADE], "SPDY/3.1");
    }

    #[test]
    fn what_is_not_served_is_said_to_be_so() {
        let refused = |headers: &HeaderMap| negotiate(headers, Purpose::Command).unwrap_err();
        assert_eq!(refused(&HeaderMap::new()).message, "Upgrade request required");
        assert_eq!(refused(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])).code(), 400);
        assert_eq!(
            refused(&websocket("SPDY/3.1+portforward.k8s.io")).message,
            "unable to negotiate protocol: client supports [SPDY/3.1+portforward.k8s.io], server accepts \
             [v5.channel.k8s.io v4.channel.k8s.io v4.base64.channel.k8s.io]"
        );
    }
}
