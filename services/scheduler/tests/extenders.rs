//! A scheduler with extenders that are real: one over HTTP, which is ours for upstream's schedulers, and one on the bus.

mod api_server;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;

use api_server::put;
use bus::extender::{Ask, Filtered, FilteredItem, Scored};
use model::{Key, Object};
use runtime::{AdminArguments, BusArguments, Shutdown};
use scheduler::Config;
use scheduler::extend::serve;
use serde_json::{Value, json};
use store::Store;
use tempfile::NamedTempFile;
use testkit::{NatsServer, eventually};

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "image": "redis", "resources": {"requests": {"cpu": "1"}}}],
        },
    })
}

fn start(url: &str, extenders: &str) -> (Shutdown, NamedTempFile) {
    let mut file = NamedTempFile::new().expect("a file");
    let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
    write!(file, "{head}extenders:\n{extenders}").expect("it is written");
    let config = Config {
        bus: BusArguments { nats_url: url.to_owned(), ..BusArguments::default() },
        admin: AdminArguments { admin_addr: None },
        scheduler_name: "default-scheduler".to_owned(),
        percentage_of_nodes_to_score: 0,
        config: Some(file.path().to_owned()),
    };
    let shutdown = Shutdown::new();
    let until = shutdown.clone();
    tokio::spawn(async move { scheduler::run(config, until).await.expect("it runs") });
    (shutdown, file)
}

async fn bound(store: &Store, name: &str) -> String {
    eventually(&format!("{name} has a node"), || async {
        let item = store.get(&Key::object("", "pods", "default", name))?;
        let pod: Object = serde_json::from_slice(&item.value).expect("JSON");
        Some(pod.str_at(&["spec", "nodeName"]).to_owned()).filter(|node| !node.is_empty())
    })
    .await
}

/// An extender on the bus that refuses `node-1` and likes `node-2`.
async fn serve_on_bus(url: &str) {
    let bus = api_server::connect(url).await;
    let mut filters = bus.serve("ext.picky.filter", "picky").await.expect("a subscription");
    let mut scores = bus.serve("ext.picky.prioritize", "picky").await.expect("a subscription");
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(request) = filters.next() => {
                    let ask: Ask = request.decode().expect("a question");
                    let refused = BTreeMap::from([("node-1".to_owned(), "not this one".to_owned())]);
                    let item = FilteredItem { refused, error: String::new() };
                    request.answer(&Filtered { items: vec![item; ask.items.len()] }).await;
                }
                Some(request) = scores.next() => {
                    let ask: Ask = request.decode().expect("a question");
                    request.answer(&Scored { items: vec![vec![("node-2".to_owned(), 10)]; ask.items.len()] }).await;
                }
                else => return,
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extender_on_the_bus_refuses_and_prefers() {
    let nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    for index in 1..=4 {
        put(&store, "nodes", node(&format!("node-{index}"))).await;
    }
    serve_on_bus(&nats.url()).await;
    let extender =
        "- {urlPrefix: 'bus://picky', filterVerb: filter, prioritizeVerb: prioritize, weight: 10}\n";
    let (shutdown, _file) = start(&nats.url(), extender);
    for index in 0..3 {
        let name = format!("pod-{index}");
        put(&store, "pods", pod(&name)).await;
        assert_eq!(bound(&store, &name).await, "node-2");
    }
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_extender_answers_over_http_as_upstream_asks_and_binds() {
    let nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    put(&store, "nodes", node("node-1")).await;
    put(&store, "nodes", node("node-2")).await;
    let address = SocketAddr::from(([127, 0, 0, 1], testkit::free_port().expect("a port")));
    let shutdown = Shutdown::new();
    let config = serve::Config {
        bus: BusArguments { nats_url: nats.url(), ..BusArguments::default() },
        admin: AdminArguments { admin_addr: None },
        bind: address,
    };
    let until = shutdown.clone();
    tokio::spawn(async move { serve::run(config, until).await.expect("it serves") });
    for capable in [true, false] {
        let extender = format!(
            "- {{urlPrefix: 'http://{address}', filterVerb: filter, prioritizeVerb: prioritize, bindVerb: bind, \
             weight: 1, nodeCacheCapable: {capable}}}\n"
        );
        let (scheduler, _file) = start(&nats.url(), &extender);
        let name = format!("pod-{capable}");
        put(&store, "pods", pod(&name)).await;
        bound(&store, &name).await;
        scheduler.cancel();
    }
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extender_that_hangs_or_talks_nonsense_holds_up_nobody_else_and_may_be_ignored() {
    let nats = NatsServer::start().expect("a nats-server");
    let store = api_server::start(&nats.url()).await;
    put(&store, "nodes", node("node-1")).await;
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let extenders = format!(
        "- {{urlPrefix: 'http://{address}', filterVerb: filter, httpTimeout: 300ms, \
         managedResources: [{{name: example.com/gpu, ignoredByScheduler: true}}]}}\n\
         - {{urlPrefix: 'bus://nobody', filterVerb: filter, ignorable: true}}\n"
    );
    let (shutdown, _file) = start(&nats.url(), &extenders);
    let mut wants = pod("stuck");
    wants["spec"]["containers"][0]["resources"]["requests"]["example.com/gpu"] = json!("1");
    put(&store, "pods", wants).await;
    put(&store, "pods", pod("free")).await;
    assert_eq!(bound(&store, "free").await, "node-1");
    let message = eventually("the pod says who fails", || async {
        let item = store.get(&Key::object("", "pods", "default", "stuck"))?;
        let pod: Object = serde_json::from_slice(&item.value).expect("JSON");
        pod.at(&["status", "conditions"])?[0]["message"].as_str().map(str::to_owned)
    })
    .await;
    assert!(message.contains(&format!("extender http://{address}")), "{message}");
    shutdown.cancel();
}
