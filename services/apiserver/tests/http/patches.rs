//! The formats of a patch.

use serde_json::{Value, json};

use crate::objects::create_map;
use crate::raw::Answer;
use crate::server::Server;

async fn patched(content_type: &str, patch: Value) -> Answer {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    create_map(&mut raw, "a", json!({"k": "1", "l": "2"})).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    raw.send("PATCH", path, &[("content-type", content_type)], patch.to_string().as_bytes()).await
}

#[tokio::test]
async fn each_format_changes_the_object_in_its_way() {
    let cases = [
        ("application/merge-patch+json", json!({"data": {"k": null, "m": "3"}})),
        ("application/strategic-merge-patch+json", json!({"data": {"k": null, "m": "3"}})),
        (
            "application/json-patch+json",
            json!([{"op": "remove", "path": "/data/k"}, {"op": "add", "path": "/data/m", "value": "3"}]),
        ),
    ];
    for (content_type, patch) in cases {
        let answer = patched(content_type, patch).await;
        assert_eq!(answer.code, 200, "{content_type}: {}", answer.text());
        assert_eq!(answer.json()["data"], json!({"l": "2", "m": "3"}), "{content_type}");
    }
}

#[tokio::test]
async fn another_format_is_not_supported() {
    let answer = patched("application/json", json!({})).await;
    assert_eq!((answer.code.as_u16(), &answer.json()["reason"]), (415, &json!("UnsupportedMediaType")));
    assert!(answer.text().contains("application/strategic-merge-patch+json"));
}

#[tokio::test]
async fn a_patch_that_cannot_be_used_is_refused() {
    let malformed = patched("application/json-patch+json", json!({"op": "remove"})).await;
    assert_eq!(malformed.code, 400, "{}", malformed.text());
    let elsewhere = json!([{"op": "remove", "path": "/data/nowhere"}]);
    assert_eq!(patched("application/json-patch+json", elsewhere).await.code, 422);
}
