//! `join`: this machine becomes a node of a cluster, and runs as one.
//!
//! ```text
//!  token ──> join.<node> on the bus ──> credentials of this node alone ──> DATA_DIR/bus.creds (0600)
//!                                       what nodes need to know ────────> DATA_DIR/joined.json, bus-ca.crt
//!                                                                              └──> `node`, from now on without a token
//! ```
//! The same command again finds that it has joined, and goes on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use apiserver::http::private_file::{self, PRIVATE, PUBLIC};
use bus::join::{Answer, Token, Welcome};
use bus::security::{Credentials, Role, ca_hash};
use bus::{Bus, BusError, Identity, Trust, subject};
use jiff::Timestamp;
use model::{Reason, Status};
use node_agent::node::facts;
use runtime::{BusArguments, Shutdown};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::node;

/// How a machine joins.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where the bus is, as tls://host:port; may be left out on a machine that has joined before
    #[arg(value_name = "BUS_URL")]
    url: Option<String>,
    /// The bootstrap token, as `sampan token create` prints it
    #[arg(long, env = "SAMPAN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<Token>,
    /// A file that holds the token
    #[arg(long, env = "SAMPAN_TOKEN_FILE", conflicts_with = "token", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Hash of the public key of the CA that vouches for the bus
    #[arg(long, env = "SAMPAN_CA_CERT_HASH", value_name = "sha256:HEX")]
    ca_cert_hash: Option<String>,
    /// Certificate of the CA that vouches for the bus
    #[arg(long, env = "SAMPAN_CA", conflicts_with = "ca_cert_hash", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait until the cluster answers, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    /// The node
    #[command(flatten)]
    node: node::NodeArguments,
}

/// Why a machine does not join; each kind ends the program with a code of its own.
#[derive(Debug)]
pub struct Refused {
    code: u8,
    why: String,
}

/// What a machine keeps of its joining.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Joined {
    url: String,
    node: String,
    dns: Vec<String>,
    pods: String,
}

/// Where it is kept.
struct Home {
    folder: PathBuf,
}

/// The token is not good: unknown, expired, used up, or for another node.
const TOKEN_REFUSED: u8 = 3;
/// The name is somebody else's.
const NAME_TAKEN: u8 = 4;
/// Nobody answers, or not the one that was meant.
const UNREACHABLE: u8 = 5;
/// Until the answer, which is a signature.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts to reach the cluster.
const PAUSE: Duration = Duration::from_millis(500);
/// What an agent is given when nothing else is said: perhaps the socket of somebody else's containerd.
const SHARED_SOCKET: &str = "/run/containerd/containerd.sock";

/// Joins unless that is done, then runs the node until `shutdown`.
pub async fn run(arguments: Arguments, shutdown: Shutdown) -> Result<()> {
    // Before the token is used: it may be good once only.
    node::check()?;
    let name = arguments.node.agent.node_name.clone().unwrap_or_else(facts::hostname);
    let home = Home { folder: arguments.node.agent.data_dir.clone() };
    let joined = match home.joined(&arguments, &name)? {
        Some(joined) => joined,
        None => {
            let joined = tokio::select! {
                joined = join(&arguments, &home, &name) => joined?,
                () = shutdown.cancelled() => return Ok(()),
            };
            info!(node = joined.node, url = joined.url, "this machine has joined");
            joined
        }
    };
    node::run(home.configure(arguments.node, &joined)?, shutdown).await
}

async fn join(arguments: &Arguments, home: &Home, name: &str) -> Result<Joined> {
    let url =
        arguments.url.clone().context("this machine has not joined yet: name the bus, as tls://host:port")?;
    let token = arguments.token()?;
    let trust = arguments.trust(&url)?;
    let (seed, public_key) = Credentials::new_key();
    let welcome = ask(arguments, &url, trust, name, &token, &public_key).await?;
    if !token.proves_welcome(&public_key, &welcome) {
        return Err(refused(UNREACHABLE, "whoever answers does not know the token: it is not this cluster"));
    }
    let credentials = Credentials::new(&welcome.statement, &seed)?;
    if credentials.role() != Role::Node || credentials.name() != subject::escape(name) {
        return Err(refused(UNREACHABLE, "the credentials that were given are not those of this node"));
    }
    home.keep(arguments, &url, name, &credentials, welcome)
}

