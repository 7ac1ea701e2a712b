//! Where the bus is, who we are on it, and how we know that it is the right one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use tracing::{info, warn};

use crate::connection::{BusError, SUBSCRIPTION_CAPACITY};
use crate::security::{Credentials, Role, trust};

/// Where the bus is and who we are on it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `nats://host:port`, or `tls://host:port` for a connection that nobody reads along; several separated by commas.
    pub url: String,
    /// Shown in the server's list of connections: `scheduler`, `node-agent/node-1`.
    pub name: String,
    /// Who we are.
    pub identity: Identity,
    /// Whom we believe to be the bus.
    pub trust: Trust,
}

/// Who a client is.
#[derive(Clone, Debug, Default)]
pub enum Identity {
    /// Whoever the URL names, as `nats://user:password@host:port`, or nobody.
    #[default]
    Url,
    /// Whoever the credentials in a file say. The file is read again for each attempt, so that newer ones are used
    /// from the next connection on.
    File(PathBuf),
    /// A machine that has no credentials yet.
    Joining,
}

/// Whose certificates are believed over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Of those whom the machine believes.
    #[default]
    Machine,
    /// Of the CAs in a file.
    File(PathBuf),
    /// Of the CA whose public key has this hash, as `sha256:<64 hex digits>`.
    Hash(String),
}

/// How long one attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to reconnect; a restarting server is back within a few of these.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The name of everybody who joins.
const JOINING: &str = "all";

// === impl Config ===

impl Config {
    /// As the user, and with the password, that the URL names, if it does.
    pub fn new(url: &str, name: &str) -> Config {
        Config { url: url.to_owned(), name: name.to_owned(), ..Config::default() }
    }

    pub(crate) fn servers(&self) -> Result<Vec<ServerAddr>, BusError> {
        let servers = self.url.split(',').map(|one| one.trim().parse::<ServerAddr>());
        let servers = servers.collect::<Result<Vec<_>, _>>();
        servers.map_err(|error| BusError::Refused(format!("{}: {error}", self.url)))
    }

    pub(crate) fn options(&self, servers: &[ServerAddr]) -> Result<ConnectOptions, BusError> {
        let mut options = self.identify(servers)?;
        match &self.trust {
            Trust::Machine => {}
            Trust::File(path) => options = options.add_root_certificates(path.clone()),
            Trust::Hash(hash) => {
                let pinned = trust::pinned(hash).map_err(|error| BusError::Refused(error.to_string()))?;
                options = options.tls_client_config(pinned);
            }
        }
        trust::install_provider();
        let options = options
            .name(&self.name)
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
        Ok(options)
    }

    fn identify(&self, servers: &[ServerAddr]) -> Result<ConnectOptions, BusError> {
        match &self.identity {
            Identity::Url => {
                let options = ConnectOptions::new();
                // The client does not look for credentials in the URL itself.
                let named = servers.iter().find_map(|one| one.username().zip(one.password()));
                Ok(match named {
                    Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
                    None => options,
                })
            }
            Identity::File(path) => {
                let inbox = read(path).map_err(BusError::Refused)?.inbox();
                let path = Arc::new(path.clone());
                let prove = move |nonce: Vec<u8>| {
                    let path = Arc::clone(&path);
                    async move { auth(&path, &nonce) }
                };
                Ok(ConnectOptions::with_auth_callback(prove).custom_inbox_prefix(inbox))
            }
            Identity::Joining => Ok(ConnectOptions::new().custom_inbox_prefix(Role::Joining.inbox(JOINING))),
        }
    }
}

/// A small file on a local disk: read where it is needed.
fn read(path: &std::path::Path) -> Result<Credentials, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Credentials::from_text(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn auth(path: &std::path::Path, nonce: &[u8]) -> Result<Auth, AuthError> {
    let credentials = read(path).map_err(AuthError::new)?;
    let mut auth = Auth::new();
    auth.jwt = Some(credentials.statement().to_owned());
    auth.signature = Some(credentials.sign(nonce));
    Ok(auth)
}
