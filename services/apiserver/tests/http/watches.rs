//! Watches as bytes.

use serde_json::{Value, json};
use store::HistoryBounds;
use store::memory::{Faults, MemoryLog};

use crate::objects::create_map;
use crate::raw::Raw;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn seen(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_happens_after_its_revision() {
    for protocol in ["http/1.1", "h2"] {
        let server = Server::start().await;
        let mut raw = server.raw().await;
        create_map(&mut raw, "before", json!({})).await;
        let revision = raw.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let mut watcher = Raw::connect(server.folder.path(), server.port, true, protocol).await;
        let mut events = watcher.lines(&format!("{MAPS}?watch=1&resourceVersion={revision}"), &[]).await;
        create_map(&mut raw, "after", json!({})).await;
        let merge = [("content-type", "application/merge-patch+json")];
        raw.send("PATCH", &format!("{MAPS}/after"), &merge, br#"{"data":{"k":"1"}}"#).await;
        raw.send("DELETE", &format!("{MAPS}/after"), &[], b"").await;
        for kind in ["ADDED", "MODIFIED", "DELETED"] {
            assert_eq!(seen(&events.next().await.unwrap()), pair(kind, "after"), "{protocol}");
        }
    }
}

#[tokio::test]
async fn the_initial_events_end_with_a_bookmark() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    create_map(&mut raw, "a", json!({})).await;
    let query =
        "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watcher = server.raw().await;
    let mut events = watcher.lines(&format!("{MAPS}?{query}"), &[]).await;
    assert_eq!(seen(&events.next().await.unwrap()), pair("ADDED", "a"));
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn a_table_watch_has_headings_once() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let mut watcher = server.raw().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut events = watcher.lines(&format!("{MAPS}?watch=true"), &accept).await;
    for name in ["a", "b"] {
        create_map(&mut raw, name, json!({})).await;
    }
    let (first, second) = (events.next().await.unwrap(), events.next().await.unwrap());
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn a_watch_ends_when_the_client_said() {
    let server = Server::start().await;
    let mut watcher = server.raw().await;
    let mut events = watcher.lines(&format!("{MAPS}?watch=true&timeoutSeconds=1"), &[]).await;
    assert_eq!(events.next().await, None);
    // The connection is as good as before.
    assert_eq!(watcher.get("/version").await.code, 200);
}

#[tokio::test]
async fn watches_end_with_the_server_and_requests_under_way_do_not_hold_it() {
    for protocol in ["http/1.1", "h2"] {
        let mut server = Server::start().await;
        let mut watcher = Raw::connect(server.folder.path(), server.port, true, protocol).await;
        let mut events = watcher.lines(&format!("{MAPS}?watch=true"), &[]).await;
        let started = std::time::Instant::now();
        server.end().await;
        assert_eq!(events.next().await, None, "{protocol}");
        assert!(started.elapsed().as_secs() < 5, "{protocol}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_watch_of_one_object_by_the_old_path() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for name in ["a", "b"] {
        create_map(&mut raw, name, json!({})).await;
    }
    let mut watcher = server.raw().await;
    let mut events =
        watcher.lines("/api/v1/watch/namespaces/default/configmaps/b?resourceVersion=0", &[]).await;
    assert_eq!(seen(&events.next().await.unwrap()), pair("ADDED", "b"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_holds_nobody() {
    let history = HistoryBounds { changes: 50, ..HistoryBounds::default() };
    let server = Server::start_with(MemoryLog::new(1, Faults::default()), history).await;
    let (mut slow, mut fast) =
        (server.raw().await, Raw::connect(server.folder.path(), server.port, true, "h2").await);
    let mut unread = slow.lines(&format!("{MAPS}?watch=true"), &[]).await;
    let mut events = fast.lines(&format!("{MAPS}?watch=true"), &[]).await;
    let mut raw = server.raw().await;
    // More than the buffers of the connection and the history hold together.
    let (count, padding) = (400, "x".repeat(50_000));
    for n in 0..count {
        let made = create_map(&mut raw, &format!("m{n}"), json!({"k": padding})).await;
        assert_eq!(made.code, 201);
        assert_eq!(seen(&events.next().await.unwrap()), pair("ADDED", &format!("m{n}")));
    }
    let mut told = 0;
    while unread.next().await.is_some() {
        told += 1;
    }
    assert!(told < count, "all {told} events were kept for a client that did not read");
    // It starts again, and is told that it has to look at everything.
    let mut again = server.raw().await;
    let mut events = again.lines(&format!("{MAPS}?watch=true&resourceVersion=2"), &[]).await;
    let expired = events.next().await.unwrap();
    assert_eq!((&expired["type"], &expired["object"]["code"]), (&json!("ERROR"), &json!(410)));
}