/// Asks until somebody answers.
async fn ask(
    arguments: &Arguments,
    url: &str,
    trust: Trust,
    name: &str,
    token: &Token,
    public_key: &str,
) -> Result<Welcome> {
    let config =
        bus::Config { url: url.to_owned(), name: format!("join/{name}"), identity: Identity::Joining, trust };
    let deadline = Instant::now() + Duration::from_secs(arguments.timeout);
    let question = token.ask(name, public_key);
    let mut told = String::new();
    loop {
        let why = match Bus::connect_now(&config).await {
            Err(error) if is_untrusted(&error) => return Err(refused(UNREACHABLE, &error.to_string())),
            Err(error) => error.to_string(),
            Ok(bus) => match bus.request::<_, Answer>(&subject::join(name), &question, ANSWER_PATIENCE).await
            {
                Ok(Ok(welcome)) => return Ok(welcome),
                Ok(Err(status)) if status.reason != Reason::ServiceUnavailable => {
                    return Err(judged(&status));
                }
                Ok(Err(status)) => status.message,
                Err(BusError::NoResponders(_)) => "no API server listens on the bus".to_owned(),
                Err(error) => error.to_string(),
            },
        };
        if Instant::now() > deadline {
            return Err(refused(UNREACHABLE, &format!("{url}: {why}")));
        }
        if why != told {
            warn!("waiting for {url}: {why}");
            told = why;
        }
        sleep(PAUSE).await;
    }
}

/// A wrong certificate does not get right by waiting.
fn is_untrusted(error: &BusError) -> bool {
    error.to_string().contains("certificate")
}

fn judged(status: &Status) -> anyhow::Error {
    let code = match status.reason {
        Reason::Unauthorized | Reason::Forbidden => TOKEN_REFUSED,
        Reason::Conflict => NAME_TAKEN,
        _ => 1,
    };
    refused(code, &status.message)
}

fn refused(code: u8, why: &str) -> anyhow::Error {
    Refused { code, why: why.to_owned() }.into()
}

// === impl Arguments ===

impl Arguments {
    fn token(&self) -> Result<Token> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                text.parse().with_context(|| path.display().to_string())
            }
            (None, None) => bail!("--token or --token-file is needed: `sampan token create` makes one"),
        }
    }

    fn trust(&self, url: &str) -> Result<Trust> {
        let is_secured = url.split(',').all(|one| one.trim().starts_with("tls://"));
        let trust = match (&self.ca_cert_hash, &self.ca) {
            (Some(hash), _) => Trust::Hash(hash.clone()),
            (None, Some(file)) => Trust::File(file.clone()),
            (None, None) => Trust::Machine,
        };
        if !is_secured && trust != Trust::Machine {
            bail!("a CA vouches for nobody over {url}: use tls://");
        }
        if !is_secured {
            warn!("whoever sits between this machine and {url} can read what pods are given");
        }
        Ok(trust)
    }
}

// === impl Home ===

impl Home {
    fn credentials(&self) -> PathBuf {
        self.folder.join("bus.creds")
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("bus-ca.crt")
    }

    fn record(&self) -> PathBuf {
        self.folder.join("joined.json")
    }

    /// What this machine has joined before, if its credentials are good yet and it is what is asked for.
    fn joined(&self, arguments: &Arguments, name: &str) -> Result<Option<Joined>> {
        let (Some(record), Some(credentials)) = (read(&self.record())?, read(&self.credentials())?) else {
            return Ok(None);
        };
        let joined: Joined =
            serde_json::from_str(&record).with_context(|| self.record().display().to_string())?;
        let other_name = arguments.node.agent.node_name.is_some() && joined.node != name;
        let other_bus = arguments.url.as_ref().is_some_and(|url| *url != joined.url);
        if other_name || other_bus {
            bail!(
                "this machine is the node {:?} of {} already: remove {} to join anew",
                joined.node,
                joined.url,
                self.record().display()
            );
        }
        let credentials =
            Credentials::from_text(&credentials).with_context(|| self.credentials().display().to_string())?;
        let is_over = credentials.expires().is_some_and(|end| end <= Timestamp::now().as_second());
        if is_over && arguments.url.is_none() {
            bail!("the credentials of this node have expired: join again with a token");
        }
        Ok((!is_over).then_some(joined))
    }

