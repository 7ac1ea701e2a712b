//! That the node lives, and how it is.

use std::time::Duration;

use bus::node::{HEARTBEAT_SECONDS, Heartbeat};
use bus::{Bus, subject};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::object::{Condition, Identity, differs, node};
use crate::act::Runtime;
use crate::report::Outbox;
use runtime::Shutdown;

/// How often the machine is looked at; a runtime that goes away is noticed by the lists much earlier.
const LOOK: Duration = Duration::from_secs(10);
/// While something is amiss: a node that has just begun waits for its pods' network, and its pods for it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The whole object is sent this often although nothing has changed, should somebody have changed it.
const REPORT_AT_LEAST: SignedDuration = SignedDuration::from_secs(300);

/// Says that the node lives, until `shutdown`, and at once when it has attached. Never stored, so that it costs next to
/// nothing.
pub async fn beat(bus: Bus, node: String, mut session: watch::Receiver<String>, shutdown: Shutdown) {
    let subject = subject::heartbeat(&node);
    let mut clock = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            changed = session.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        let beat = Heartbeat {
            node: node.clone(),
            time_ms: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0),
            session: session.borrow_and_update().clone(),
        };
        if let Err(error) = bus.publish(&subject, &beat).await {
            debug!("cannot say that the node lives: {error}");
        }
    }
}

/// Looks at the machine now and then, or at once when the runtime comes or goes (`is_up`), and reports what changed.
/// With each session all of it is reported: who was cut off may have been called silent meanwhile.
pub async fn observe<R: Runtime>(
    runtime: R,
    identity: Identity,
    outbox: Outbox,
    mut is_up: watch::Receiver<bool>,
    mut session: watch::Receiver<String>,
    readiness: runtime::Condition,
    shutdown: Shutdown,
) {
    let mut known = Condition::default();
    let mut reported: Option<(Node, Timestamp)> = None;
    let (mut sessions, mut is_due) = (0_u64, true);
    loop {
        look(&runtime, &mut known).await;
        match &known.problem {
            None => readiness.set_ready(),
            Some(why) => readiness.set_waiting(why.clone()),
        }
        let now = Timestamp::now();
        let before = reported.as_ref().map(|(node, _)| node);
        let conditions = before.and_then(|node| node.status.as_ref()?.conditions.as_deref());
        let after = node(&identity, &known, conditions.unwrap_or_default(), now);
        is_due |= reported
            .as_ref()
            .is_none_or(|(before, at)| differs(before, &after) || now.duration_since(*at) >= REPORT_AT_LEAST);
        if is_due {
            outbox.node(serde_json::to_vec(&after).expect("a node is plain data").into());
            reported = Some((after, now));
            is_due = false;
        }
        tokio::select! {
            () = tokio::time::sleep(if known.problem.is_some() { LOOK_AGAIN } else { LOOK }) => {}
            changed = is_up.changed() => if changed.is_err() { return },
            changed = session.changed() => {
                if changed.is_err() {
                    return;
                }
                let begins = !session.borrow_and_update().is_empty();
                sessions += u64::from(begins);
                // What was reported before the first one was not overtaken by anything.
                is_due = begins && sessions > 1;
            },
            () = shutdown.cancelled() => return,
        }
    }
}

/// What cannot be asked stays as it was last known.
async fn look<R: Runtime>(runtime: &R, known: &mut Condition) {
    known.facts = steady(runtime.facts(), &known.facts);
    let was = known.problem.take();
    match runtime.health().await {
        Ok(health) => {
            known.runtime_version = health.version;
            known.problem = health.problem;
        }
        Err(error) if error.is_down() => known.problem = Some(error.to_string()),
        Err(error) => known.problem = Some(format!("container runtime is down: {error}")),
    }
    if let Ok(images) = runtime.images().await {
        known.images = images;
    }
    if was != known.problem {
        match &known.problem {
            Some(why) => warn!("the node is not ready: {why}"),
            None => info!("the node is ready"),
        }
    }
}

/// Sizes that jitter, as a disk's, do not count as a change until they move by a thousandth.
fn steady(now: super::facts::Facts, before: &super::facts::Facts) -> super::facts::Facts {
    let near = |now: u64, before: u64| if now.abs_diff(before) <= before / 1000 { before } else { now };
    super::facts::Facts { memory: near(now.memory, before.memory), disk: near(now.disk, before.disk), ..now }
}
