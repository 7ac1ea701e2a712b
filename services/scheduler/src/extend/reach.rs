//! How an extender is asked: over HTTP as upstream does it, or over the bus.

use std::time::Duration;

use anyhow::{Context, Result};
use bus::{Bus, extender as message};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How an extender is reached.
#[derive(Clone, Debug)]
pub enum Reach {
    /// `POST <prefix>/<verb>` with JSON.
    Http {
        /// Without a slash at its end.
        prefix: String,
        /// With the configured certificates and patience.
        client: reqwest::Client,
    },
    /// A request to `ext.<name>.<verb>`.
    Bus {
        /// Its name there.
        name: String,
    },
}

/// Certificates and patience of an HTTP extender.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether its certificate is taken as it is.
    pub insecure: bool,
    /// PEM of who signs its certificate; the machine's own authorities without.
    pub ca: Option<Vec<u8>>,
    /// PEM of our certificate and key.
    pub identity: Option<Vec<u8>>,
}

/// Connections to one extender that are kept for the next request.
const IDLE_CONNECTIONS: usize = 32;

// === impl Reach ===

impl Reach {
    /// An extender at a URL.
    pub fn http(url: &str, tls: &Tls, patience: Duration) -> Result<Self> {
        let mut client = reqwest::Client::builder()
            .timeout(patience)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // What an extender is asked holds pods: it goes where it was configured to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .danger_accept_invalid_certs(tls.insecure);
        if let Some(ca) = &tls.ca {
            client = client.add_root_certificate(reqwest::Certificate::from_pem(ca).context("caData")?);
        }
        if let Some(identity) = &tls.identity {
            client = client.identity(reqwest::Identity::from_pem(identity).context("certData and keyData")?);
        }
        let client = client.build().context("no HTTP client")?;
        Ok(Reach::Http { prefix: url.trim_end_matches('/').to_owned(), client })
    }

    /// Asks over HTTP.
    pub async fn post<Q, A>(prefix: &str, client: &reqwest::Client, verb: &str, question: &Q) -> Result<A>
    where
        Q: Serialize + Sync,
        A: DeserializeOwned,
    {
        let url = format!("{prefix}/{verb}");
        let answer = client.post(&url).json(question).send().await.with_context(|| url.clone())?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "{url}: {status}");
        answer.json().await.with_context(|| format!("{url}: not an answer"))
    }

    /// Asks over the bus.
    pub async fn request<A>(
        bus: &Bus,
        name: &str,
        verb: &str,
        ask: &message::Ask,
        patience: Duration,
    ) -> Result<A>
    where
        A: DeserializeOwned,
    {
        let subject = bus::subject::extender(name, verb);
        bus.request(&subject, ask, patience).await.with_context(|| subject.clone())
    }
}
