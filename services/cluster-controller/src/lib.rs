//! What keeps the cluster itself in order, whatever runs on it.
//!
//! ```text
//!  inventory (metadata of everything) ──> collector   owners gone: dependents go
//!                                    └──> namespaces  a namespace that ends takes all in it along
//!  nodes, pods, heartbeats ─────────────> node_lifecycle   silent nodes: Unknown, taints, evictions
//!  namespaces ──────────────────────────> accounts    the default ServiceAccount and the cluster's CA
//!  services, pods ──────────────────────> endpoints   where the pods of each Service are
//!  cluster roles ───────────────────────> aggregation roles that gather their rules from others
//! ```
//! Each is a [`client::Controller`]: it observes the log, decides purely, and the driver writes.

pub mod accounts;
pub mod aggregation;
pub mod collector;
pub mod endpoints;
pub mod inventory;
pub mod namespaces;
pub mod node_lifecycle;

use std::path::PathBuf;

use anyhow::{Context, Result};
use client::Writer;
use model::Class;
use runtime::{AdminArguments, BusArguments, Readiness, Shutdown};

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
    #[arg(long, default_value_t = 40)]
    pub node_grace_seconds: u64,
}

/// Secrets are followed for their owners and namespaces only; their content is not looked at.
const CLASSES: [Class; 4] = Class::STATE;

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("cluster-controller")).await?;
    let store = client::open(&bus, &CLASSES, condition, shutdown.clone()).await?;
    let writer = |user: &str| Writer::new(bus.clone(), &format!("system:serviceaccount:kube-system:{user}"));

    let heartbeats = node_lifecycle::heartbeats::listen(&bus, shutdown.clone()).await?;
    let grace = std::time::Duration::from_secs(config.node_grace_seconds);
    let nodes = node_lifecycle::NodeLifecycle::new(heartbeats, grace);
    let accounts = match &config.ca_file {
        Some(path) => accounts::Accounts::new(Some(read_when_there(path, &shutdown).await?)),
        None => accounts::Accounts::new(None),
    };
    tokio::join!(
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
            endpoints::Endpoints::default(),
            store,
            writer("endpointslice-controller"),
            shutdown
        ),
    );
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
