//! What the server says about itself.

use serde_json::json;

use crate::raw::Raw;
use crate::server::Server;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

#[tokio::test]
async fn old_and_new_clients_find_the_same_resources() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    assert_eq!(raw.get("/api").await.json()["versions"], json!(["v1"]));
    let plain = raw.get("/api/v1").await.json();
    let pods =
        plain["resources"].as_array().unwrap().iter().find(|one| one["name"] == "pods").unwrap().clone();
    assert_eq!((&pods["kind"], &pods["shortNames"]), (&json!("Pod"), &json!(["po"])));

    let answer = raw.send("GET", "/api", &[("accept", AGGREGATED)], b"").await;
    assert_eq!(
        answer.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let resources = answer.json()["items"][0]["versions"][0]["resources"].clone();
    let found = resources.as_array().unwrap().iter().find(|one| one["resource"] == "pods").unwrap();
    assert_eq!((&found["verbs"], &found["shortNames"]), (&pods["verbs"], &pods["shortNames"]));

    let groups = raw.get("/apis").await.json();
    let apps =
        groups["groups"].as_array().unwrap().iter().find(|group| group["name"] == "apps").unwrap().clone();
    assert_eq!(apps["preferredVersion"], json!({"groupVersion": "apps/v1", "version": "v1"}));
    assert_eq!(raw.get("/apis/apps").await.json()["kind"], "APIGroup");
    assert_eq!(raw.get("/apis/apps/v1").await.json()["groupVersion"], "apps/v1");
}

#[tokio::test]
async fn a_document_that_the_client_has_is_not_sent_again() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let first = raw.send("GET", "/apis", &[("accept", AGGREGATED)], b"").await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    let again = raw.send("GET", "/apis", &[("accept", AGGREGATED), ("if-none-match", &etag)], b"").await;
    assert_eq!((again.code.as_u16(), again.body.len()), (304, 0));
}

#[tokio::test]
async fn openapi_names_a_document_for_each_group_version() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let index = raw.get("/openapi/v3").await.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = raw.get(&url).await;
    assert_eq!(document.code, 200);
    assert_eq!(document.json()["openapi"].as_str().map(|version| &version[..2]), Some("3."));
    assert!(document.header("cache-control").contains("immutable"), "{:?}", document.headers);
    assert_eq!(raw.get("/openapi/v3/apis/apps/v9").await.code, 404);

    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let old =
        raw.send("GET", "/openapi/v2", &[("accept", &format!("{protobuf},application/json"))], b"").await;
    assert_eq!(old.code, 200);
    assert!(old.header("content-type").ends_with("+protobuf"), "{:?}", old.headers);
    assert!(!old.body.is_empty());
}

#[tokio::test]
async fn the_server_tells_its_version_health_and_metrics() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    assert_eq!(raw.get("/version").await.json()["minor"], "35");
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(raw.get(path).await.text(), "ok", "{path}");
    }
    assert!(raw.get("/readyz?verbose").await.text().ends_with("readyz check passed\n"));
    raw.get("/api/v1/namespaces").await;
    let metrics = raw.get("/metrics").await.text();
    let counted = "apiserver_request_total{code=\"200\",component=\"apiserver\",group=\"\",resource=\"namespaces\",\
                   scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn without_a_certificate_only_health_and_version_are_shown() {
    let server = Server::start().await;
    let mut nobody = Raw::connect(server.folder.path(), server.port, false, "http/1.1").await;
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(nobody.get(path).await.code, 200, "{path}");
    }
    for path in ["/api", "/apis", "/metrics", "/api/v1/pods", "/nowhere"] {
        let answer = nobody.get(path).await;
        assert_eq!((answer.code.as_u16(), &answer.json()["reason"]), (401, &json!("Unauthorized")), "{path}");
    }
}
