//! What keeps state where it belongs: StatefulSets, whose pods have stable names and are made, updated and removed in
//! order, and the volumes that their data lies in.
//!
//! ```text
//!  log ──> observe (sets, their pods and revisions) ──> decide (pure) ──> writes by bus command
//!                                                         ├ revision.rs  which template is current, which is new
//!                                                         ├ pods.rs      a set's pod
//!                                                         ├ claims.rs    its claims, and how long they stay
//!                                                         └ status.rs    what the set shows
//!  log ──> volumes (claims, volumes, classes) ──> decide (pure) ──> writes by bus command
//! ```

pub mod claims;
pub mod decide;
pub mod observe;
pub mod pods;
pub mod revision;
pub mod status;
pub mod volumes;

use anyhow::Result;
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
}

/// What the controller follows.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Nodes, Class::Rest];
/// What it writes.
const FENCES: &[Class] = &[Class::Rest, Class::Pods];

/// Runs the controller until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (condition, leader) = (readiness.condition("store"), readiness.condition("leader"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("stateful-controller")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    control(bus, store, leader, shutdown).await
}

/// Runs the controller on a bus and a store of [`CLASSES`] until `shutdown`. Of several
/// replicas one acts; `ready` is met while one is known to.
pub async fn control(bus: Bus, store: Store, ready: Condition, shutdown: Shutdown) -> Result<()> {
    let campaign = Campaign::start(&bus, Role::of_controllers("stateful-controller", FENCES), ready).await?;
    let writer = |name: &str| {
        let user = format!("system:serviceaccount:kube-system:{name}");
        Writer::new(bus.clone(), &user).led_by(campaign.leadership())
    };
    let (sets, binder) = (writer("statefulset-controller"), writer("persistent-volume-binder"));
    tokio::join!(
        client::controller::run(observe::StatefulSets::default(), store.clone(), sets, shutdown.clone()),
        client::controller::run(volumes::Volumes::default(), store, binder, shutdown),
    );
    campaign.resign().await;
    Ok(())
}
