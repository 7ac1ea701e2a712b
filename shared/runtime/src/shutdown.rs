//! Ending on request.

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Cancelled when the service is to end. Child tokens end with it.
pub type Shutdown = tokio_util::sync::CancellationToken;

/// A token that the first SIGTERM or SIGINT cancels; a second one ends the process at once.
pub fn on_signal() -> Shutdown {
    let shutdown = Shutdown::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            warn!("cannot listen for signals");
            return;
        };
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                warn!("second signal, ending at once");
                std::process::exit(130);
            }
            info!("ending");
            token.cancel();
        }
    });
    shutdown
}
