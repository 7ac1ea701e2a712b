//! The scheduler: a node for each pod that needs one.
//!
//! ```text
//!  log ──> observe (columns) ──better nodes──> queue (active, backoff, blocked by shape)
//!               │                                 │ next pod
//!               └────────snapshot──────> decide (pure: filter, score) ──proposal──> bind (verify, assume, pack)
//!                                                 │ no node suits                     │ cmd bind, or
//!                                                 └──> blocked, tell (why)            v sched.propose
//!                                                              API servers, or the replica that binds
//! ```
//! `scheduler` ties these together and awaits nothing; `service` is the loop around it. Several replicas divide the pods
//! among them (`replicas`) and decide at the same time; one of them binds, and judges what the others propose on the
//! chosen node, by the newest state and what is on its way.
//! Absent for now: preemption, pod affinity and spread, profiles, extenders.

pub mod bind;
pub mod decide;
pub mod metrics;
pub mod observe;
pub mod queue;
pub mod replicas;
pub mod scheduler;
pub mod service;
pub mod tell;
#[cfg(test)]
mod tests;
pub mod traces;

use anyhow::Result;
use bus::Bus;
use client::{Campaign, Role, Writer};
use model::Class;
use runtime::{AdminArguments, BusArguments, Condition, Readiness, Shutdown};
use store::Store;

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

/// What a scheduler follows.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Nodes, Class::Rest];
/// The role of the replica that binds: its fence guards pods.
const BINDER: &str = "binder";
const FENCES: &[Class] = &[Class::Pods];

/// Schedules until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let (condition, binder) = (readiness.condition("store"), readiness.condition("binder"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("scheduler")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    let options = Options {
        name: config.scheduler_name,
        percentage_of_nodes_to_score: config.percentage_of_nodes_to_score.into(),
        seed: rand::random(),
    };
    schedule(options, bus, store, binder, shutdown).await
}

/// Schedules on a bus and a store of [`CLASSES`] until `shutdown`. Of several replicas one binds; `ready` is met while
/// one is known to.
pub async fn schedule(
    options: Options,
    bus: Bus,
    store: Store,
    ready: Condition,
    shutdown: Shutdown,
) -> Result<()> {
    const USER: &str = "system:kube-scheduler";
    // Schedulers of all names propose to the same binder, so that no node is given twice; each name's pods are divided
    // among the replicas of that name.
    let role = Role { name: BINDER, user: USER, classes: FENCES, group: options.name.clone() };
    let campaign = Campaign::start(&bus, role, ready).await?;
    let writer = Writer::new(bus.clone(), USER);
    let service = Service::new(Scheduler::new(options), store, bus, writer, &campaign).await?;
    service.run(shutdown).await;
    campaign.resign().await;
    Ok(())
}
