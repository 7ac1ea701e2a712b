//! The service as a whole.

use tokio_util::sync::CancellationToken;

use crate::Config;

/// Serves until `shutdown`.
pub async fn run(_config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    shutdown.cancelled().await;
    Ok(())
}
