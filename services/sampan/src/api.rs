//! The HTTPS API as whoever a kubeconfig names: one request at a time, for commands that a person waits for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Which API, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArguments {
    /// How the API is reached, and as whom
    #[arg(long, env = "KUBECONFIG", default_value = ".sampan/admin.kubeconfig", value_name = "FILE")]
    kubeconfig: PathBuf,
}

/// The API, as somebody.
pub struct Api {
    server: Uri,
    tls: TlsConnector,
    bearer: Option<String>,
}

/// For a whole request and its answer; a server that is behind waits for its state a few seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// Larger answers are none to what is asked here.
const ANSWER_BYTES: usize = 16 << 20;

// === impl Api ===

impl Api {
    /// As the arguments say.
    pub fn open(arguments: &ApiArguments) -> Result<Api> {
        Api::of(&arguments.kubeconfig)
    }

    /// As a kubeconfig says.
    pub fn of(path: &Path) -> Result<Api> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Value = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Api::read(&config, folder).with_context(|| path.display().to_string())
    }

    fn read(config: &Value, folder: &Path) -> Result<Api> {
        let context = named(config, "contexts", config["current-context"].as_str().unwrap_or_default())?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cluster = &named(config, "clusters", &text(&context["context"]["cluster"]))?["cluster"];
        let user = &named(config, "users", &text(&context["context"]["user"]))?["user"];
        let server: Uri = text(&cluster["server"]).parse().context("the server's address")?;
        if server.scheme_str() != Some("https") {
            bail!("the server {server} is not reached by https");
        }
        let mut roots = RootCertStore::empty();
        let ca = embedded(cluster, "certificate-authority", folder)?.context("it names no CA")?;
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            roots.add(certificate.context("the CA")?).context("the CA")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots);
        let (certificate, key) =
            (embedded(user, "client-certificate", folder)?, embedded(user, "client-key", folder)?);
        let tls = match certificate.zip(key) {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
                let key = PrivateKeyDer::from_pem_slice(&key).context("the client's key")?;
                builder.with_client_auth_cert(chain.context("the client's certificate")?, key)?
            }
            None => builder.with_no_client_auth(),
        };
        let bearer = user["token"].as_str().map(str::to_owned);
        Ok(Api { server, tls: TlsConnector::from(Arc::new(tls)), bearer })
    }

    /// What is there.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Makes an object.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.send(Method::POST, path, Some(object)).await
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, None).await
    }

    /// What is there, as text.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.in_time(Method::GET, path, None).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.in_time(method, path, body).await?;
        serde_json::from_slice(&answer).context("the answer is no JSON")
    }

    async fn in_time(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes> {
        let asked = timeout(PATIENCE, self.ask(method, path, body)).await;
        asked.with_context(|| format!("{} does not answer", self.server))?
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes> {
        let host = self.server.host().context("the server has a name")?.to_owned();
        let authority = self.server.authority().context("the server has a name")?.to_string();
        let port = self.server.port_u16().unwrap_or(443);
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let unreached = || format!("cannot reach {}", self.server);
        let stream = TcpStream::connect((name.as_str(), port)).await.with_context(unreached)?;
        let stream = self.tls.connect(ServerName::try_from(name)?, stream).await.with_context(unreached)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, authority);
        request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let answer = sender.send_request(request.body(Full::new(body))?).await.with_context(unreached)?;
        let is_good = answer.status().is_success();
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        connection.abort();
        let bytes = bytes.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        if is_good {
            return Ok(bytes);
        }
        match serde_json::from_slice::<Value>(&bytes).ok().and_then(|status| text_of(&status)) {
            Some(why) => bail!("{why}"),
            None => bail!("{}", String::from_utf8_lossy(&bytes).trim()),
        }
    }
}

fn text_of(status: &Value) -> Option<String> {
    status["message"].as_str().map(str::to_owned)
}

fn named<'a>(config: &'a Value, list: &str, name: &str) -> Result<&'a Value> {
    let mut entries = config[list].as_array().into_iter().flatten();
    entries.find(|entry| entry["name"] == name).with_context(|| format!("it has no {name:?} in its {list}"))
}

/// PEM that stands in the file itself, or in another one that it names.
fn embedded(from: &Value, field: &str, folder: &Path) -> Result<Option<Vec<u8>>> {
    if let Some(encoded) = from[format!("{field}-data")].as_str() {
        return Ok(Some(STANDARD.decode(encoded).with_context(|| format!("{field}-data"))?));
    }
    let Some(path) = from[field].as_str() else { return Ok(None) };
    let path = folder.join(path);
    Ok(Some(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kubeconfig_that_lacks_something_says_what() {
        let complete = json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": ""}}],
            "users": [{"name": "u", "user": {"token": "abcdef.0123456789abcdef"}}],
        });
        let why = |config: &Value| match Api::read(config, Path::new(".")) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(why(&complete), "");
        let mut plain = complete.clone();
        plain["clusters"][0]["cluster"]["server"] = json!("http://127.0.0.1");
        assert!(why(&plain).contains("https"), "{}", why(&plain));
        let mut nobody = complete.clone();
        nobody["users"] = json!([]);
        assert_eq!(why(&nobody), "it has no \"u\" in its users");
        let mut missing = complete;
        missing["users"][0]["user"] = json!({"client-certificate": "/not/there.pem"});
        assert!(why(&missing).contains("/not/there.pem"));
    }
}
