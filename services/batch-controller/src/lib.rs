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
}

/// Runs the controllers until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("batch-controller")).await?;
    let store = client::open(&bus, &[Class::Pods, Class::Rest], condition, shutdown.clone()).await?;
    let writer = |name: &str| Writer::new(bus.clone(), &format!("system:serviceaccount:kube-system:{name}"));
    tokio::join!(
        client::controller::run(
            job::Jobs::default(),
            store.clone(),
            writer("job-controller"),
            shutdown.clone()
        ),
        client::controller::run(cron::CronJobs::default(), store, writer("cronjob-controller"), shutdown),
    );
    Ok(())
}
