//! The scheduler.

pub mod decide;
pub mod observe;

use anyhow::Result;
use runtime::{AdminArguments, BusArguments, Shutdown};

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

/// Schedules until `shutdown`.
pub async fn run(_config: Config, shutdown: Shutdown) -> Result<()> {
    shutdown.cancelled().await;
    Ok(())
}
