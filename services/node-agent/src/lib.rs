//! The agent of a node.

pub mod decide;
pub mod observe;
pub mod pods;
pub mod probes;
pub mod settings;
pub mod spec;
pub mod streams;

mod arguments;

pub use arguments::Config;

/// Runs the agent until `shutdown`.
pub async fn run(config: Config, shutdown: runtime::Shutdown) -> anyhow::Result<()> {
    tracing::info!(?config.data_dir, "starting");
    shutdown.cancelled().await;
    Ok(())
}
