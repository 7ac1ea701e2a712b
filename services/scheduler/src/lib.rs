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
//! Extenders (`extend`) are asked between the decision and the proposal, without holding up other pods.
//! Absent for now: preemption, pod affinity and spread, more than one profile.

pub mod bind;
pub mod configuration;
pub mod decide;
pub mod extend;
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

use std::path::PathBuf;

use anyhow::Result;
use bus::Bus;
use client::{Campaign, Role, Writer};
use model::Class;
use runtime::{AdminArguments, BusArguments, Condition, Readiness, Shutdown};
use store::Store;

use configuration::Configuration;
use extend::call::Caller;
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
    /// A KubeSchedulerConfiguration (v1): its extenders, its one profile's name and its percentage of nodes; what it
    /// says goes before the options
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a scheduler follows.
pub const CLASSES: &[Class] = &[Class::Pods, Class::Nodes, Class::Rest];
/// The role of the replica that binds: its fence guards pods.
const BINDER: &str = "binder";
const FENCES: &[Class] = &[Class::Pods];

/// Schedules until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let options = options(&config)?;
    let readiness = Readiness::new();
    let (condition, binder) = (readiness.condition("store"), readiness.condition("binder"));
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config("scheduler")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    schedule(options, bus, store, binder, shutdown).await
}

/// What the file says, else the command line.
fn options(config: &Config) -> Result<Options> {
    let mut file = config.config.as_deref().map(Configuration::read).transpose()?.unwrap_or_default();
    let percentage = file.percentage_of_nodes_to_score.unwrap_or(config.percentage_of_nodes_to_score);
    Ok(Options {
        name: file.scheduler_name.take().unwrap_or_else(|| config.scheduler_name.clone()),
        percentage_of_nodes_to_score: percentage.into(),
        seed: rand::random(),
        extenders: file.take_extenders(),
        left_to_extenders: file.left_to_extenders,
    })
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
    let caller = Caller { extenders: options.extenders.clone(), store: store.clone(), bus: bus.clone() };
    let service = Service::new(Scheduler::new(options), caller, writer, &campaign).await?;
    service.run(shutdown).await;
    campaign.resign().await;
    Ok(())
}
