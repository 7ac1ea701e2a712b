//! Deployments, ReplicaSets and ReplicationControllers: the wanted number of pods, of the wanted template; DaemonSets:
//! one pod on each node that is meant.
//!
//! ```text
//!  log ──> observe ──> deployment/   Deployment × its sets ──> sets to make, scale, delete; status
//!                 ├──> replica_set/  set × its pods ─────────> pods to make, delete, adopt; status
//!                 └──> daemon_set/   set × nodes × its pods ─> pods to make, delete, adopt; history; status
//! ```
//! Each is a [`client::Controller`]: `decide` and what it calls is pure, `act` turns a plan into writes, and the
//! driver sends them. Absent on purpose: expectations. The driver decides a key again only when the log has shown the
//! key's own writes.

pub mod attempts;
pub mod daemon_set;
pub mod deployment;
pub mod observe;
pub mod patch;
pub mod pods;
pub mod replica_set;

use anyhow::Result;
use client::Writer;
use model::Class;
use runtime::{AdminArguments, BusArguments, Readiness, Shutdown};

use daemon_set::DaemonSets;
use deployment::Deployments;
use replica_set::ReplicaSets;

/// Command-line arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus
    #[command(flatten)]
    pub bus: BusArguments,
    /// Health and metrics
    #[command(flatten)]
    pub admin: AdminArguments,
}

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("replica-controller")).await?;
    let store = client::open(&bus, &[Class::Pods, Class::Nodes, Class::Rest], condition, shutdown.clone()).await?;
    let writer = |name: &str| Writer::new(bus.clone(), &format!("system:serviceaccount:kube-system:{name}"));
    tokio::join!(
        client::controller::run(
            Deployments::default(),
            store.clone(),
            writer("deployment-controller"),
            shutdown.clone()
        ),
        client::controller::run(
            ReplicaSets::default(),
            store.clone(),
            writer("replicaset-controller"),
            shutdown.clone()
        ),
        client::controller::run(DaemonSets::default(), store, writer("daemon-set-controller"), shutdown),
    );
    Ok(())
}
