//! Somebody with a StatefulSet: made, scaled, rolled up to a partition, deleted and made again.

use std::time::Duration;

use apiserver::verbs::Propagation;
use rand::Rng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::pod_spec;
use crate::user::{Outcome, STATEFUL_SET, User};

const BETWEEN: Duration = Duration::from_secs(25);

/// Works until `over`.
pub async fn work(mut user: User, name: String, over: CancellationToken) {
    let mut version = 1;
    user.pause(Duration::from_secs(5)).await;
    make(&mut user, &name).await;
    while !over.is_cancelled() {
        user.pause(BETWEEN).await;
        let change = match user.random.random_range(0..8) {
            0..3 => json!({"spec": {"replicas": user.random.random_range(0..5)}}),
            3..6 => {
                version += 1;
                let annotations = json!({"version": version.to_string()});
                json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})
            }
            6 => {
                let partition = user.random.random_range(0..3);
                json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}})
            }
            _ => {
                let how = [Propagation::Background, Propagation::Foreground][user.random.random_range(0..2)];
                user.delete(STATEFUL_SET, "default", &name, Some(how)).await;
                make(&mut user, &name).await;
                continue;
            }
        };
        user.patch(STATEFUL_SET, "default", &name, change).await;
    }
}

/// Until somebody says that it is there.
async fn make(user: &mut User, name: &str) {
    let object = object(user, name);
    loop {
        match user.create(STATEFUL_SET, "default", object.clone()).await {
            Outcome::Done(_) => return,
            Outcome::Refused(_) => match user.get(STATEFUL_SET, "default", name).await {
                Outcome::Done(there) if there["metadata"]["deletionTimestamp"].is_null() => return,
                _ => user.pause(Duration::from_secs(2)).await,
            },
            Outcome::Unknown => user.pause(Duration::from_secs(1)).await,
        }
    }
}

fn object(user: &mut User, name: &str) -> Value {
    let random = &mut user.random;
    let mut spec = pod_spec(random, None);
    // Without a grace period the object goes before the container, and the promise of one identity with it.
    spec["terminationGracePeriodSeconds"] = json!(random.random_range(1..5));
    let policy = if random.random_bool(0.3) { "Parallel" } else { "OrderedReady" };
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": random.random_range(1..5),
            "serviceName": name,
            "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"version": "1"}},
                "spec": spec,
            },
        },
    })
}
