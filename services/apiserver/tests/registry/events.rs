use apiserver::verbs::{ListOptions, WatchOptions};
use serde_json::json;

use crate::cluster::{Cluster, ready};

#[tokio::test(start_paused = true)]
async fn both_event_groups_show_one_event() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.watch("events.events.k8s.io", &WatchOptions::default()).await;
    let event = json!({
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
        "reason": "Started", "message": "Started container", "type": "Normal",
        "source": {"component": "kubelet"}, "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"
    });
    cluster.create("events", event).await;
    assert_eq!(ready(&mut watch), ["ADDED e"]);
    let newer = cluster.get("events.events.k8s.io/e").await;
    assert_eq!((&newer["apiVersion"], &newer["kind"]), (&json!("events.k8s.io/v1"), &json!("Event")));
    assert_eq!(newer["note"], "Started container");
    assert_eq!(newer["regarding"]["name"], "a");
    cluster.merge("events/e", json!({"count": 2})).await;
    assert_eq!(ready(&mut watch), ["MODIFIED e"]);
    assert_eq!(cluster.get("events.events.k8s.io/e").await["deprecatedCount"], 2);
    let modern = json!({
        "metadata": {"name": "f"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "a"},
        "reason": "Started", "note": "Started container", "type": "Normal", "action": "Start",
        "reportingController": "x.io/kubelet", "reportingInstance": "n1", "eventTime": "2026-01-01T00:00:00.000000Z"
    });
    cluster.create("events.events.k8s.io", modern).await;
    let core = cluster.get("events/f").await;
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("Started container")));
    assert_eq!(core["involvedObject"]["name"], "a");
    assert_eq!(cluster.names("events", &ListOptions::default()).await, ["e", "f"]);
}
