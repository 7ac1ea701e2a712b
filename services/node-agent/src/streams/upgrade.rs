//! From a streaming URL of the runtime to a SPDY connection.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use spdy::{Connection, Role};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the runtime may take, on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of the text of a refusal.
const REFUSAL_MAX: usize = 16 * 1024;

/// Why the runtime's streaming server did not take us.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("the runtime's streaming address {0:?} is none")]
    Address(String),
    #[error("cannot reach the runtime's streaming server: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the runtime's streaming server failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the runtime's streaming server refused: {0}")]
    Refused(String),
    #[error("the runtime's streaming server did not answer in time")]
    TimedOut,
}

/// Asks the runtime to speak SPDY with one of `protocols`.
pub(super) async fn connect(url: &str, protocols: &[&str]) -> Result<Connection, UpgradeError> {
    timeout(PATIENCE, ask(url, protocols)).await.map_err(|_| UpgradeError::TimedOut)?
}

async fn ask(url: &str, protocols: &[&str]) -> Result<Connection, UpgradeError> {
    let (authority, path) = take_apart(url).ok_or_else(|| UpgradeError::Address(url.to_owned()))?;
    let tcp = TcpStream::connect(&authority).await?;
    tcp.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    // Ends with the upgraded connection; its errors are seen there.
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, &authority)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "SPDY/3.1");
    for protocol in protocols {
        request = request.header("X-Stream-Protocol-Version", *protocol);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| UpgradeError::Address(url.to_owned()))?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        let body = Limited::new(response.into_body(), REFUSAL_MAX).collect().await;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
        return Err(UpgradeError::Refused(format!("{status}: {}", text.unwrap_or_default())));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    // We open every stream ourselves.
    let (connection, _incoming) = Connection::start(TokioIo::new(upgraded), Role::Client);
    Ok(connection)
}

/// Where to connect, and what to ask for.
fn take_apart(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let port = authority.port_u16().unwrap_or(80);
    Some((format!("{}:{port}", authority.host()), uri.path_and_query()?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streaming_url_is_an_address_and_a_path() {
        let parts = |url| take_apart(url).map(|(authority, path)| format!("{authority} {path}"));
        assert_eq!(parts("http://127.0.0.1:4711/exec/TOKEN").as_deref(), Some("127.0.0.1:4711 /exec/TOKEN"));
        assert_eq!(parts("http://[::1]:80/attach/x").as_deref(), Some("[::1]:80 /attach/x"));
        assert_eq!(parts("/exec/TOKEN"), None);
    }
}
