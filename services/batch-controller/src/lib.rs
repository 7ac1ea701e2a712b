//! Jobs and CronJobs: pods that run to their end, once or on a schedule.
//!
//! ```text
//!  log ──> job/   Job × its pods ──> pods to make or delete, ends counted exactly once; status
//!     └──> cron/  CronJob × its jobs ──> the next job when it is due, old ones removed; status
//! ```
//! Both are a [`client::Controller`]. A pod's end is counted in three steps, so that a crash between any two counts it
//! neither twice nor never: its uid is noted in the status, its finalizer is taken off, and only when the log shows
//! it without the finalizer does the uid become a number.

pub mod cron;
pub mod job;
pub mod owned;

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

/// What the controllers follow.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Rest];
/// What they write.
const FENCES: &[Class] = &[Class::Rest, Class::Pods];

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (condition, leader) = (readiness.condition("store"), readiness.condition("leader"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("batch-controller")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    control(bus, store, leader, shutdown).await
}

/// Runs the controllers on a bus and a store of [`CLASSES`] until `shutdown`. Of several
/// replicas one acts; `ready` is met while one is known to.
pub async fn control(bus: Bus, store: Store, ready: Condition, shutdown: Shutdown) -> Result<()> {
    let campaign = Campaign::start(&bus, Role::of_controllers("batch-controller", FENCES), ready).await?;
    let writer = |name: &str| {
        let user = format!("system:serviceaccount:kube-system:{name}");
        Writer::new(bus.clone(), &user).led_by(campaign.leadership())
    };
    tokio::join!(
        client::controller::run(
            job::Jobs::default(),
            store.clone(),
            writer("job-controller"),
            shutdown.clone()
        ),
        client::controller::run(cron::CronJobs::default(), store, writer("cronjob-controller"), shutdown),
    );
    campaign.resign().await;
    Ok(())
}
