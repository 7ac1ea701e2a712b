use std::sync::Arc;
use std::time::Duration;

use apiserver::commands::handle;
use apiserver::verbs::ListOptions;
use bus::command::{Batch, PatchFormat, Replies, Resource, Write};
use bus::{Bus, Config, subject};
use bytes::Bytes;
use futures::future::join_all;
use model::Reason;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, config_map, now, pod, value};

fn bytes(value: Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// May do everything, once the cluster says so.
const WRITER: &str = "system:serviceaccount:kube-system:writer";

async fn start() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.grant(WRITER, "cluster-admin").await;
    cluster
}

fn config_maps() -> Resource {
    Resource::new("", "v1", "configmaps")
}

fn create(object: Value) -> Write {
    Write::Create { resource: config_maps(), namespace: "default".to_owned(), object: bytes(object) }
}

async fn write_before(cluster: &Cluster, patience_ms: i64, items: Vec<Write>) -> Replies {
    let deadline_ms = u64::try_from(now().as_millisecond() + patience_ms).expect("a time after 1970");
    write_as(cluster, WRITER, deadline_ms, items).await
}

async fn write_as(cluster: &Cluster, user: &str, deadline_ms: u64, items: Vec<Write>) -> Replies {
    let batch = Batch { user: user.to_owned(), deadline_ms, guard: None, items };
    handle(&cluster.registry, batch, now()).await
}

async fn write(cluster: &Cluster, items: Vec<Write>) -> Replies {
    write_before(cluster, 1_000, items).await
}

#[tokio::test(start_paused = true)]
async fn each_item_has_its_own_answer_in_its_place() {
    let cluster = start().await;
    let replies = write(
        &cluster,
        vec![
            create(config_map("a")),
            create(config_map("b")),
            create(config_map("a")),
            create(json!({"metadata": {"name": "No!"}, "data": 7})),
        ],
    )
    .await
    .replies;
    assert_eq!(replies.len(), 4);
    let first = replies[0].as_ref().expect("created");
    assert_eq!(value(&first.object)["metadata"]["name"], "a");
    assert_eq!(value(&first.object)["metadata"]["resourceVersion"], first.revision.to_string());
    assert!(replies[1].is_ok());
    assert_eq!(replies[2].as_ref().expect_err("taken").reason, Reason::AlreadyExists);
    assert!(replies[3].is_err());
}

