//! Telling: one report at a time, again until it is taken.

use std::time::Duration;

use bus::node::ReportReply;
use bus::{Bus, subject};
use model::Reason;
use tracing::{debug, warn};

use super::Outbox;
use runtime::Shutdown;

/// A commit takes milliseconds; when the store is away the API server says so by itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between attempts, doubled up to the longest: a restarting API server is back in a second.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// Tells what the outbox holds until `shutdown`. `registered` is met once a report with the node was taken.
pub async fn send(
    bus: Bus,
    node: String,
    outbox: Outbox,
    registered: runtime::Condition,
    shutdown: Shutdown,
) {
    let subject = subject::report(&node);
    let mut pause = PAUSE_FIRST;
    loop {
        tokio::select! {
            () = filled(&bus, &outbox) => {}
            () = shutdown.cancelled() => return,
        }
        let report = outbox.take();
        let has_node = report.node.is_some();
        let reply = bus.request::<_, ReportReply>(&subject, &report, PATIENCE).await;
        let refused = match reply {
            Ok(ReportReply { refused: Some(status), .. })
                if status.reason == Reason::RequestEntityTooLarge =>
            {
                // It will be no smaller the next time.
                warn!("a report is dropped: {status}");
                continue;
            }
            Ok(ReportReply { refused: Some(status), .. }) => {
                outbox.put_back(report);
                Some(status.to_string())
            }
            Ok(reply) => {
                if has_node && reply.node.is_none() {
                    registered.set_ready();
                }
                let refused = reply.node.iter().chain(reply.pods.iter().map(|(_, status)| status)).next();
                let refused = refused.map(ToString::to_string);
                outbox.settle(report, reply);
                refused
            }
            Err(error) => {
                outbox.put_back(report);
                Some(error.to_string())
            }
        };
        match refused {
            None => pause = PAUSE_FIRST,
            Some(why) => {
                debug!("a report was not taken: {why}");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shutdown.cancelled() => return,
                }
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
        }
    }
}

/// Waits until there is something to tell, and somebody to hear it: what is said into a connection that is not there is
/// kept, and heard later than what is newer.
async fn filled(bus: &Bus, outbox: &Outbox) {
    outbox.filled().await;
    while !bus.is_connected() {
        tokio::time::sleep(PAUSE_FIRST).await;
    }
}
