//! People who count in one ConfigMap: each reads it, adds one, and writes it back if nobody was quicker.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::user::{CONFIG_MAP, Outcome, User, revision_of};

/// The ConfigMap that they count in.
const NAME: &str = "counter";

/// Counts until `over`.
pub async fn work(mut user: User, over: CancellationToken) {
    let mut known = None;
    while !over.is_cancelled() {
        user.pause(Duration::from_secs(3)).await;
        match user.get(CONFIG_MAP, "default", NAME).await {
            Outcome::Done(there) => {
                let seen = revision_of(&there);
                if seen < known {
                    let world = &user.world;
                    world.found(format!("a read gave {seen:?} of the counter after {known:?} was there"));
                }
                let count: u64 =
                    there["data"]["count"].as_str().unwrap_or_default().parse().unwrap_or_default();
                let mut next = there;
                next["data"]["count"] = json!((count + 1).to_string());
                if let Outcome::Done(written) = user.update(CONFIG_MAP, "default", next).await {
                    known = known.max(revision_of(&written));
                }
            }
            Outcome::Refused(_) if known.is_some() => {
                user.world.found("the counter was there, and a read does not find it".to_owned());
            }
            Outcome::Refused(_) => {
                let counter =
                    json!({"metadata": {"name": NAME, "namespace": "default"}, "data": {"count": "0"}});
                if let Outcome::Done(made) = user.create(CONFIG_MAP, "default", counter).await {
                    known = revision_of(&made);
                }
            }
            Outcome::Unknown => {}
        }
    }
}
