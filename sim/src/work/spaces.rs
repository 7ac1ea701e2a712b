//! Somebody who makes a namespace, puts something into it, and deletes it all.

use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::pod_spec;
use crate::user::{CONFIG_MAP, DEPLOYMENT, NAMESPACE, User};

const BETWEEN: Duration = Duration::from_secs(15);

/// Works until `over`; the namespace is deleted at the end, or before.
pub async fn work(mut user: User, name: String, over: CancellationToken) {
    while !over.is_cancelled() {
        user.pause(BETWEEN).await;
        user.create(NAMESPACE, "", json!({"metadata": {"name": name}})).await;
        for number in 0..user.random.random_range(0..3) {
            let map = json!({"metadata": {"name": format!("map-{number}"), "namespace": name}});
            user.create(CONFIG_MAP, &name, map).await;
        }
        let labels = json!({"app": "tenant"});
        let deployment = json!({
            "metadata": {"name": "tenant", "namespace": name},
            "spec": {
                "replicas": user.random.random_range(1..3),
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec(&mut user.random, None)},
            },
        });
        user.create(DEPLOYMENT, &name, deployment).await;
        user.pause(BETWEEN).await;
        user.delete(NAMESPACE, "", &name, None).await;
    }
}
