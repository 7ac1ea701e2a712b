//! What users want of the cluster. Each of these is somebody with a plan of their own, who acts now and then until the
//! busy part of the run is over, and leaves the cluster with something to get right.

pub mod counters;
pub mod deployments;
pub mod jobs;
pub mod nodes;
pub mod sets;
pub mod spaces;

use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::machine::RUN_FOR;
use crate::user::User;
use crate::world::World;

/// Sends everybody to work until `over`.
pub fn start(world: &Arc<World>, over: &CancellationToken) -> JoinSet<()> {
    let mut random = world.chance("work");
    let mut people = JoinSet::new();
    let mut send = |name: String, work: Work| {
        let (user, over) = (User::new(world, &name), over.clone());
        match work {
            Work::Deployment => people.spawn(deployments::work(user, name, over)),
            Work::Set => people.spawn(sets::work(user, name, over)),
            Work::Jobs => people.spawn(jobs::work(user, name, over)),
            Work::Count => people.spawn(counters::work(user, over)),
            Work::Space => people.spawn(spaces::work(user, name, over)),
            Work::Nodes => people.spawn(nodes::work(user, over)),
        };
    };
    for (work, name, most) in [
        (Work::Deployment, "web", 3),
        (Work::Set, "db", 2),
        (Work::Jobs, "job", 1),
        (Work::Count, "counter", 3),
        (Work::Space, "space", 1),
        (Work::Nodes, "operator", 1),
    ] {
        for number in 0..random.random_range(0..=most) {
            send(format!("{name}-{number}"), work);
        }
    }
    people
}

#[derive(Clone, Copy)]
enum Work {
    Deployment,
    Set,
    Jobs,
    Count,
    Space,
    Nodes,
}

/// The spec of a pod that takes so many thousandths of a cpu and bears a silent node for a while. With `ends`, its
/// container ends by itself after so many milliseconds with that code.
pub fn pod_spec(random: &mut StdRng, ends: Option<(u32, i32)>) -> Value {
    let cpu = [100, 250, 500, 1000][random.random_range(0..4)];
    let seconds = random.random_range(2..20);
    let tolerates = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let mut spec = json!({
        "containers": [{
            "name": "main", "image": "sim:1",
            "resources": {"requests": {"cpu": format!("{cpu}m"), "memory": "64Mi"}},
        }],
        // Tokens and the CA come from files, which nobody has here.
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": random.random_range(0..5),
        "tolerations": [tolerates("node.kubernetes.io/not-ready"), tolerates("node.kubernetes.io/unreachable")],
    });
    if let Some((millis, code)) = ends {
        spec["containers"][0]["command"] = json!([RUN_FOR, millis.to_string(), code.to_string()]);
        spec["restartPolicy"] = json!("Never");
    }
    spec
}
