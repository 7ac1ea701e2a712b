//! Somebody with a Deployment: made, scaled, rolled, undone, deleted and made again.

use std::time::Duration;

use apiserver::verbs::Propagation;
use rand::Rng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::pod_spec;
use crate::user::{DEPLOYMENT, Outcome, User};

const BETWEEN: Duration = Duration::from_secs(20);

/// Works until `over`.
pub async fn work(mut user: User, name: String, over: CancellationToken) {
    let mut versions = vec![1];
    user.pause(Duration::from_secs(5)).await;
    make(&mut user, &name).await;
    while !over.is_cancelled() {
        user.pause(BETWEEN).await;
        match user.random.random_range(0..10) {
            0..4 => {
                let replicas = user.random.random_range(0..8);
                user.patch(DEPLOYMENT, "default", &name, json!({"spec": {"replicas": replicas}})).await;
            }
            4..7 => {
                versions.push(versions.len() as u64 + 1);
                roll(&mut user, &name, versions.len() as u64).await;
            }
            7 => {
                let back = versions[user.random.random_range(0..versions.len())];
                roll(&mut user, &name, back).await;
            }
            8 => {
                let paused = user.random.random_bool(0.5);
                user.patch(DEPLOYMENT, "default", &name, json!({"spec": {"paused": paused}})).await;
            }
            _ => {
                let how = [Propagation::Background, Propagation::Foreground][user.random.random_range(0..2)];
                user.delete(DEPLOYMENT, "default", &name, Some(how)).await;
                make(&mut user, &name).await;
            }
        }
    }
    // What is paused never gets there.
    while let Outcome::Unknown =
        user.patch(DEPLOYMENT, "default", &name, json!({"spec": {"paused": false}})).await
    {}
}

async fn roll(user: &mut User, name: &str, version: u64) {
    let template = json!({"metadata": {"annotations": {"version": version.to_string()}}});
    user.patch(DEPLOYMENT, "default", name, json!({"spec": {"template": template}})).await;
}

/// Until somebody says that it is there.
async fn make(user: &mut User, name: &str) {
    let object = object(user, name);
    loop {
        match user.create(DEPLOYMENT, "default", object.clone()).await {
            Outcome::Done(_) => return,
            // It is there, or the one before is on its way out.
            Outcome::Refused(_) => match user.get(DEPLOYMENT, "default", name).await {
                Outcome::Done(there) if there["metadata"]["deletionTimestamp"].is_null() => return,
                _ => user.pause(Duration::from_secs(2)).await,
            },
            Outcome::Unknown => user.pause(Duration::from_secs(1)).await,
        }
    }
}

fn object(user: &mut User, name: &str) -> Value {
    let random = &mut user.random;
    let share = |percent: bool, number: u32| match percent {
        true => json!(format!("{}%", number * 25)),
        false => json!(number),
    };
    let strategy = match random.random_range(0..5) {
        0 => json!({"type": "Recreate"}),
        _ => {
            let surge = share(random.random_bool(0.5), random.random_range(0..3));
            let unavailable = share(random.random_bool(0.5), random.random_range(1..3));
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
        }
    };
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": random.random_range(1..7),
            "selector": {"matchLabels": {"app": name}},
            "strategy": strategy,
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"version": "1"}},
                "spec": pod_spec(random, None),
            },
        },
    })
}
