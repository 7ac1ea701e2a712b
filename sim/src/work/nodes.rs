//! Somebody who cordons nodes and forgets some of them.

use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::seat::Seat;
use crate::user::{NODE, Outcome, User};

const BETWEEN: Duration = Duration::from_secs(20);

/// Works until `over`; then every node may be used again.
pub async fn work(mut user: User, over: CancellationToken) {
    while !over.is_cancelled() {
        user.pause(BETWEEN).await;
        let Some(node) = choose(&mut user) else { continue };
        let cordons = user.random.random_bool(0.5);
        user.patch(NODE, "", &node, json!({"spec": {"unschedulable": cordons}})).await;
    }
    for node in nodes(&user) {
        while let Outcome::Unknown =
            user.patch(NODE, "", &node, json!({"spec": {"unschedulable": false}})).await
        {}
    }
}

fn choose(user: &mut User) -> Option<String> {
    let nodes = nodes(user);
    let index = user.random.random_range(0..nodes.len().max(1));
    nodes.into_iter().nth(index)
}

fn nodes(user: &User) -> Vec<String> {
    let agents = user.world.seats().into_iter().filter(|seat| matches!(seat, Seat::Agent(_)));
    agents.map(Seat::node).collect()
}
