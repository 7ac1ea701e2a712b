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
use bus::Bus;
use client::{Campaign, Role, Writer};
use model::Class;
use runtime::{AdminArguments, BusArguments, Condition, Readiness, Shutdown};
use store::Store;

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

/// What the controllers follow.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Nodes, Class::Rest];
/// What they write.
const FENCES: &[Class] = &[Class::Rest, Class::Pods];

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (condition, leader) = (readiness.condition("store"), readiness.condition("leader"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("replica-controller")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    control(bus, store, leader, shutdown).await
}

/// Runs the controllers on a bus and a store of [`CLASSES`] until `shutdown`. Of several
/// replicas one acts; `ready` is met while one is known to.
pub async fn control(bus: Bus, store: Store, ready: Condition, shutdown: Shutdown) -> Result<()> {
    let campaign = Campaign::start(&bus, Role::of_controllers("replica-controller", FENCES), ready).await?;
    let writer = |name: &str| {
        let user = format!("system:serviceaccount:kube-system:{name}");
        Writer::new(bus.clone(), &user).led_by(campaign.leadership())
    };
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
    campaign.resign().await;
    Ok(())
}
