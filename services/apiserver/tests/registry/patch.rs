use apiserver::verbs::{self, FieldValidation, Patch, PatchKind, WriteOptions};
use bytes::Bytes;
use serde_json::json;

use crate::cluster::{Cluster, config_map, context, pod, value};

#[tokio::test(start_paused = true)]
async fn each_format_changes_what_it_names() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let operations = json!([{"op": "test", "path": "/data/a", "value": "b"}, {"op": "add", "path": "/data/c", "value": "d"}]);
    let json_patched =
        cluster.try_patch("configmaps/a", PatchKind::Json, operations).await.expect("a JSON patch");
    assert_eq!(json_patched["data"], json!({"a": "b", "c": "d"}));
    let merged = cluster.merge("configmaps/a", json!({"data": {"a": null}})).await;
    assert_eq!(merged["data"], json!({"c": "d"}));

    cluster.create("pods", pod("a")).await;
    let strategic = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}});
    let patched =
        cluster.try_patch("pods/a", PatchKind::Strategic, strategic).await.expect("a strategic patch");
    assert_eq!(patched["spec"]["containers"].as_array().map(Vec::len), Some(1));
    assert_eq!(patched["spec"]["containers"][0]["image"], "busybox");
    assert_eq!(patched["spec"]["containers"][0]["name"], "main");
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_insists_on_a_version_or_a_value_is_refused_when_it_is_another() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let versioned = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "c"}});
    let refused = cluster.try_patch("configmaps/a", PatchKind::Merge, versioned).await.expect_err("stale");
    assert_eq!(refused.code(), 409);
    let tested = json!([{"op": "test", "path": "/data/a", "value": "x"}]);
    assert_eq!(
        cluster.try_patch("configmaps/a", PatchKind::Json, tested).await.expect_err("untrue").code(),
        422
    );
}

#[tokio::test(start_paused = true)]
async fn a_patch_cannot_change_what_only_the_server_knows() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let patch = json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z", "generation": 9, "labels": {"a": "b"}}});
    let patched = cluster.merge("configmaps/a", patch).await;
    assert_eq!(patched["metadata"]["creationTimestamp"], made["metadata"]["creationTimestamp"]);
    assert_eq!(patched["metadata"]["generation"], made["metadata"]["generation"]);
    assert_eq!(patched["metadata"]["labels"], json!({"a": "b"}));
    let renamed = json!({"metadata": {"name": "other"}});
    assert_eq!(
        cluster.try_patch("configmaps/a", PatchKind::Merge, renamed).await.expect_err("a name").code(),
        400
    );
}

#[tokio::test(start_paused = true)]
async fn a_field_that_the_type_does_not_know_is_refused_or_warned_of() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let patch = Patch {
        kind: PatchKind::Merge,
        body: Bytes::from_static(b"{\"nonsense\": 1, \"data\": {\"a\": \"c\"}}"),
    };
    let target = cluster.target("configmaps/a");
    let with = |field_validation| WriteOptions { field_validation, ..WriteOptions::default() };
    let strict =
        verbs::patch(&cluster.registry, &context(), &target, &patch, &with(FieldValidation::Strict)).await;
    assert_eq!(strict.expect_err("strict").code(), 422);
    let warned =
        verbs::patch(&cluster.registry, &context(), &target, &patch, &with(FieldValidation::Warn)).await;
    let warned = warned.expect("a warning");
    assert_eq!(warned.warnings, ["unknown field \"nonsense\""]);
    assert_eq!(value(&warned.object)["data"]["a"], "c");
}

#[tokio::test(start_paused = true)]
async fn an_apply_patch_is_told_what_is_taken_instead() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let refused = cluster.try_patch("configmaps/a", PatchKind::Apply, json!({})).await.expect_err("apply");
    assert_eq!(refused.code(), 415);
}
