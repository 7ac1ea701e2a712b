//! The service as a whole: what is started, in which order.
//!
//! ```text
//!  CA, certificate, listener ──> HTTPS answers from here on (503 for objects)
//!          bus ──> store, read up to the log's end ──> registry ──> HTTPS serves objects
//!                                                         └──> first objects, commands, nodes
//! ```
//! Nothing here waits for the bus by ending: a server without a bus says so and goes on when it is back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use bus::Bus;
use jiff::Timestamp;
use kinds::Table;
use model::Status;
use runtime::{Condition, Readiness, Shutdown};
use rustls::ServerConfig;
use schema::Schemas;
use store::jetstream::{JetStream, JetStreamOptions};
use store::{Health, Store};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::http::ca::Ca;
use crate::http::state::State;
use crate::http::{accept, kubeconfig, tls};
use crate::identity::{FixedTokens, Issuer, SigningKey, Tokens};
use crate::nodes::{Gateway, report, tokens};
use crate::outside::Outside;
use crate::registry::{Entropy, Registry, bootstrap};
use crate::streams::Streams;
use crate::{Config, commands, definitions, endpoints, leadership, verbs};

/// The HTTPS side before it serves: certificates made, address bound.
pub struct Front {
    listeners: Vec<TcpListener>,
    tls: Arc<ServerConfig>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The cluster's CA, as PEM.
    pub ca: String,
}

/// What was read at the start.
struct Known {
    tokens: Tokens,
    outside: Outside,
}

/// What `/readyz` waits for.
struct Conditions {
    store: Condition,
    objects: Condition,
}

/// Where clients find a server.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its port.
    pub port: u16,
    /// Its address, as the service `kubernetes` names it; `None` where pods cannot reach it.
    pub advertised: Option<SocketAddr>,
}

/// Between attempts at what does not work yet.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let conditions =
        Conditions { store: readiness.condition("store"), objects: readiness.condition("objects") };
    runtime::admin::serve(config.admin.admin_addr, readiness.clone(), shutdown.clone()).await?;
    let front = Front::prepare(&config).await?;
    let tokens = prepare_tokens(&config).await?;
    let outside = Outside::prepare(&config, told_server(&config, front.address), front.ca.clone()).await?;
    info!(address = %front.address, "the API is served");
    let bus = Bus::connect(&config.bus.config("apiserver")).await?;
    let state = Arc::new(State::new(readiness, shutdown.clone(), Some(Streams::new(bus.clone()))));
    let known = Known { tokens, outside };
    let objects = tokio::spawn(open(config, front.address, known, bus, Arc::clone(&state), conditions));
    front.serve(state).await;
    objects.await.context("what serves the bus has panicked")
}

/// Opens the store, then everything that needs it; ends with the shutdown.
async fn open(
    config: Config,
    address: SocketAddr,
    Known { tokens, outside }: Known,
    bus: Bus,
    state: Arc<State>,
    conditions: Conditions,
) {
    let shutdown = state.shutdown.clone();
    conditions.store.set_waiting("the log is being read");
    conditions.objects.set_waiting("the store is not open yet");
    let Some(store) = open_store(&config, &bus, &shutdown, &conditions.store).await else { return };
    let registry = Registry::new(store.clone(), Table::builtin(), Schemas::builtin(), Entropy::from_os());
    let registry = Arc::new(registry.with_tokens(tokens));
    state.open(Arc::clone(&registry));
    conditions.store.set_ready();
    let advertised = endpoints::advertised(address, config.advertise_address);
    if advertised.is_none() {
        info!("only this machine reaches {address}: pods get no endpoint of the service kubernetes");
    }
    let place = Place { port: address.port(), advertised };
    tokio::join!(
        follow_health(&store, &conditions.store, &shutdown),
        serve(&registry, &bus, place, &conditions.objects, &shutdown),
        outside.serve(&registry, &bus, &shutdown),
    );
    if let Some(address) = advertised {
        let left =
            tokio::time::timeout(endpoints::LEAVE_PATIENCE, endpoints::leave(&registry, address)).await;
        if !matches!(left, Ok(Ok(()))) {
            warn!("{address} is still named by the service kubernetes");
        }
    }
}

