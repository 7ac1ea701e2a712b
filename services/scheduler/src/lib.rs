//! The scheduler: a node for each pod that needs one.
//!
//! ```text
//!  log ──> observe (columns) ──better nodes──> queue (active, backoff, blocked by shape)
//!               │                                 │ next pod
//!               └────────snapshot──────> decide (pure: filter, score) ──proposal──> bind (verify, assume, pack)
//!                                                 │ no node suits                     │ cmd bind
//!                                                 └──> blocked, tell (why)            v
//!                                                                                API servers
//! ```
//! `scheduler` ties these together and awaits nothing; `service` is the loop around it.
//! Absent for now: preemption, pod affinity and spread, volumes, profiles, extenders, and more than one replica. A
//! proposal is already judged again by [`bind::verify`] before it is sent, which is where several will meet.

pub mod bind;
pub mod decide;
pub mod metrics;
pub mod observe;
pub mod queue;
pub mod scheduler;
pub mod service;
pub mod tell;
#[cfg(test)]
mod tests;

use anyhow::Result;
use client::Writer;
use model::Class;
use runtime::{AdminArguments, BusArguments, Readiness, Shutdown};

pub use scheduler::{Options, Scheduler};
pub use service::Service;

/// Command-line arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus
    #[command(flatten)]
    pub bus: BusArguments,
    /// Health and metrics
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Pods with this spec.schedulerName are scheduled
    #[arg(long, default_value = "default-scheduler", value_name = "NAME")]
    pub scheduler_name: String,
    /// Percentage of nodes that are scored for a pod; 0 adapts it to their number
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100), value_name = "PERCENT")]
    pub percentage_of_nodes_to_score: u8,
}

/// Schedules until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("scheduler")).await?;
    let store = client::open(&bus, &[Class::Pods, Class::Nodes], condition, shutdown.clone()).await?;
    let scheduler = Scheduler::new(Options {
        name: config.scheduler_name,
        percentage_of_nodes_to_score: config.percentage_of_nodes_to_score.into(),
        seed: rand::random(),
    });
    Service::new(scheduler, store, Writer::new(bus, "system:kube-scheduler")).run(shutdown).await;
    Ok(())
}
