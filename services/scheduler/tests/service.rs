//! The whole service on a real bus and log.

mod api_server;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api_server::put;
use futures::FutureExt;
use model::{Key, Object};
use runtime::{AdminArguments, BusArguments, Shutdown};
use scheduler::Config;
use serde_json::{Value, json};
use store::{Change, Store, WatchEvent};
use testkit::{NatsServer, eventually};
use tokio::runtime::Runtime;

fn config(url: &str) -> Config {
    Config {
        bus: BusArguments { nats_url: url.to_owned(), ..BusArguments::default() },
        admin: AdminArguments { admin_addr: None },
        scheduler_name: "default-scheduler".to_owned(),
        percentage_of_nodes_to_score: 0,
        config: None,
    }
}

fn start_scheduler(url: &str) -> Shutdown {
    let shutdown = Shutdown::new();
    let config = config(url);
    let until = shutdown.clone();
    tokio::spawn(async move { scheduler::run(config, until).await.expect("it runs") });
    shutdown
}

fn node(name: &str, cpu: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str, cpu: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "image": "redis", "resources": {"requests": {"cpu": format!("{cpu}m")}}}],
        },
    })
}

fn get(store: &Store, name: &str) -> Object {
    let item = store.get(&Key::object("", "pods", "default", name)).expect("the pod is there");
    serde_json::from_slice(&item.value).expect("JSON")
}

fn node_of(store: &Store, name: &str) -> Option<String> {
    Some(get(store, name).str_at(&["spec", "nodeName"]).to_owned()).filter(|node| !node.is_empty())
}

async fn bound(store: &Store, name: &str) -> String {
    let what = format!("{name} has a node");
    eventually(&what, || async { node_of(store, name) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_pods_are_bound_at_once_and_many_without_overcommitment() {
    let nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    for index in 0..20 {
        put(&store, "nodes", node(&format!("node-{index}"), 2)).await;
    }
    let shutdown = start_scheduler(&nats.url());
    put(&store, "pods", pod("first", 1)).await;
    bound(&store, "first").await;

    // The watch tells when the pod has its node, so that no poll blurs the time.
    let mut times = Vec::new();
    for index in 0..20 {
        let name = format!("lone-{index}");
        let mut watch = store.watch("core/pods/", store.revision()).expect("a watch");
        let timer = Instant::now();
        put(&store, "pods", pod(&name, 1)).await;
        while node_of(&store, &name).is_none() {
            watch.next().await.expect("the watch goes on");
        }
        times.push(timer.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_millis(100), "far from milliseconds: {times:?}");

    // 380 pods of a tenth of a core each fill what is left of 20 nodes of 2 but for a few places.
    let names: Vec<String> = (0..380).map(|index| format!("many-{index}")).collect();
    futures::future::join_all(names.iter().map(|name| put(&store, "pods", pod(name, 100)))).await;
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for name in &names {
        *taken.entry(bound(&store, name).await).or_default() += 100;
    }
    assert!(taken.values().all(|cpu| *cpu <= 2_000), "{taken:?}");
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_is_bound_when_a_node_comes_also_after_a_crash_of_the_bus() {
    let mut nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    put(&store, "nodes", node("small", 1)).await;
    let shutdown = start_scheduler(&nats.url());
    put(&store, "pods", pod("stuck", 1_500)).await;
    let message = eventually("the pod says why", || async {
        let conditions = get(&store, "stuck").at(&["status", "conditions"])?.clone();
        conditions[0]["message"].as_str().map(str::to_owned)
    })
    .await;
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");

    nats.restart().expect("it starts again");
    put(&store, "nodes", node("large", 2)).await;
    assert_eq!(bound(&store, "stuck").await, "large");
    shutdown.cancel();
}

/// A replica on threads and a connection of its own, so that it can die.
fn start_replica(url: &str) -> Runtime {
    let runtime = Runtime::new().expect("threads");
    let config = config(url);
    runtime.spawn(async move { scheduler::run(config, Shutdown::new()).await.expect("it runs") });
    runtime
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go_under_load_and_each_pod_is_bound_once_and_no_node_has_too_much() {
    const PODS: usize = 300;
    let nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    // As many places as there are pods, but for a few.
    for index in 0..32 {
        put(&store, "nodes", node(&format!("node-{index}"), 1)).await;
    }
    let mut changes = store.watch("core/pods/", store.revision()).expect("a watch");
    let mut replicas: Vec<Runtime> = (0..3).map(|_| start_replica(&nats.url())).collect();
    let names: Vec<String> = (0..PODS).map(|index| format!("pod-{index}")).collect();
    let mut bindings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (round, names) in names.chunks(PODS / 5).enumerate() {
        futures::future::join_all(names.iter().map(|name| put(&store, "pods", pod(name, 100)))).await;
        bound(&store, &names[0]).await;
        // Whoever is first has most likely come to bind; then others do.
        match round {
            1 | 3 => replicas.remove(0).shutdown_background(),
            2 => replicas.push(start_replica(&nats.url())),
            _ => {}
        }
    }
    let mut taken: BTreeMap<String, u32> = BTreeMap::new();
    for name in &names {
        *taken.entry(bound(&store, name).await).or_default() += 100;
    }
    assert!(taken.values().all(|cpu| *cpu <= 1_000), "{taken:?}");
    while let Some(Some(WatchEvent::Change(change))) = changes.next().now_or_never() {
        let Change::Put { item, .. } = change else { panic!("nobody deletes pods: {change:?}") };
        let pod: Object = serde_json::from_slice(&item.value).expect("JSON");
        let node = pod.str_at(&["spec", "nodeName"]).to_owned();
        let nodes = bindings.entry(pod.name().to_owned()).or_default();
        if !node.is_empty() && nodes.last() != Some(&node) {
            nodes.push(node);
        }
    }
    assert!(bindings.values().all(|nodes| nodes.len() == 1), "{bindings:?}");
    replicas.into_iter().for_each(Runtime::shutdown_background);
}