#[tokio::test(start_paused = true)]
async fn every_verb_goes_by_command() {
    let cluster = start().await;
    write(&cluster, vec![create(config_map("a"))]).await;
    let (namespace, name) = ("default".to_owned(), "a".to_owned());
    let mut changed = config_map("a");
    changed["data"]["a"] = json!("c");
    let update = Write::Update {
        resource: config_maps(),
        namespace: namespace.clone(),
        name: name.clone(),
        subresource: String::new(),
        object: bytes(changed),
    };
    let patch = Write::Patch {
        resource: config_maps(),
        namespace: namespace.clone(),
        name: name.clone(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: bytes(json!({"data": {"x": "y"}})),
    };
    let delete = Write::Delete { resource: config_maps(), namespace, name, options: Bytes::new() };
    for item in [update, patch] {
        write(&cluster, vec![item]).await.replies.remove(0).expect("a change");
    }
    assert_eq!(cluster.get("configmaps/a").await["data"], json!({"a": "c", "x": "y"}));
    let gone = write(&cluster, vec![delete]).await.replies.remove(0).expect("gone");
    assert!(gone.revision > 0);
    assert!(cluster.is_gone("configmaps/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_bindings_is_a_few_messages_of_the_log() {
    const PODS: usize = 200;
    let cluster = start().await;
    join_all((0..PODS).map(|index| cluster.create("pods", pod(&format!("p{index}"))))).await;
    let before = cluster.registry.store().revision().sequence();
    let bind = |index: usize| Write::Bind {
        namespace: "default".to_owned(),
        pod: format!("p{index}"),
        uid: String::new(),
        node: format!("n{}", index % 10),
    };
    let replies = write(&cluster, (0..PODS).map(bind).collect()).await.replies;
    assert!(replies.iter().all(Result::is_ok));
    let messages = cluster.registry.store().revision().sequence() - before;
    assert!(messages <= 10, "{messages} messages");
    let bound = cluster.try_list("pods", &ListOptions::default()).await.expect("a list");
    assert!(bound.items.iter().all(|one| value(one)["spec"]["nodeName"].is_string()));
    let again = write(&cluster, vec![bind(0)]).await.replies.remove(0).expect_err("bound");
    assert_eq!(again.reason, Reason::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_binding_is_for_the_pod_that_was_seen() {
    let cluster = start().await;
    cluster.create("pods", pod("a")).await;
    let bind = Write::Bind {
        namespace: "default".to_owned(),
        pod: "a".to_owned(),
        uid: "another".to_owned(),
        node: "n".to_owned(),
    };
    assert!(write(&cluster, vec![bind]).await.replies.remove(0).is_err());
    assert_eq!(cluster.get("pods/a").await["spec"]["nodeName"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn services_may_do_what_their_roles_say() {
    let cluster = start().await;
    cluster.create("pods", pod("a")).await;
    let scheduler = "system:kube-scheduler";
    let bind = Write::Bind {
        namespace: "default".to_owned(),
        pod: "a".to_owned(),
        uid: String::new(),
        node: "n".to_owned(),
    };
    let replies = write_as(&cluster, scheduler, u64::MAX, vec![create(config_map("a")), bind]).await.replies;
    assert!(replies[1].is_ok(), "{:?}", replies[1]);
    let refused = replies[0].as_ref().expect_err("no scheduler makes config maps");
    assert_eq!(
        refused.message,
        "configmaps is forbidden: User \"system:kube-scheduler\" cannot create resource \"configmaps\" in API group \
         \"\" in the namespace \"default\""
    );
    let stranger =
        write_as(&cluster, "nobody", u64::MAX, vec![create(config_map("b"))]).await.replies.remove(0);
    assert_eq!(stranger.expect_err("a stranger").reason, Reason::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_there_is_not_is_not_found() {
    let cluster = start().await;
    let item = Write::Create {
        resource: Resource::new("x.io", "v1", "things"),
        namespace: "default".to_owned(),
        object: bytes(json!({})),
    };
    assert_eq!(
        write(&cluster, vec![item]).await.replies.remove(0).expect_err("unknown").reason,
        Reason::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_once_nobody_waits_for_it() {
    let cluster = start().await;
    let late = write_before(&cluster, -1, vec![create(config_map("a"))]).await.replies.remove(0);
    assert_eq!(late.expect_err("too late").reason, Reason::Timeout);
    assert!(cluster.is_gone("configmaps/a").await);
}

#[tokio::test]
async fn whichever_server_is_there_answers_on_the_bus() {
    let server = testkit::NatsServer::start().expect("a nats-server");
    let cluster = start().await;
    let other = cluster.another().await;
    let shutdown = CancellationToken::new();
    let mut running = Vec::new();
    for (name, one) in [("one", &cluster), ("two", &other)] {
        let bus = connect(&server, name).await;
        running.push(tokio::spawn(apiserver::commands::serve(
            Arc::clone(&one.registry),
            bus,
            shutdown.clone(),
        )));
    }
    let client = connect(&server, "client").await;
    let deadline_ms = u64::MAX;
    let write = async |index: usize| {
        let items = vec![create(config_map(&format!("m{index}")))];
        let batch = Batch { user: WRITER.to_owned(), deadline_ms, guard: None, items };
        client.request::<_, Replies>(subject::WRITE, &batch, PATIENCE).await.ok()
    };
    testkit::eventually("a server listens", async || write(0).await).await;
    for index in 1..10 {
        let replies = write(index).await.expect("an answer").replies;
        assert!(replies[0].is_ok(), "{replies:?}");
    }
    assert_eq!(cluster.names("configmaps", &ListOptions::default()).await.len(), 10);
    shutdown.cancel();
    for one in running {
        one.await.expect("no panic").expect("an orderly end");
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(server: &testkit::NatsServer, name: &str) -> Bus {
    Bus::connect(&Config::new(&server.url(), name)).await.expect("a bus")
}
