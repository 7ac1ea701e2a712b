//! The cluster's name server.
//!
//! ```text
//!  log ── Services, EndpointSlices, Namespaces ──> zone (pure: names and what they say)
//!                                                    │ read
//!  pods ── UDP, TCP ──> handler ──> answer ──────────┤
//!                                                    └─ names of others ──> upstream ──> the machine's name servers
//!  announce ── Service kube-dns and its endpoints ──> API server
//!  replicas ── signs of life on the bus, so that a dead one is taken out of them
//! ```
//! It follows the log like every service, so a name is right as soon as the Service is. Absent on purpose: a cache.
//! The zone is in memory, and what upstream says is remembered by upstream.

pub mod announce;
pub mod answer;
pub mod handler;
pub mod replicas;
pub mod upstream;
pub mod zone;

mod metrics;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Follower, Observed, Writer};
use hickory_server::Server;
use model::Class;
use runtime::{AdminArguments, BusArguments, Condition, Readiness, Shutdown};
use store::Store;
use tokio::net::{TcpListener, UdpSocket};
use tracing::{info, warn};

use announce::Announcer;
use handler::Handler;
use upstream::{Servers, Upstream};
use zone::Zone;

/// A client over TCP that asks nothing for so long is let go.
const TCP_PATIENCE: Duration = Duration::from_secs(10);
/// Answers that wait for a slow client over TCP.
const TCP_ANSWERS: usize = 32;
/// Taking itself out must not hold the end of a server whose bus is gone.
const LEAVE_PATIENCE: Duration = Duration::from_millis(500);

/// Command-line arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus
    #[command(flatten)]
    pub bus: BusArguments,
    /// Health and metrics
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Address to answer at, over UDP and TCP
    #[arg(long, env = "SAMPAN_DNS_BIND", default_value = "0.0.0.0:53", value_name = "ADDRESS")]
    pub bind: SocketAddr,
    /// The address at which pods reach this server; by default the bound one, or this machine's own when all are
    /// bound
    #[arg(long, env = "SAMPAN_DNS_ADVERTISE_ADDRESS", value_name = "IP")]
    pub advertise_address: Option<Ipv4Addr>,
    /// The address of the Service kube-dns, as node agents tell it to pods
    #[arg(long, default_value = "10.96.0.10", value_name = "IP")]
    pub cluster_ip: Ipv4Addr,
    /// Domain of the cluster's services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Name servers for names outside of the cluster, instead of those in /etc/resolv.conf
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS:PORT")]
    pub upstream: Vec<SocketAddr>,
}

/// Answers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (stored, complete) = (readiness.condition("store"), readiness.condition("zone"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let (udp, tcp) = bind(config.bind).await?;
    let bound = udp.local_addr().context("a bound socket has an address")?;
    let advertised = advertised(&config, bound)?;
    info!(%bound, %advertised, "names are answered");

    let handler =
        Handler::new(Zone::new(&config.cluster_domain), Upstream::new(servers(&config, advertised)));
    let mut server = Server::new(handler.clone());
    server.register_socket(udp);
    server.register_listener(tcp, TCP_PATIENCE, TCP_ANSWERS);

    let bus = bus::Bus::connect(&config.bus.config("dns")).await?;
    let store = client::open(&bus, &[Class::Rest], stored, shutdown.clone()).await?;
    let replicas = replicas::listen(&bus, advertised, shutdown.clone()).await?;
    let writer = Writer::new(bus, "system:serviceaccount:kube-system:kube-dns");
    let announcer = Announcer::new(config.cluster_ip, advertised, replicas);
    tokio::select! {
        () = follow(&handler, store.clone(), &complete) => {}
        () = client::controller::run(announcer, store, writer.clone(), shutdown.clone()) => {}
        ended = server.block_until_done() => ended.context("the server ended")?,
        // A write that is under way may be answered yet, but not where the bus is gone as well.
        () = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LEAVE_PATIENCE).await;
        } => {}
    }
    let farewell = writer.one(Announcer::farewell(advertised));
    if !matches!(tokio::time::timeout(LEAVE_PATIENCE, farewell).await, Ok(Ok(_))) {
        warn!("{advertised} is still named by the service kube-dns");
    }
    server.shutdown_gracefully().await.context("the server did not end well")
}

/// The same port for both protocols, also when any will do.
async fn bind(address: SocketAddr) -> Result<(UdpSocket, TcpListener)> {
    let cannot = || format!("cannot listen at {address}");
    let tcp = TcpListener::bind(address).await.with_context(cannot)?;
    let bound = tcp.local_addr().with_context(cannot)?;
    let udp = UdpSocket::bind(bound).await.with_context(cannot)?;
    Ok((udp, tcp))
}

/// Where pods reach this server.
fn advertised(config: &Config, bound: SocketAddr) -> Result<SocketAddrV4> {
    let ip = match (config.advertise_address, bound.ip()) {
        (Some(told), _) => told,
        (None, IpAddr::V4(ip)) if !ip.is_unspecified() => ip,
        (None, ip) if ip.is_unspecified() => own_address().context("this machine has no address for pods")?,
        (None, ip) => bail!("pods have IPv4 addresses and do not reach {ip}: say --advertise-address"),
    };
    Ok(SocketAddrV4::new(ip, bound.port()))
}

/// The address that this machine speaks from.
fn own_address() -> Option<Ipv4Addr> {
    /// Only a name: no packet is sent to it. Documentation addresses are routed like any other.
    const SOMEWHERE: &str = "192.0.2.1:9";
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(SOMEWHERE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() && !ip.is_loopback() => Some(ip),
        _ => None,
    }
}

fn servers(config: &Config, advertised: SocketAddrV4) -> Servers {
    if !config.upstream.is_empty() {
        return Servers::Fixed(config.upstream.clone());
    }
    let ourselves = vec![config.cluster_ip.into(), (*advertised.ip()).into()];
    Servers::File { path: PathBuf::from("/etc/resolv.conf"), ourselves }
}

/// Keeps the zone as the log says. Never ends.
async fn follow(handler: &Handler, store: Store, complete: &Condition) {
    let mut follower = Follower::new(store, &zone::COLLECTIONS);
    complete.set_waiting("the log is being read");
    loop {
        let told = follower.next().await;
        if told.is_empty() {
            continue;
        }
        // All at once: who asks meanwhile never sees a half of a state that is told again.
        let mut zone = handler.zone().write();
        told.iter().for_each(|observed| zone.apply(observed));
        drop(zone);
        if told.iter().any(|observed| matches!(observed, Observed::Synced)) {
            handler.set_complete();
            complete.set_ready();
            info!("the names are complete");
        }
    }
}