/// Makes the first objects, then serves commands and leadership; and the nodes and the definitions of custom kinds from
/// the beginning. Everything of an API server but HTTPS, until `shutdown`.
pub async fn serve(
    registry: &Arc<Registry>,
    bus: &Bus,
    place: Place,
    objects: &Condition,
    shutdown: &Shutdown,
) {
    tokio::join!(
        async {
            begin(registry, place.port, place.advertised, objects, shutdown).await;
            // Whoever sends them may do nothing before there are roles.
            tokio::join!(serve_commands(registry, bus, shutdown), serve_leaders(registry, bus, shutdown),);
        },
        serve_nodes(registry, bus, shutdown),
        definitions::run(Arc::clone(registry), shutdown.clone()),
    );
}

/// Commands of services.
async fn serve_commands(registry: &Arc<Registry>, bus: &Bus, shutdown: &Shutdown) {
    if let Err(error) = commands::serve(Arc::clone(registry), bus.clone(), shutdown.clone()).await {
        error!("commands are no longer served: {error}");
    }
}

/// Who leads.
async fn serve_leaders(registry: &Arc<Registry>, bus: &Bus, shutdown: &Shutdown) {
    if let Err(error) = leadership::serve(Arc::clone(registry), bus.clone(), shutdown.clone()).await {
        error!("leadership is no longer served: {error}");
    }
}

/// The agents' gateway.
async fn serve_nodes(registry: &Arc<Registry>, bus: &Bus, shutdown: &Shutdown) {
    let (reports, tokens) = (
        report::serve(Arc::clone(registry), bus.clone(), shutdown.clone()),
        tokens::serve(Arc::clone(registry), bus.clone(), shutdown.clone()),
    );
    let gateway = Gateway::new(Arc::clone(registry), bus.clone()).run(shutdown.clone());
    let (reports, tokens, gateway) = tokio::join!(reports, tokens, gateway);
    for (name, ended) in [("reports", reports), ("tokens", tokens), ("gateway", gateway)] {
        if let Err(error) = ended {
            error!("{name} are no longer served: {error}");
        }
    }
}

