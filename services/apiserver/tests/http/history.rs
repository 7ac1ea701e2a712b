//! What was written about an object, and when.

use serde_json::json;

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn the_history_has_every_write_with_its_place_and_time() {
    let server = Server::start().await;
    let mut admin = server.raw().await;
    let map = |text: &str| json!({"metadata": {"name": "m"}, "data": {"k": text}}).to_string();
    admin.send("POST", MAPS, &[JSON], map("1").as_bytes()).await;
    admin.send("PUT", &format!("{MAPS}/m"), &[JSON], map("2").as_bytes()).await;
    admin.send("DELETE", &format!("{MAPS}/m"), &[], b"").await;
    let answer = admin.get("/sampan/history?key=core/configmaps/default/m").await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let history = answer.json();
    let writes = history["writes"].as_array().unwrap();
    let told: Vec<_> = writes
        .iter()
        .map(|write| (write["created"] == true, write["object"]["data"]["k"].as_str()))
        .collect();
    assert_eq!(told, [(true, Some("1")), (false, Some("2")), (false, None)]);
    for write in writes {
        assert!(write["time"].is_string(), "{write}");
        assert_eq!(write["revision"].as_u64().unwrap() / 1024, write["sequence"].as_u64().unwrap());
        assert!(write["revision"].as_u64() <= history["reached"].as_u64());
    }
    assert!(writes.is_sorted_by_key(|write| write["revision"].as_u64()));
}

#[tokio::test]
async fn the_history_is_shown_to_those_who_may_get_the_object() {
    let server = Server::start().await;
    let mut admin = server.raw().await;
    let user = ("impersonate-user", "somebody");
    let path = "/sampan/history?key=core/configmaps/default/m";
    assert_eq!(admin.send("GET", path, &[user], b"").await.code, 403, "not the path");
    let role = json!({
        "metadata": {"name": "history"},
        "rules": [{"verbs": ["get"], "nonResourceURLs": ["/sampan/history"]}],
    });
    let binding = json!({
        "metadata": {"name": "history"}, "roleRef": {"kind": "ClusterRole", "name": "history"},
        "subjects": [{"kind": "User", "name": "somebody"}],
    });
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        assert_eq!(admin.send("POST", &path, &[JSON], object.to_string().as_bytes()).await.code, 201);
    }
    let refused = admin.send("GET", path, &[user], b"").await;
    assert_eq!(refused.code, 403, "nor what is there");
    assert!(refused.text().contains("cannot get resource"), "{}", refused.text());
    for wrong in ["/sampan/history", "/sampan/history?key=pods", "/sampan/history?key=fence/pods/binder/x"] {
        assert_eq!(admin.get(wrong).await.code, 400, "{wrong}");
    }
}
