//! Hooks and probes that reach a container over the network.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::runtime::Answer;
use crate::decide::action::Check;

/// What is read of an answer, for the event.
const BODY_MAX: usize = 10 * 1024;

/// Carries out a check that needs no process of its own.
pub async fn reach(check: &Check, patience: Duration) -> Answer {
    match timeout(patience, connect(check)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => Answer::failed(why),
        Err(_) => Answer::failed("context deadline exceeded: no answer in time"),
    }
}

async fn connect(check: &Check) -> Result<Answer, String> {
    match check {
        Check::Tcp { host, port } => {
            dial(host, *port).await?;
            Ok(Answer::passed(""))
        }
        Check::Http { tls, host, port, path, headers } => {
            let stream = dial(host, *port).await?;
            let authority = format!("{}:{port}", bracketed(host));
            match tls {
                false => http(stream, &authority, path, headers).await,
                true => http(secure(stream, host).await?, &authority, path, headers).await,
            }
        }
        Check::Grpc { host, port, service } => health(host, *port, service).await,
        Check::Exec(_) | Check::Sleep(_) => Ok(Answer::passed("")),
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((host, port)).await;
    stream.map_err(|error| format!("dial tcp {}:{port}: {error}", bracketed(host)))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

async fn http<S>(
    stream: S,
    authority: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request(authority, path, headers)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Ends with the sender.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    let body = start_of(response.into_body()).await;
    driver.abort();
    // A redirect is an answer: who probes a container does not follow it elsewhere.
    match code {
        200..400 => Ok(Answer::passed(body)),
        _ => Ok(Answer::failed(format!("HTTP probe failed with statuscode: {code}"))),
    }
}

fn request(
    authority: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<Request<Empty<Bytes>>, String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let uri: Uri = path.parse().map_err(|error| format!("{path:?}: {error}"))?;
    let named = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut request = Request::get(uri);
    if !named("host") {
        request = request.header(header::HOST, authority);
    }
    if !named("user-agent") {
        request = request.header(header::USER_AGENT, "kube-probe/1.35");
    }
    if !named("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Empty::new()).map_err(|error| error.to_string())
}

async fn start_of(mut body: hyper::body::Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < BODY_MAX {
        match body.frame().await {
            Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            _ => break,
        }
    }
    text.truncate(BODY_MAX);
    String::from_utf8_lossy(&text).into_owned()
}

async fn secure(stream: TcpStream, host: &str) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

/// A probe asks whether somebody answers, not who: containers show certificates for names that they are not reached by.
#[derive(Debug)]
struct AnyCertificate;

// === impl AnyCertificate ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The question of gRPC's health service.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthQuestion {
    #[prost(string, tag = "1")]
    service: String,
}

/// Its answer.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthAnswer {
    #[prost(int32, tag = "1")]
    status: i32,
}

async fn health(host: &str, port: u16, service: &str) -> Result<Answer, String> {
    const SERVING: i32 = 1;
    let address = format!("http://{}:{port}", bracketed(host));
    let endpoint = tonic::transport::Endpoint::from_shared(address).map_err(|error| error.to_string())?;
    let channel = endpoint.connect().await.map_err(|error| format!("timeout: failed to connect: {error}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let codec: tonic_prost::ProstCodec<HealthQuestion, HealthAnswer> = tonic_prost::ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let question = tonic::Request::new(HealthQuestion { service: service.to_owned() });
    match client.unary(question, path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Ok(Answer::passed("SERVING")),
        Ok(_) => Ok(Answer::failed(format!("service unhealthy (responded with \"NOT_SERVING\"): {service}"))),
        Err(status) => Ok(Answer::failed(status.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `response`; returns where, and what was asked.
    async fn server(response: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 1024];
            let count = stream.read(&mut buffer).await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        });
        (port, asked)
    }

    fn check(port: u16) -> Check {
        Check::Http {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port,
            path: "healthz?x=1".to_owned(),
            headers: vec![("X-Probe".to_owned(), "1".to_owned())],
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_answer_below_400_passes() {
        let (port, asked) = server("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(reach(&check(port), PATIENCE).await, Answer::passed("ok"));
        let asked = asked.await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /healthz?x=1 http/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("x-probe: 1") && asked.contains(&format!("host: 127.0.0.1:{port}")),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn an_error_and_silence_fail() {
        let (port, _asked) = server("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
        let answer = reach(&check(port), PATIENCE).await;
        assert_eq!(answer, Answer::failed("HTTP probe failed with statuscode: 503"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap().port();
        assert!(!reach(&check(silent), Duration::from_millis(50)).await.passed);
    }

    #[tokio::test]
    async fn a_port_is_open_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tcp = Check::Tcp { host: "127.0.0.1".to_owned(), port };
        assert!(reach(&tcp, PATIENCE).await.passed);
        drop(listener);
        assert!(!reach(&tcp, PATIENCE).await.passed);
    }
}
