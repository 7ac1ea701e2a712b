use apiserver::verbs::{self, WriteOptions};
use futures::future::join_all;
use model::Reason;
use serde_json::{Value, json};
use store::memory::Faults;

use crate::cluster::{Cluster, config_map, context, pod};

fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "redis"}]}
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_stale_version_is_refused_and_no_version_overwrites() {
    let cluster = Cluster::start().await;
    let first = cluster.create("configmaps", config_map("a")).await;
    let mut newer = first.clone();
    newer["data"]["a"] = json!("c");
    cluster.update("configmaps/a", newer.clone()).await;
    let refused = cluster.try_update("configmaps/a", newer.clone()).await.expect_err("stale");
    assert_eq!(refused.reason, Reason::Conflict);
    assert_eq!(
        refused.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    newer["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    newer["data"]["a"] = json!("d");
    assert_eq!(cluster.update("configmaps/a", newer).await["data"]["a"], "d");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_another_server_gave_out_is_as_good_here() {
    let cluster =
        Cluster::start_with(Faults { delay: std::time::Duration::from_millis(20), ..Faults::default() })
            .await;
    let other = cluster.another().await;
    let mut made = cluster.create("configmaps", config_map("a")).await;
    for round in 0..5 {
        made["data"]["a"] = json!(round.to_string());
        let writer = if round % 2 == 0 { &other } else { &cluster };
        made = writer.update("configmaps/a", made).await;
    }
    assert_eq!(made["data"]["a"], "4");
}

#[tokio::test(start_paused = true)]
async fn another_object_of_the_name_is_left_alone() {
    let cluster = Cluster::start().await;
    let first = cluster.create("configmaps", config_map("a")).await;
    cluster.delete("configmaps/a").await;
    cluster.create("configmaps", config_map("a")).await;
    let mut stale = first;
    stale["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    let refused = cluster.try_update("configmaps/a", stale).await.expect_err("another uid");
    assert_eq!(refused.reason, Reason::Conflict);
    assert!(refused.message.contains("UID in precondition"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_writes_nothing() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let revision = cluster.registry.store().revision();
    assert_eq!(cluster.update("configmaps/a", made.clone()).await, made);
    assert_eq!(cluster.merge("configmaps/a", json!({"data": {"a": "b"}})).await, made);
    assert_eq!(cluster.registry.store().revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_cannot_be_updated() {
    let cluster = Cluster::start().await;
    let refused = cluster.try_update("configmaps/a", config_map("a")).await.expect_err("absent");
    assert_eq!((refused.code(), refused.message.as_str()), (404, "configmaps \"a\" not found"));
    cluster.create("configmaps", config_map("a")).await;
    let refused = cluster.try_update("configmaps/a", config_map("b")).await.expect_err("another name");
    assert_eq!(refused.message, "the name of the object (b) does not match the name on the URL (a)");
}

#[tokio::test(start_paused = true)]
async fn the_generation_follows_the_spec_and_the_status_has_its_own_door() {
    let cluster = Cluster::start().await;
    let made = cluster.create("deployments.apps", deployment("web", 1)).await;
    assert_eq!(made["metadata"]["generation"], 1);

    let through_main = cluster.merge("deployments.apps/web", json!({"status": {"replicas": 7}})).await;
    assert_ne!(through_main["status"]["replicas"], json!(7));

    let patch = json!({"status": {"replicas": 7}, "spec": {"replicas": 9}});
    let through_status = cluster.merge("deployments.apps/web/status", patch).await;
    assert_eq!(through_status["status"]["replicas"], 7);
    assert_eq!(through_status["spec"]["replicas"], 1);
    assert_eq!(through_status["metadata"]["generation"], 1);

    let scaled = cluster.merge("deployments.apps/web", json!({"spec": {"replicas": 2}})).await;
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert_eq!(scaled["status"]["replicas"], 7);
    let labelled = cluster.merge("deployments.apps/web", json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_scale_is_read_and_written_in_place_of_the_workload() {
    let cluster = Cluster::start().await;
    cluster.create("deployments.apps", deployment("web", 1)).await;
    let mut scale = cluster.get("deployments.apps/web/scale").await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    scale["spec"]["replicas"] = json!(3);
    let written = cluster.update("deployments.apps/web/scale", scale.clone()).await;
    assert_eq!((&written["kind"], &written["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    assert!(cluster.try_update("deployments.apps/web/scale", scale).await.is_err());
    let patched = cluster.merge("deployments.apps/web/scale", json!({"spec": {"replicas": 5}})).await;
    assert_eq!(patched["spec"]["replicas"], 5);
    let web = cluster.get("deployments.apps/web").await;
    assert_eq!((&web["spec"]["replicas"], &web["metadata"]["generation"]), (&json!(5), &json!(3)));
}

#[tokio::test(start_paused = true)]
async fn of_many_patches_at_once_each_counts_on_every_server() {
    let faults = Faults {
        delay: std::time::Duration::from_millis(5),
        lost_ack: 0.1,
        duplicate: 0.1,
        ..Faults::default()
    };
    let cluster = Cluster::start_with(faults).await;
    let other = cluster.another().await;
    cluster.create("configmaps", config_map("a")).await;
    let patch = async |index: usize| {
        let server = if index.is_multiple_of(2) { &cluster } else { &other };
        server.merge("configmaps/a", json!({"data": {format!("key-{index}"): "x"}})).await
    };
    join_all((0..24).map(patch)).await;
    let stored = cluster.get("configmaps/a").await;
    assert_eq!(stored["data"].as_object().map(|data| data.len()), Some(25));
}

#[tokio::test(start_paused = true)]
async fn of_two_updates_from_one_version_one_wins() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let change = |text: &str| {
        let mut changed = made.clone();
        changed["data"]["a"] = json!(text);
        changed
    };
    let (one, two) = tokio::join!(
        cluster.try_update("configmaps/a", change("one")),
        other.try_update("configmaps/a", change("two"))
    );
    assert!(one.is_ok() != two.is_ok());
    let lost = one.err().or(two.err()).expect("one lost");
    assert_eq!(lost.reason, Reason::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_the_change_and_keeps_the_version() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let target = cluster.target("configmaps/a");
    let mut changed = made.clone();
    changed["data"]["a"] = json!("c");
    let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let body = cluster.body(&target, &changed);
    let stored =
        verbs::update(&cluster.registry, &context(), &target, body, &options).await.expect("a change");
    assert_eq!(crate::cluster::value(&stored.object), changed);
    assert_eq!(cluster.get("configmaps/a").await, made);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_a_kind_does_not_have_is_not_found() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await;
    for path in ["pods/a/scale", "pods/a/nonsense", "configmaps/a/status"] {
        assert_eq!(cluster.try_get(path).await.expect_err(path).code(), 404, "{path}");
    }
}
