//! What is refused, and in which words.

use serde_json::{Value, json};
use store::memory::{Faults, MemoryLog};

use crate::objects::create_map;
use crate::raw::Answer;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn refusal(answer: &Answer) -> (u16, String) {
    let status = answer.json();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{status}");
    assert_eq!(status["code"], answer.code.as_u16());
    (answer.code.as_u16(), status["reason"].as_str().unwrap_or("").to_owned())
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let cases = [
        ("GET", "/api/v1/widgets", 404, "NotFound"),
        ("GET", "/apis/apps/v9/deployments", 404, "NotFound"),
        ("GET", "/nowhere", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/pods/a/nothing", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/nodes/a", 404, "NotFound"),
        ("POST", "/api/v1/pods", 405, "MethodNotAllowed"),
        ("PUT", MAPS, 405, "MethodNotAllowed"),
        ("POST", "/version", 405, "MethodNotAllowed"),
        ("OPTIONS", MAPS, 405, "MethodNotAllowed"),
    ];
    for (method, path, code, reason) in cases {
        let answer = raw.send(method, path, &[], b"").await;
        assert_eq!(refusal(&answer), (code, reason.to_owned()), "{method} {path}");
    }
    let missing = raw.get(&format!("{MAPS}/a")).await.json();
    assert_eq!(missing["message"], "configmaps \"a\" not found");
    assert_eq!(missing["details"], json!({"name": "a", "kind": "configmaps"}));
}

#[tokio::test]
async fn bodies_that_cannot_be_used() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let large = format!(r#"{{"metadata":{{"name":"a"}},"data":{{"k":"{}"}}}}"#, "x".repeat(3 * 1024 * 1024));
    let cases: [(&str, &[u8], u16, &str); 6] = [
        ("application/json", b"{", 400, "BadRequest"),
        ("application/json", br#"{"kind":"Pod","apiVersion":"v1"}"#, 400, "BadRequest"),
        ("application/json", br#"{"metadata":{"name":1}}"#, 400, "BadRequest"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0rubbish", 400, "BadRequest"),
        ("text/plain", b"{}", 415, "UnsupportedMediaType"),
        ("application/json", large.as_bytes(), 413, "RequestEntityTooLarge"),
    ];
    for (content_type, body, code, reason) in cases {
        let mut raw = server.raw().await;
        let answer = raw.send("POST", MAPS, &[("content-type", content_type)], body).await;
        assert_eq!(refusal(&answer), (code, reason.to_owned()), "{content_type}: {}", answer.text());
    }
    let invalid = create_map(&mut raw, "Not_A_Name", json!({})).await;
    assert_eq!(refusal(&invalid), (422, "Invalid".to_owned()));
    assert_eq!(
        refusal(&{
            create_map(&mut raw, "a", json!({})).await;
            create_map(&mut raw, "a", json!({})).await
        }),
        (409, "AlreadyExists".to_owned())
    );
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_refused_told_or_ignored() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let body = br#"{"metadata":{"name":"a"},"data":{"k":"1","k":"2"},"colour":"red"}"#;
    let strict = raw.send("POST", &format!("{MAPS}?fieldValidation=Strict"), &JSON, body).await;
    assert_eq!(refusal(&strict), (400, "BadRequest".to_owned()));
    let message = strict.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("strict decoding error: "), "{message}");
    assert!(message.contains("unknown field \"colour\"") && message.contains("duplicate field"), "{message}");

    let warned = raw.send("POST", &format!("{MAPS}?dryRun=All"), &JSON, body).await;
    let warnings: Vec<&str> =
        warned.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(warnings.iter().any(|text| text.contains("unknown field")), "{warnings:?}");
    let ignored = raw.send("POST", &format!("{MAPS}?fieldValidation=Ignore"), &JSON, body).await;
    assert_eq!((ignored.code.as_u16(), ignored.headers.get("warning")), (201, None));
    assert_eq!(ignored.json().get("colour"), None);
}

#[tokio::test]
async fn a_revision_that_is_no_longer_kept_is_told_among_the_events() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let answer = raw.get(&format!("{MAPS}?watch=true&resourceVersion=rubbish")).await;
    assert_eq!(answer.code, 400, "{}", answer.text());
    let limit = raw.get(&format!("{MAPS}?limit=many")).await;
    assert_eq!(refusal(&limit), (400, "BadRequest".to_owned()));
}

#[tokio::test]
async fn before_the_store_is_there_objects_are_unavailable_and_health_is_told() {
    let server = Server::start_without_objects().await;
    let mut raw = server.raw().await;
    let answer = raw.get(MAPS).await;
    assert_eq!(refusal(&answer), (503, "ServiceUnavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(raw.get("/livez").await.code, 200);
    assert_eq!(raw.get("/version").await.code, 200);
}

#[tokio::test]
async fn while_the_log_is_away_writes_are_refused_and_work_again_afterwards() {
    let log = MemoryLog::new(1, Faults::default());
    let server = Server::start_on(log.clone()).await;
    let mut raw = server.raw().await;
    assert_eq!(create_map(&mut raw, "a", json!({})).await.code, 201);
    log.crash();
    let refused = create_map(&mut raw, "b", json!({})).await;
    assert_eq!(refusal(&refused), (503, "ServiceUnavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    let stale = raw.get(&format!("{MAPS}/a?resourceVersion=0")).await;
    assert_eq!(stale.code, 200, "what is at hand can be read: {}", stale.text());
    log.restart();
    let made: Value = testkit::eventually("a write works again", || {
        let request = server.raw();
        async move {
            let answer = create_map(&mut request.await, "c", json!({})).await;
            (answer.code == 201).then(|| answer.json())
        }
    })
    .await;
    assert_eq!(made["metadata"]["name"], "c");
}
