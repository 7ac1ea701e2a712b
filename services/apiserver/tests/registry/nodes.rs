use std::sync::Arc;
use std::time::Duration;

use apiserver::nodes::{Gateway, heartbeats::Beat, report};
use apiserver::verbs::{DeleteOptions, ListOptions};
use bus::node::{
    Attach, Attached, Heartbeat, LOCAL_PATH, PodReport, Report, ReportReply, Snapshot, VOLUME_NODE,
    VolumeReport, Want,
};
use bus::{Bus, Config, codec, subject};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use testkit::NatsServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, NOW, now, pod, value};

fn bytes(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn node_report(capacity: &str) -> Report {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"kubernetes.io/arch": "amd64"}},
        "status": {
            "capacity": {"cpu": capacity},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
                "lastHeartbeatTime": NOW, "lastTransitionTime": NOW}]
        }
    });
    Report { node: Some(bytes(node)), ..Report::default() }
}

fn status(pod: &Value, phase: &str) -> PodReport {
    PodReport {
        namespace: "default".to_owned(),
        name: pod["metadata"]["name"].as_str().expect("a name").to_owned(),
        uid: pod["metadata"]["uid"].as_str().expect("a uid").to_owned(),
        status: Some(bytes(json!({"phase": phase}))),
        gone: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_and_keeps_what_others_set() {
    let cluster = Cluster::start().await;
    let reply = report::handle(&cluster.registry, "n1", node_report("2"), now()).await;
    assert_eq!((reply.node, reply.refused), (None, None));
    let made = cluster.get("nodes/n1").await;
    assert_eq!(made["status"]["capacity"]["cpu"], "2");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/arch"], "amd64");
    cluster
        .merge("nodes/n1", json!({"spec": {"unschedulable": true}, "metadata": {"labels": {"zone": "a"}}}))
        .await;
    report::handle(&cluster.registry, "n1", node_report("4"), now()).await;
    let updated = cluster.get("nodes/n1").await;
    assert_eq!(
        (&updated["status"]["capacity"]["cpu"], &updated["spec"]["unschedulable"]),
        (&json!("4"), &json!(true))
    );
    assert_eq!(updated["metadata"]["labels"]["zone"], "a");
    let foreign = report::handle(&cluster.registry, "n2", node_report("2"), now()).await;
    assert_eq!(foreign.node.map(|status| status.code()), Some(403));
}

#[tokio::test(start_paused = true)]
async fn a_node_speaks_for_its_own_pods_only() {
    let cluster = Cluster::start().await;
    let mine = cluster.create("pods", pod("mine")).await;
    let other = cluster.create("pods", pod("other")).await;
    cluster.create("pods/mine/binding", json!({"target": {"kind": "Node", "name": "n1"}})).await;
    cluster.create("pods/other/binding", json!({"target": {"kind": "Node", "name": "n2"}})).await;
    let mut stale = status(&mine, "Failed");
    stale.uid = "another".to_owned();
    let report = Report {
        pods: vec![status(&mine, "Running"), status(&other, "Running"), stale],
        ..Report::default()
    };
    let reply = report::handle(&cluster.registry, "n1", report, now()).await;
    let refused: Vec<(usize, u16)> =
        reply.pods.iter().map(|(index, status)| (*index, status.code())).collect();
    assert_eq!(refused, [(1, 403), (2, 409)]);
    let noted = cluster.get("pods/mine").await;
    assert_eq!(noted["status"]["phase"], "Running");
    let conditions = noted["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|one| one["type"] == "PodScheduled"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ended_as_it_was_to_is_removed_and_no_other() {
    let cluster = Cluster::start().await;
    let made = cluster.create("pods", pod("a")).await;
    cluster.run("a", "n1").await;
    let gone =
        |status: PodReport| Report { pods: vec![PodReport { gone: true, ..status }], ..Report::default() };
    let reply = report::handle(&cluster.registry, "n1", gone(status(&made, "Succeeded")), now()).await;
    assert_eq!(reply.pods.len(), 1);
    assert!(!cluster.is_gone("pods/a").await);
    cluster.merge("pods/a/status", json!({"status": {"phase": "Running"}})).await;
    cluster.delete("pods/a").await;
    let reply = report::handle(&cluster.registry, "n1", gone(status(&made, "Succeeded")), now()).await;
    assert_eq!(reply.pods, []);
    assert!(cluster.is_gone("pods/a").await);
    let again = report::handle(&cluster.registry, "n1", gone(status(&made, "Succeeded")), now()).await;
    assert_eq!(again.pods, []);
}

#[tokio::test(start_paused = true)]
async fn a_volume_goes_once_its_own_node_has_nothing_left_of_it() {
    let cluster = Cluster::start().await;
    let volume = json!({
        "metadata": {"name": "v", "finalizers": [LOCAL_PATH], "annotations": {VOLUME_NODE: "n1"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
            "persistentVolumeReclaimPolicy": "Delete"}
    });
    let made = cluster.create("persistentvolumes", volume).await;
    let gone = || Report {
        volumes: vec![VolumeReport {
            name: "v".to_owned(),
            uid: made["metadata"]["uid"].as_str().expect("a uid").to_owned(),
        }],
        ..Report::default()
    };
    let codes =
        |reply: ReportReply| reply.volumes.iter().map(|(_, status)| status.code()).collect::<Vec<_>>();
    assert_eq!(codes(report::handle(&cluster.registry, "n1", gone(), now()).await), [403], "nobody asked");
    cluster.delete("persistentvolumes/v").await;
    assert_eq!(codes(report::handle(&cluster.registry, "n1", gone(), now()).await), [403], "it is protected");
    cluster.merge("persistentvolumes/v", json!({"metadata": {"finalizers": [LOCAL_PATH]}})).await;
    assert_eq!(codes(report::handle(&cluster.registry, "n2", gone(), now()).await), [403], "another node");
    assert!(codes(report::handle(&cluster.registry, "n1", gone(), now()).await).is_empty());
    assert!(cluster.is_gone("persistentvolumes/v").await);
    assert!(codes(report::handle(&cluster.registry, "n1", gone(), now()).await).is_empty(), "told twice");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_recorded_and_counted() {
    let cluster = Cluster::start().await;
    let event = |count: u32| {
        bytes(json!({
            "metadata": {"name": "a.1", "namespace": "default"},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
            "reason": "BackOff", "message": "Back-off", "type": "Warning", "count": count,
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": NOW, "lastTimestamp": NOW
        }))
    };
    for count in [1, 2] {
        report::handle(
            &cluster.registry,
            "n1",
            Report { events: vec![event(count)], ..Report::default() },
            now(),
        )
        .await;
    }
    assert_eq!(cluster.get("events/a.1").await["count"], 2);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_seen_as_leases() {
    let cluster = Cluster::start().await;
    report::handle(&cluster.registry, "n1", node_report("2"), now()).await;
    let leases = "kube-node-lease:leases.coordination.k8s.io";
    assert!(cluster.is_gone(&format!("{leases}/n1")).await);
    cluster.registry.heartbeats().note("n1", Beat { received: now(), session: String::new() });
    let lease = cluster.get(&format!("{leases}/n1")).await;
    assert_eq!((&lease["kind"], &lease["spec"]["holderIdentity"]), (&json!("Lease"), &json!("n1")));
    assert_eq!(lease["spec"]["renewTime"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(cluster.names(leases, &ListOptions::default()).await, ["n1"]);
    assert_eq!(
        cluster.names("leases.coordination.k8s.io", &ListOptions::default()).await,
        Vec::<String>::new()
    );
}

// === the gateway on a real bus ===

const PATIENCE: Duration = Duration::from_secs(20);

struct Agent {
    bus: Bus,
    session: String,
    wants: bus::Requests,
}

impl Agent {
    async fn new(server: &NatsServer, session: &str) -> Agent {
        let bus = connect(server, session).await;
        let wants = bus.subscribe(&subject::want("n1")).await.expect("a subscription");
        Agent { bus, session: session.to_owned(), wants }
    }

    /// Attaches; the keys of the snapshot and its link.
    async fn attach(&self) -> (Vec<String>, u64) {
        let client = self.bus.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.expect("a subscription");
        let attach = codec::encode(&Attach { session: self.session.clone(), services: false });
        client.publish_with_reply(subject::attach("n1"), inbox, attach).await.expect("published");
        let mut keys = Vec::new();
        loop {
            let answer =
                tokio::time::timeout(PATIENCE, answers.next()).await.expect("in time").expect("an answer");
            match codec::decode(&answer.payload).expect("a frame") {
                Snapshot::Part(wanted) => keys.extend(wanted.into_iter().map(|one| one.key)),
                Snapshot::End { link, .. } => return (keys, link),
                Snapshot::Refused(status) => panic!("refused: {status}"),
            }
        }
    }

    /// The next word that is not a keepalive.
    async fn next_want(&mut self) -> Want {
        loop {
            let message =
                tokio::time::timeout(PATIENCE, self.wants.next()).await.expect("in time").expect("a message");
            let want: Want = message.decode().expect("a want");
            if want.session == self.session && want.link != want.prev || want.link == u64::MAX {
                return want;
            }
        }
    }
}

async fn connect(server: &NatsServer, name: &str) -> Bus {
    Bus::connect(&Config::new(&server.url(), name)).await.expect("a bus")
}

/// A gateway that listens already.
async fn serve(server: &NatsServer, cluster: &Cluster, shutdown: &CancellationToken) -> JoinHandle<()> {
    let gateway = Gateway::new(Arc::clone(&cluster.registry), connect(server, "apiserver").await);
    let running = tokio::spawn(gateway.run(shutdown.clone()));
    let bus = connect(server, "probe").await;
    testkit::eventually("the gateway listens", async || {
        let probe = codec::encode(&Attach { session: "probe".to_owned(), services: false });
        bus.request_bytes(&subject::attach("probe"), probe, PATIENCE).await.ok()
    })
    .await;
    tokio::spawn(async move { running.await.expect("no panic").expect("no error") })
}

#[tokio::test]
async fn an_agent_is_told_what_is_wanted_of_it_link_by_link() {
    let server = NatsServer::start().expect("a nats-server");
    let cluster = Cluster::start().await;
    cluster.create("secrets", json!({"metadata": {"name": "pull"}, "type": "Opaque"})).await;
    let mut first = pod("a");
    first["spec"]["imagePullSecrets"] = json!([{"name": "pull"}]);
    cluster.create("pods", first).await;
    bind(&cluster, "a").await;

    let shutdown = CancellationToken::new();
    let running = serve(&server, &cluster, &shutdown).await;
    let mut agent = Agent::new(&server, "s1").await;
    let (keys, link) = agent.attach().await;
    assert_eq!(keys, ["core/secrets/default/pull", "core/pods/default/a"]);

    cluster.create("pods", pod("b")).await;
    bind(&cluster, "b").await;
    let want = agent.next_want().await;
    assert_eq!((want.prev, want.link), (link, link + 1));
    assert_eq!(want.changes[0].key, "core/pods/default/b");
    let shown = want.changes[0].object.as_ref().map(value).expect("an object");
    assert_eq!(shown["spec"]["nodeName"], "n1");

    cluster.merge("secrets/pull", json!({"data": {"a": "Yg=="}})).await;
    let want = agent.next_want().await;
    assert_eq!((want.prev, want.changes[0].key.as_str()), (link + 1, "core/secrets/default/pull"));

    // Another session of the same node takes over.
    let mut newer = Agent::new(&server, "s2").await;
    assert_eq!(newer.attach().await.0.len(), 3);
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    cluster.try_delete("pods/b", &now).await.expect("gone");
    let want = newer.next_want().await;
    assert_eq!((want.session.as_str(), want.changes[0].object.is_none()), ("s2", true));

    // An API server that ends sends its agents elsewhere at once.
    shutdown.cancel();
    assert_eq!(newer.next_want().await.prev, u64::MAX);
    running.await.expect("an orderly end");
}

#[tokio::test]
async fn a_session_ends_when_another_server_has_a_newer_one() {
    let server = NatsServer::start().expect("a nats-server");
    let cluster = Cluster::start().await;
    let shutdown = CancellationToken::new();
    let running = serve(&server, &cluster, &shutdown).await;
    let mut agent = Agent::new(&server, "s1").await;
    agent.attach().await;
    let beat = Heartbeat { node: "n1".to_owned(), time_ms: 0, session: "s1".to_owned() };
    agent.bus.publish(&subject::heartbeat("n1"), &beat).await.expect("published");
    testkit::eventually("the heartbeat is heard", async || cluster.registry.heartbeats().last("n1")).await;

    let elsewhere = Attached { session: "elsewhere".to_owned() };
    agent.bus.publish(&subject::attached("n1"), &elsewhere).await.expect("published");
    let mut count = 0;
    loop {
        let name = format!("p{count}");
        cluster.create("pods", pod(&name)).await;
        bind(&cluster, &name).await;
        if tokio::time::timeout(Duration::from_millis(300), agent.next_want()).await.is_err() {
            break;
        }
        count += 1;
        assert!(count < 100, "the agent still hears of its pods");
    }
    shutdown.cancel();
    running.await.expect("an orderly end");
}

#[tokio::test]
async fn a_report_is_answered_once_it_is_committed() {
    let server = NatsServer::start().expect("a nats-server");
    let cluster = Cluster::start().await;
    let shutdown = CancellationToken::new();
    let bus = connect(&server, "apiserver").await;
    let running = tokio::spawn(report::serve(Arc::clone(&cluster.registry), bus, shutdown.clone()));
    let agent = connect(&server, "agent").await;
    let reply: ReportReply = testkit::eventually("a server listens", async || {
        agent.request(&subject::report("n1"), &node_report("2"), PATIENCE).await.ok()
    })
    .await;
    assert!(reply.node.is_none() && reply.refused.is_none(), "{reply:?}");
    assert_eq!(cluster.get("nodes/n1").await["status"]["capacity"]["cpu"], "2");
    shutdown.cancel();
    running.await.expect("no panic").expect("an orderly end");
}

async fn bind(cluster: &Cluster, pod: &str) {
    let target = json!({"target": {"kind": "Node", "name": "n1"}});
    cluster.create(&format!("pods/{pod}/binding"), target).await;
}
