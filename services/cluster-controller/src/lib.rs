//! What keeps the cluster itself in order, whatever runs on it.
//!
//! ```text
//!  inventory (metadata of everything) ──> collector   owners gone: dependents go
//!                                    └──> namespaces  a namespace that ends takes all in it along
//!  nodes, pods, heartbeats ─────────────> node_lifecycle   silent nodes: Unknown, taints, evictions
//!  namespaces ──────────────────────────> accounts    the default ServiceAccount and the cluster's CA
//!  services, pods ──────────────────────> endpoints   where the pods of each Service are
//!  cluster roles ───────────────────────> aggregation roles that gather their rules from others
//!  nodes ───────────────────────────────> pod_ranges  a range of addresses for each node's pods
//!  secrets ─────────────────────────────> token_cleaner   bootstrap tokens whose time is over
//! ```
//! Each is a [`client::Controller`]: it observes the log, decides purely, and the driver writes.

pub mod accounts;
pub mod aggregation;
pub mod collector;
pub mod endpoints;
pub mod inventory;
pub mod namespaces;
pub mod node_lifecycle;
pub mod pod_ranges;
pub mod token_cleaner;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bus::Bus;
use client::{Campaign, Role, Writer};
use model::Class;
use runtime::{AdminArguments, BusArguments, Condition, Readiness, Shutdown};
use store::Store;

/// Command-line arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus
    #[command(flatten)]
    pub bus: BusArguments,
    /// Health and metrics
    #[command(flatten)]
    pub admin: AdminArguments,
    /// The cluster's CA certificate, published in each namespace as the ConfigMap kube-root-ca.crt
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// How long a node may be silent before it is Unknown, in seconds
    #[arg(long, default_value_t = 40, env = "SAMPAN_NODE_GRACE_SECONDS", value_name = "SECONDS")]
    pub node_grace_seconds: u64,
    /// Range of all pods' addresses, out of which each node gets one; without it nodes say themselves what they have
    #[arg(long, env = "SAMPAN_CLUSTER_CIDR", value_name = "CIDR")]
    pub cluster_cidr: Option<pod_ranges::ClusterRange>,
}

/// Secrets are followed for their owners and namespaces, and as bootstrap tokens.
pub const CLASSES: [Class; 4] = Class::STATE;
/// What they write.
const FENCES: &[Class] = &[Class::Rest, Class::Pods, Class::Nodes, Class::Secrets];

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (condition, leader) = (readiness.condition("store"), readiness.condition("leader"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("cluster-controller")).await?;
    let store = client::open(&bus, &CLASSES, condition, shutdown.clone()).await?;
    control(&config, bus, store, leader, shutdown).await
}

/// Runs the controllers on a bus and a store of [`CLASSES`] until `shutdown`. Of several
/// replicas one acts; `ready` is met while one is known to.
pub async fn control(
    config: &Config,
    bus: Bus,
    store: Store,
    ready: Condition,
    shutdown: Shutdown,
) -> Result<()> {
    let campaign = Campaign::start(&bus, Role::of_controllers("cluster-controller", FENCES), ready).await?;
    let writer = |name: &str| {
        let user = format!("system:serviceaccount:kube-system:{name}");
        Writer::new(bus.clone(), &user).led_by(campaign.leadership())
    };

    let heartbeats = node_lifecycle::heartbeats::listen(&bus, shutdown.clone()).await?;
    let grace = std::time::Duration::from_secs(config.node_grace_seconds);
    let nodes = node_lifecycle::NodeLifecycle::new(heartbeats, grace);
    let accounts = match &config.ca_file {
        Some(path) => accounts::Accounts::new(Some(read_when_there(path, &shutdown).await?)),
        None => accounts::Accounts::new(None),
    };
    let ranges = config.cluster_cidr.map(pod_ranges::PodRanges::new);
    let giving = async |ranges: pod_ranges::PodRanges| {
        client::controller::run(ranges, store.clone(), writer("node-controller"), shutdown.clone()).await;
    };
    tokio::join!(
        futures::future::OptionFuture::from(ranges.map(giving)),
        client::controller::run(
            collector::Collector::default(),
            store.clone(),
            writer("generic-garbage-collector"),
            shutdown.clone()
        ),
        client::controller::run(nodes, store.clone(), writer("node-controller"), shutdown.clone()),
        client::controller::run(
            accounts,
            store.clone(),
            writer("service-account-controller"),
            shutdown.clone()
        ),
        client::controller::run(
            aggregation::Aggregation::default(),
            store.clone(),
            writer("clusterrole-aggregation-controller"),
            shutdown.clone()
        ),
        client::controller::run(
            token_cleaner::TokenCleaner::default(),
            store.clone(),
            writer("token-cleaner"),
            shutdown.clone()
        ),
        client::controller::run(
            endpoints::Endpoints::default(),
            store.clone(),
            writer("endpointslice-controller"),
            shutdown.clone()
        ),
    );
    campaign.resign().await;
    Ok(())
}

/// The API server makes the CA at its first start, which may be just now.
async fn read_when_there(path: &std::path::Path, shutdown: &Shutdown) -> Result<String> {
    const POLL: std::time::Duration = std::time::Duration::from_millis(100);
    loop {
        match tokio::fs::read_to_string(path).await {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => return Ok(String::new()),
            },
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}
