//! Somebody with Jobs, of which some fail for good and some are deleted before they are done.

use std::time::Duration;

use apiserver::verbs::Propagation;
use rand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::pod_spec;
use crate::user::{JOB, Outcome, User};

const BETWEEN: Duration = Duration::from_secs(20);

/// Works until `over`.
pub async fn work(mut user: User, name: String, over: CancellationToken) {
    let mut made = 0;
    while !over.is_cancelled() {
        user.pause(BETWEEN).await;
        if made > 0 && user.random.random_bool(0.25) {
            let victim = format!("{name}-{}", user.random.random_range(0..made));
            user.delete(JOB, "default", &victim, Some(Propagation::Background)).await;
            continue;
        }
        let code = i32::from(user.random.random_bool(0.2));
        let millis = user.random.random_range(0..8_000);
        let job = json!({
            "metadata": {"name": format!("{name}-{made}"), "namespace": "default"},
            "spec": {
                "completions": user.random.random_range(1..5),
                "parallelism": user.random.random_range(1..4),
                "backoffLimit": 2,
                "template": {"spec": pod_spec(&mut user.random, Some((millis, code)))},
            },
        });
        if let Outcome::Done(_) = user.create(JOB, "default", job).await {
            made += 1;
        }
    }
}