    fn keep(
        &self,
        arguments: &Arguments,
        url: &str,
        name: &str,
        credentials: &Credentials,
        welcome: Welcome,
    ) -> Result<Joined> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        if let Some(hash) = &arguments.ca_cert_hash {
            if ca_hash(&welcome.cluster.ca).as_ref() != Some(&hash.to_lowercase()) {
                return Err(refused(
                    UNREACHABLE,
                    "the cluster names another CA than the one that vouched for its bus",
                ));
            }
            write(&self.ca(), &welcome.cluster.ca, PUBLIC)?;
        } else if let Some(file) = &arguments.ca {
            let text = std::fs::read_to_string(file);
            write(&self.ca(), &text.with_context(|| format!("cannot read {}", file.display()))?, PUBLIC)?;
        }
        write(&self.credentials(), &credentials.to_text(), PRIVATE)?;
        let joined = Joined {
            url: url.to_owned(),
            node: name.to_owned(),
            dns: welcome.cluster.dns,
            pods: welcome.cluster.pods,
        };
        // Last: with it, everything is there.
        write(&self.record(), &serde_json::to_string_pretty(&joined)?, PUBLIC)?;
        Ok(joined)
    }

    /// What the cluster has told, where nothing else was asked for on the command line.
    fn configure(&self, mut config: node::NodeArguments, joined: &Joined) -> Result<node::NodeArguments> {
        let agent = &mut config.agent;
        let ca = self.ca();
        agent.bus = BusArguments {
            nats_url: joined.url.clone(),
            bus_credentials: Some(self.credentials()),
            bus_ca: ca.exists().then_some(ca),
        };
        agent.node_name = Some(joined.node.clone());
        if agent.cluster_dns.is_empty() {
            agent.cluster_dns = joined.dns.iter().filter_map(|address| address.parse().ok()).collect();
        }
        if agent.cluster_cidr.is_none() && !joined.pods.is_empty() {
            agent.cluster_cidr =
                Some(joined.pods.parse().context("the range of pods that the cluster told")?);
        }
        if agent.containerd_socket == Path::new(SHARED_SOCKET) {
            agent.containerd_socket = format!("/run/sampan/{}/containerd.sock", joined.node).into();
        }
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    private_file::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    private_file::write(path, text.as_bytes(), mode)
        .with_context(|| format!("cannot write {}", path.display()))
}

// === impl Refused ===

impl Refused {
    /// What the program ends with.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot join: {}", self.why)
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use bus::join::Cluster;
    use bus::security::Authority;
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(line: &str) -> Arguments {
        Line::parse_from(std::iter::once("join").chain(line.split_whitespace())).arguments
    }

    fn welcome() -> Welcome {
        let cluster = Cluster {
            dns: vec!["10.96.0.10".to_owned()],
            pods: "10.244.0.0/16".to_owned(),
            ..Cluster::default()
        };
        Welcome { statement: String::new(), cluster, proof: Vec::new() }
    }

    fn joined(folder: &Path, expires: i64) -> Home {
        let home = Home { folder: folder.to_owned() };
        let credentials = Authority::new(0).signer(Role::Node).issue("a", 0, Some(expires));
        home.keep(&arguments("nats://b:4222"), "nats://b:4222", "a", &credentials, welcome()).unwrap();
        home
    }

    #[test]
    fn a_machine_that_has_joined_needs_no_token_and_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let home = joined(folder.path(), i64::MAX);
        let mode = std::fs::metadata(home.credentials()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for line in ["", "nats://b:4222 --token abcdef.0123456789abcdef", "--node-name a"] {
            let found = home.joined(&arguments(line), "a").unwrap().expect(line);
            let config = home.configure(arguments(line).node, &found).unwrap();
            assert_eq!(config.agent.bus.bus_credentials, Some(home.credentials()));
            assert_eq!(config.agent.cluster_dns.len(), 1);
            assert_eq!(config.agent.containerd_socket, Path::new("/run/sampan/a/containerd.sock"));
        }
        for line in ["nats://c:4222", "--node-name b"] {
            let why = home.joined(&arguments(line), "b").unwrap_err().to_string();
            assert!(why.contains("already"), "{why}");
        }
    }

    #[test]
    fn a_machine_whose_credentials_are_over_joins_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = joined(folder.path(), 1);
        let why = home.joined(&arguments(""), "a").unwrap_err().to_string();
        assert!(why.contains("expired"), "{why}");
        assert_eq!(home.joined(&arguments("nats://b:4222"), "a").unwrap(), None);
    }

    #[test]
    fn each_refusal_has_a_code_of_its_own() {
        let code = |status: Status| judged(&status).downcast::<Refused>().unwrap().code();
        assert_eq!(code(Status::new(Reason::Unauthorized, "unknown")), TOKEN_REFUSED);
        assert_eq!(code(Status::forbidden("", "nodes", "a", "the token has expired")), TOKEN_REFUSED);
        assert_eq!(code(Status::conflict("", "nodes", "a", "it lives")), NAME_TAKEN);
        assert_eq!(code(Status::bad_request("no name")), 1);
    }

    #[test]
    fn a_ca_without_tls_is_a_mistake() {
        let hash = format!("--ca-cert-hash sha256:{}", "0".repeat(64));
        assert!(arguments(&hash).trust("nats://b:4222").is_err());
        assert!(arguments(&hash).trust("tls://b:4222").is_ok());
        assert_eq!(arguments("").trust("nats://b:4222").unwrap(), Trust::Machine);
    }
}
