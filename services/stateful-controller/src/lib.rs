//! The controller of StatefulSets: pods with stable names, made, updated and removed in order.
//!
//! ```text
//!  log ──> observe (sets, their pods and revisions) ──> decide (pure) ──> writes by bus command
//!                                                         ├ revision.rs  which template is current, which is new
//!                                                         ├ pods.rs      a set's pod and its claims
//!                                                         └ status.rs    what the set shows
//! ```

pub mod decide;
pub mod observe;
pub mod pods;
pub mod revision;
pub mod status;

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

/// Runs the controller until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("stateful-controller")).await?;
    let store = client::open(&bus, &[Class::Pods, Class::Rest], condition, shutdown.clone()).await?;
    let writer = Writer::new(bus, "system:serviceaccount:kube-system:statefulset-controller");
    client::controller::run(observe::StatefulSets::default(), store, writer, shutdown).await;
    Ok(())
}
