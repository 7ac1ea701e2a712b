use std::time::Duration;

use apiserver::verbs::{WatchKind, WatchOptions};
use serde_json::json;
use store::HistoryBounds;

use crate::cluster::{Cluster, config_map, ready, ready_items, text, value};

fn from(version: &str) -> WatchOptions {
    WatchOptions { resource_version: version.to_owned(), ..WatchOptions::default() }
}

fn version(object: &serde_json::Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_has_every_change_after_it_and_none_before() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let b = cluster.create("configmaps", config_map("b")).await;
    let changed = cluster.merge("configmaps/b", json!({"data": {"a": "c"}})).await;
    cluster.delete("configmaps/a").await;
    let mut watch = cluster.watch("configmaps", &from(version(&b))).await;
    assert_eq!(ready(&mut watch), ["MODIFIED b", "DELETED a"]);
    cluster.create("configmaps", config_map("c")).await;
    cluster.create("kube-system:configmaps", json!({"metadata": {"name": "elsewhere"}})).await;
    assert_eq!(ready(&mut watch), ["ADDED c"]);
    let mut resumed = cluster.watch("configmaps", &from(version(&changed))).await;
    assert_eq!(ready(&mut resumed), ["DELETED a", "ADDED c"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    for version in ["", "0"] {
        let mut watch = cluster.watch("configmaps", &from(version)).await;
        assert_eq!(ready(&mut watch), ["ADDED a"], "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_a_bookmark_that_says_so() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    let options = WatchOptions {
        send_initial_events: Some(true),
        resource_version_match: "NotOlderThan".to_owned(),
        allow_bookmarks: true,
        ..WatchOptions::default()
    };
    let mut watch = cluster.watch("configmaps", &options).await;
    let items = ready_items(&mut watch);
    assert_eq!(items.iter().map(text).collect::<Vec<_>>(), ["ADDED a", "BOOKMARK "]);
    let end = value(&items[1].object);
    assert_eq!(end["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!((&end["kind"], &end["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    let mut resumed = cluster.watch("configmaps", &from(version(&end))).await;
    cluster.create("configmaps", config_map("b")).await;
    assert_eq!(ready(&mut resumed), ["ADDED b"]);
    assert_eq!(ready(&mut watch), ["ADDED b"]);

    let without = WatchOptions { resource_version_match: String::new(), ..options.clone() };
    assert_eq!(cluster.try_watch("configmaps", &without).await.expect_err("no match given").code(), 422);
    let skipped = WatchOptions { send_initial_events: Some(false), ..options };
    assert_eq!(ready(&mut cluster.watch("configmaps", &skipped).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_object_enters_and_leaves_a_selection() {
    let cluster = Cluster::start().await;
    let options = WatchOptions { label_selector: "app=web".to_owned(), ..WatchOptions::default() };
    let mut watch = cluster.watch("configmaps", &options).await;
    cluster.create("configmaps", config_map("a")).await;
    assert_eq!(ready(&mut watch), Vec::<String>::new());
    cluster.merge("configmaps/a", json!({"metadata": {"labels": {"app": "web"}}})).await;
    cluster.merge("configmaps/a", json!({"data": {"a": "c"}})).await;
    assert_eq!(ready(&mut watch), ["ADDED a", "MODIFIED a"]);
    let left = cluster.merge("configmaps/a", json!({"metadata": {"labels": {"app": "db"}}})).await;
    let items = ready_items(&mut watch);
    assert_eq!(items.iter().map(text).collect::<Vec<_>>(), ["DELETED a"]);
    // As it was last seen, at the revision at which it left.
    assert_eq!(value(&items[0].object)["metadata"]["labels"]["app"], "web");
    assert_eq!(version(&value(&items[0].object)), version(&left));
    cluster.delete("configmaps/a").await;
    assert_eq!(ready(&mut watch), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_shown_as_it_was_at_the_revision_of_its_end() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let mut watch = cluster.watch("configmaps", &from(version(&made))).await;
    cluster.delete("configmaps/a").await;
    let items = ready_items(&mut watch);
    let last = value(&items[0].object);
    assert_eq!((items[0].kind, &last["data"]), (WatchKind::Deleted, &made["data"]));
    let number = |text: &str| text.parse::<u64>().expect("a number");
    assert!(number(version(&last)) > number(version(&made)));
}

#[tokio::test(start_paused = true)]
async fn one_object_can_be_watched_by_name() {
    let cluster = Cluster::start().await;
    let options = WatchOptions { field_selector: "metadata.name=a".to_owned(), ..WatchOptions::default() };
    let mut watch = cluster.watch("configmaps", &options).await;
    for name in ["a", "ab", "b"] {
        cluster.create("configmaps", config_map(name)).await;
    }
    cluster.delete("configmaps/ab").await;
    cluster.delete("configmaps/a").await;
    assert_eq!(ready(&mut watch), ["ADDED a", "DELETED a"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_a_bookmark_a_minute_that_it_can_resume_from() {
    let cluster = Cluster::start().await;
    let options = WatchOptions { allow_bookmarks: true, ..WatchOptions::default() };
    let mut watch = cluster.watch("configmaps", &options).await;
    assert_eq!(ready(&mut watch), Vec::<String>::new());
    let secret = cluster.create("secrets", json!({"metadata": {"name": "other"}})).await;
    let started = tokio::time::Instant::now();
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark.kind, WatchKind::Bookmark);
    assert_eq!(started.elapsed().as_secs() / 60, 1);
    let bookmark = value(&bookmark.object);
    let number = |text: &str| text.parse::<u64>().expect("a number");
    assert!(number(version(&bookmark)) >= number(version(&secret)));
    cluster.create("configmaps", config_map("a")).await;
    assert_eq!(ready(&mut cluster.watch("configmaps", &from(version(&bookmark))).await), ["ADDED a"]);
    let mut without = cluster.watch("configmaps", &from("0")).await;
    assert_eq!(without.next().await.map(|item| text(&item)), Some("ADDED a".to_owned()));
    assert!(tokio::time::timeout(Duration::from_secs(300), without.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_history_has_forgotten_is_an_error_in_the_stream() {
    let cluster = Cluster::start().await;
    let made = cluster.create("configmaps", config_map("a")).await;
    let short = cluster.with_history(HistoryBounds { changes: 4, ..HistoryBounds::default() }).await;
    for round in 0..20 {
        short.merge("configmaps/a", json!({"data": {"a": round.to_string()}})).await;
    }
    let mut watch = short.watch("configmaps", &from(version(&made))).await;
    let error = watch.next().await.expect("an error");
    assert_eq!(error.kind, WatchKind::Error);
    let status = value(&error.object);
    assert_eq!((&status["reason"], &status["code"]), (&json!("Expired"), &json!(410)));
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_moment_that_is_forgotten_are_told_where_to_go_on() {
    let cluster = Cluster::start().await;
    for name in ["a", "b", "c"] {
        cluster.create("configmaps", config_map(name)).await;
    }
    let short = cluster.with_history(HistoryBounds { changes: 4, ..HistoryBounds::default() }).await;
    let first = apiserver::verbs::ListOptions { limit: 1, ..Default::default() };
    let page = short.try_list("configmaps", &first).await.expect("a page");
    for round in 0..20 {
        short.merge("configmaps/a", json!({"data": {"a": round.to_string()}})).await;
    }
    let next = apiserver::verbs::ListOptions { continue_token: page.continue_token, ..first };
    let expired = short.try_list("configmaps", &next).await.expect_err("forgotten");
    assert_eq!(expired.code(), 410);
    let rest = apiserver::verbs::ListOptions {
        limit: 0,
        continue_token: expired.continue_token,
        ..Default::default()
    };
    assert_eq!(short.names("configmaps", &rest).await, ["b", "c"]);
}