/// Makes what a cluster has from the beginning, trying until it is there.
async fn begin(
    registry: &Registry,
    port: u16,
    advertised: Option<SocketAddr>,
    ready: &Condition,
    shutdown: &Shutdown,
) {
    let begun = Instant::now();
    while let Err(why) = first_objects(registry, port, advertised).await {
        warn!("the first objects cannot be made yet: {why}");
        ready.set_waiting(why.message);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    info!(took = ?begun.elapsed(), "the first objects are there");
    ready.set_ready();
}

/// Makes what a cluster has from the beginning, and names this server among those behind the service `kubernetes`.
pub async fn first_objects(
    registry: &Registry,
    port: u16,
    advertised: Option<SocketAddr>,
) -> Result<(), Status> {
    let context = verbs::Context { now: Timestamp::now(), ..verbs::Context::default() };
    bootstrap::ensure(registry, &context, port).await?;
    match advertised {
        Some(address) => endpoints::join(registry, address).await,
        None => Ok(()),
    }
}

/// The store, as soon as the log can be read.
async fn open_store(config: &Config, bus: &Bus, shutdown: &Shutdown, ready: &Condition) -> Option<Store> {
    loop {
        let why = tokio::select! {
            () = shutdown.cancelled() => return None,
            opened = try_store(config, bus) => match opened {
                Ok(store) => return Some(store),
                Err(why) => why,
            },
        };
        warn!("{why:#}");
        ready.set_waiting(format!("{why:#}"));
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn try_store(config: &Config, bus: &Bus) -> Result<Store> {
    let options = JetStreamOptions { replicas: config.stream_replicas, ..JetStreamOptions::default() };
    let log = JetStream::connect(bus.client(), options).await.context("the log cannot be reached")?;
    Ok(Store::open(log, store::Options { checkpoints: true, ..store::Options::default() }).await?)
}

/// Tells `/readyz` how the store is.
async fn follow_health(store: &Store, ready: &Condition, shutdown: &Shutdown) {
    let mut health = store.health();
    loop {
        match &*health.borrow_and_update() {
            Health::Ready => ready.set_ready(),
            Health::Starting(why) | Health::Disconnected(why) | Health::Stopped(why) => {
                ready.set_waiting(why.clone());
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = health.changed() => if changed.is_err() { return },
        }
    }
}

// === impl Front ===

impl Front {
    /// Makes what is missing of CA, certificate and kubeconfig, and binds the address.
    pub async fn prepare(config: &Config) -> Result<Front> {
        let first = listen(config.bind).await?;
        let address = first.local_addr().context("a bound socket has an address")?;
        let mut listeners = vec![first];
        for address in &config.bind_also {
            listeners.push(listen(*address).await?);
        }
        let config = config.clone();
        // Keys and files: milliseconds, and a lock that another server may hold.
        let (tls, ca) = tokio::task::spawn_blocking(move || certificates(&config, address)).await??;
        Ok(Front { listeners, tls, address, ca })
    }

    /// Serves until the state's shutdown.
    pub async fn serve(self, state: Arc<State>) {
        let each = self
            .listeners
            .into_iter()
            .map(|listener| accept::serve(listener, Arc::clone(&self.tls), Arc::clone(&state)));
        futures::future::join_all(each).await;
    }
}

/// The key that tokens are signed with, made if need be, and the fixed tokens that we were told.
pub async fn prepare_tokens(config: &Config) -> Result<Tokens> {
    let (folder, file) = (config.data_dir.clone(), config.token_auth_file.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let key = SigningKey::prepare(&folder)
            .with_context(|| format!("no key for tokens in {}", folder.display()))?;
        let fixed = file.map_or_else(|| Ok(FixedTokens::default()), |file| FixedTokens::read(&file))?;
        anyhow::Ok(Tokens::new(Issuer::new(&key), fixed))
    });
    prepared.await?
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))
}

fn certificates(config: &Config, address: SocketAddr) -> Result<(Arc<ServerConfig>, String)> {
    let now = SystemTime::now();
    let names = tls::server_names(config.bind, bootstrap::SERVICE_ADDRESS, &names_told(config));
    let (ca, server) = Ca::prepare(&config.data_dir, &names, now)
        .with_context(|| format!("no certificate in {}", config.data_dir.display()))?;
    if let Some(path) = &config.kubeconfig {
        let server = config.kubeconfig_server.clone().unwrap_or_else(|| server_url(address));
        kubeconfig::ensure(path, &server, &ca, now)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((tls::server_config(&ca.certificate, &server)?, ca.certificate))
}

/// The names that the certificate is to have besides the usual ones.
fn names_told(config: &Config) -> Vec<String> {
    let advertised = config.advertise_address.into_iter();
    let further =
        advertised.chain(config.bind_also.iter().map(SocketAddr::ip)).filter(|ip| !ip.is_unspecified());
    config.tls_sans.iter().cloned().chain(further.map(|ip| ip.to_string())).collect()
}

/// How machines outside reach the server: as they were told, or as far as we know.
fn told_server(config: &Config, address: SocketAddr) -> String {
    let advertised =
        config.advertise_address.map(|ip| format!("https://{}", SocketAddr::new(ip, address.port())));
    config.kubeconfig_server.clone().or(advertised).unwrap_or_else(|| server_url(address))
}

/// How this machine reaches the server.
fn server_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    };
    format!("https://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_names_an_address_that_can_be_reached() {
        let url = |address: &str| server_url(address.parse().unwrap());
        assert_eq!(url("0.0.0.0:6443"), "https://127.0.0.1:6443");
        assert_eq!(url("192.0.2.1:443"), "https://192.0.2.1:443");
        assert_eq!(url("[::]:6443"), "https://[::1]:6443");
    }
}
