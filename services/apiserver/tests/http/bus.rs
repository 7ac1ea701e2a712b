//! The service as a whole on a real nats-server.

use std::path::Path;
use std::time::{Duration, Instant};

use runtime::Shutdown;
use serde_json::{Value, json};
use testkit::{NatsServer, eventually};
use tokio::task::JoinHandle;

use crate::objects::create_map;
use crate::raw::Raw;
use crate::server;

/// A service that was started as its command line does it.
struct Service {
    port: u16,
    shutdown: Shutdown,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start(folder: &Path, nats: &NatsServer) -> Service {
        let port = testkit::free_port().unwrap();
        let (bind, url) = (format!("127.0.0.1:{port}"), nats.url());
        let mut config = server::config(folder, &["--nats-url", &url, "--advertise-address", "192.0.2.10"]);
        config.bind = bind.parse().unwrap();
        let shutdown = Shutdown::new();
        let running = tokio::spawn(apiserver::run(config, shutdown.clone()));
        Service { port, shutdown, running }
    }

    async fn connect(&self, folder: &Path) -> Raw {
        // It is bound before it has its certificate.
        let kubeconfig = folder.join("admin.kubeconfig");
        eventually("it has a certificate", || async { kubeconfig.is_file().then_some(()) }).await;
        Raw::connect(folder, self.port, true, "http/1.1").await
    }

    async fn ready(&self, folder: &Path) -> Raw {
        eventually("it is ready", || async {
            let mut raw = self.connect(folder).await;
            (raw.get("/readyz").await.code == 200).then_some(raw)
        })
        .await
    }

    async fn end(self) -> Duration {
        let started = Instant::now();
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
        started.elapsed()
    }
}

fn addresses(endpoints: &Value) -> Value {
    endpoints["subsets"][0]["addresses"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_bus_and_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut nats = NatsServer::start().unwrap();
    let service = Service::start(folder, &nats).await;
    let mut raw = service.ready(folder).await;
    assert_eq!(create_map(&mut raw, "before", json!({})).await.code, 201);

    nats.kill();
    let refused = create_map(&mut raw, "meanwhile", json!({})).await;
    assert_eq!((refused.code.as_u16(), refused.header("retry-after")), (503, "1"), "{}", refused.text());
    let unready = raw.get("/readyz?verbose").await;
    assert_eq!(unready.code, 500);
    assert!(unready.text().contains("[-]store failed: "), "{}", unready.text());
    assert_eq!(raw.get("/livez").await.code, 200);
    let stale = raw.get("/api/v1/namespaces/default/configmaps?resourceVersion=0").await;
    assert_eq!(stale.json()["items"][0]["metadata"]["name"], "before");

    nats.restart().unwrap();
    let mut raw = service.ready(folder).await;
    assert_eq!(create_map(&mut raw, "after", json!({})).await.code, 201);
    let endpoints = raw.get("/api/v1/namespaces/default/endpoints/kubernetes").await.json();
    assert_eq!(addresses(&endpoints), json!([{"ip": "192.0.2.10"}]));

    let second = Service::start(folder, &nats).await;
    let took = service.end().await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut raw = second.ready(folder).await;
    let list = raw.get("/api/v1/namespaces/default/configmaps").await.json();
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
    assert!(names.contains(&"before") && names.contains(&"after"), "{names:?}");
    second.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_bus_waits_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut nats = NatsServer::start().unwrap();
    nats.kill();
    let service = Service::start(folder, &nats).await;
    let mut raw = service.connect(folder).await;
    assert_eq!(raw.get("/livez").await.code, 200);
    let unready = raw.get("/readyz").await;
    assert_eq!(unready.code, 500);
    assert!(unready.text().contains("[-]store failed: "), "{}", unready.text());
    let refused = raw.get("/api/v1/pods").await;
    assert_eq!((refused.code.as_u16(), refused.header("retry-after")), (503, "1"));
    nats.restart().unwrap();
    service.ready(folder).await;
    service.end().await;
}
