use apiserver::verbs::{self, DeleteOptions, Deleted, ListOptions, Propagation};
use model::Reason;
use serde_json::json;

use crate::cluster::{Cluster, NOW, config_map, context, names, pod, value};

fn grace(seconds: i64) -> DeleteOptions {
    DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_gone_and_its_name_is_free() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let answer = cluster.delete("configmaps/a").await;
    assert_eq!(answer["status"], "Success");
    assert_eq!(answer["details"], json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}));
    assert!(cluster.is_gone("configmaps/a").await);
    let refused = cluster.try_delete("configmaps/a", &DeleteOptions::default()).await.expect_err("gone");
    assert_eq!(refused.reason, Reason::NotFound);
    let again = cluster.create("configmaps", config_map("a")).await;
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_is_marked_and_goes_when_its_node_says_so() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await;
    cluster.run("a", "n1").await;
    let marked = cluster.delete("pods/a").await;
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(cluster.get("pods/a").await, marked);
    let refused = cluster.try_create("pods", pod("a")).await.expect_err("still there");
    assert_eq!(refused.message, "object is being deleted: pods \"a\" already exists");
    let sooner = cluster.try_delete("pods/a", &grace(1)).await.expect("sooner").into_bytes();
    assert_eq!(value(&sooner)["metadata"]["deletionTimestamp"], "2026-01-01T00:00:01Z");
    let gone = cluster.try_delete("pods/a", &grace(0)).await.expect("now");
    assert!(matches!(gone, Deleted::Object(_)));
    assert!(cluster.is_gone("pods/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_node_goes_at_once() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await;
    cluster.delete("pods/a").await;
    assert!(cluster.is_gone("pods/a").await);
}

#[tokio::test(start_paused = true)]
async fn the_last_finalizer_that_goes_takes_the_object_with_it() {
    let cluster = Cluster::start().await;
    let mut held = config_map("a");
    held["metadata"]["finalizers"] = json!(["x.io/one", "x.io/two"]);
    cluster.create("configmaps", held).await;
    let marked = cluster.delete("configmaps/a").await;
    assert_eq!(marked["metadata"]["deletionTimestamp"], NOW);
    cluster.merge("configmaps/a", json!({"metadata": {"finalizers": ["x.io/two"]}})).await;
    assert!(!cluster.is_gone("configmaps/a").await);
    let last = cluster.merge("configmaps/a", json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(last["metadata"]["name"], "a");
    assert!(cluster.is_gone("configmaps/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_goes_before_the_delete_holds_nothing() {
    let cluster = Cluster::start().await;
    let mut held = config_map("a");
    held["metadata"]["finalizers"] = json!(["x.io/one"]);
    cluster.create("configmaps", held).await;
    cluster.merge("configmaps/a", json!({"metadata": {"finalizers": null}})).await;
    assert!(!cluster.is_gone("configmaps/a").await);
    cluster.delete("configmaps/a").await;
    assert!(cluster.is_gone("configmaps/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_precondition_that_does_not_hold_deletes_nothing() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let uid = |uid: &str| DeleteOptions { uid: Some(uid.to_owned()), ..DeleteOptions::default() };
    let version = |version: &str| DeleteOptions {
        resource_version: Some(version.to_owned()),
        ..DeleteOptions::default()
    };
    for options in [uid("other"), version("1")] {
        let refused = cluster.try_delete("configmaps/a", &options).await.expect_err("another object");
        assert_eq!(refused.reason, Reason::Conflict);
    }
    let own = made["metadata"]["uid"].as_str().expect("a uid");
    cluster.try_delete("configmaps/a", &uid(own)).await.expect("the object that is meant");
}

#[tokio::test(start_paused = true)]
async fn a_propagation_policy_leaves_its_finalizer_for_whoever_carries_it_out() {
    let cluster = Cluster::start().await;
    for (name, propagation, finalizer) in
        [("a", Propagation::Orphan, "orphan"), ("b", Propagation::Foreground, "foregroundDeletion")]
    {
        cluster.create("configmaps", config_map(name)).await;
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let path = format!("configmaps/{name}");
        let marked = cluster.try_delete(&path, &options).await.expect("marked").into_bytes();
        assert_eq!(value(&marked)["metadata"]["finalizers"], json!([finalizer]));
        cluster.merge(&path, json!({"metadata": {"finalizers": []}})).await;
        assert!(cluster.is_gone(&path).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_deletes_nothing() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let options = DeleteOptions { dry_run: true, ..DeleteOptions::default() };
    cluster.try_delete("configmaps/a", &options).await.expect("it would go");
    assert!(!cluster.is_gone("configmaps/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_terminates_takes_nothing_new_and_goes_once_it_is_finalized() {
    let cluster = Cluster::start().await;
    cluster.create("namespaces", json!({"metadata": {"name": "team"}})).await;
    let marked = cluster.delete("namespaces/team").await;
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused =
        cluster.try_create("team:configmaps", json!({"metadata": {"name": "a"}})).await.expect_err("closing");
    assert_eq!((refused.code(), refused.causes[0].reason.as_str()), (403, "NamespaceTerminating"));
    let mut last = cluster.get("namespaces/team").await;
    last["spec"]["finalizers"] = json!([]);
    cluster.update("namespaces/team/finalize", last).await;
    assert!(cluster.is_gone("namespaces/team").await);
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_deleted_as_far_as_the_selector_goes() {
    let cluster = Cluster::start().await;
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"app": app});
        cluster.create("configmaps", object).await;
    }
    let which = ListOptions { label_selector: "app=web".to_owned(), ..ListOptions::default() };
    let target = cluster.target("configmaps");
    let deleted =
        verbs::delete_collection(&cluster.registry, &context(), &target, &which, &DeleteOptions::default())
            .await;
    assert_eq!(names(&deleted.expect("a list")), ["a", "c"]);
    assert_eq!(cluster.names("configmaps", &ListOptions::default()).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_is_a_delete_with_the_pods_own_grace() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await;
    cluster.run("a", "n1").await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let answer = cluster.create("pods/a/eviction", eviction).await;
    assert_eq!(answer["status"], "Success");
    assert_eq!(cluster.get("pods/a").await["metadata"]["deletionGracePeriodSeconds"], 30);
}
