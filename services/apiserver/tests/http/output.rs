//! The forms of an answer.

use std::io::Read;

use serde_json::{Value, json};

use crate::objects::create_map;
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn lists_and_objects_are_shown_as_tables() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    create_map(&mut raw, "a", json!({"k": "1"})).await;
    for (path, include) in [(MAPS.to_owned(), "Metadata"), (format!("{MAPS}/a"), "Object")] {
        let path = format!("{path}?includeObject={include}");
        let table = raw.send("GET", &path, &[("accept", TABLE)], b"").await.json();
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
        assert_eq!(table["rows"][0]["cells"][0], "a");
        let kind = if include == "Object" { "ConfigMap" } else { "PartialObjectMetadata" };
        assert_eq!(table["rows"][0]["object"]["kind"], kind);
    }
}

#[tokio::test]
async fn metadata_alone_is_shown() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    create_map(&mut raw, "a", json!({"k": "1"})).await;
    let list = raw.send("GET", MAPS, &[("accept", METADATA)], b"").await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!((&list["items"][0]["metadata"]["name"], list["items"][0].get("data")), (&json!("a"), None));
}

#[tokio::test]
async fn large_lists_are_compressed_for_clients_that_take_it() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for n in 0..4 {
        create_map(&mut raw, &format!("m{n}"), json!({"k": "x".repeat(50_000)})).await;
    }
    let plain = raw.get(MAPS).await;
    assert_eq!(plain.header("content-length"), plain.body.len().to_string());
    let packed = raw.send("GET", MAPS, &[("accept-encoding", "gzip")], b"").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&unpacked).unwrap(), plain.json());
    let small = raw.send("GET", "/api/v1/namespaces", &[("accept-encoding", "gzip")], b"").await;
    assert_eq!(small.header("content-encoding"), "");
}

#[tokio::test]
async fn people_get_indentation() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let pretty = raw.get("/api/v1/namespaces/default?pretty=true").await;
    assert!(pretty.text().starts_with("{\n  \""), "{}", pretty.text());
}

#[tokio::test]
async fn protobuf_alone_is_not_acceptable_but_with_json_beside_it_is() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let protobuf = "application/vnd.kubernetes.protobuf";
    let refused = raw.send("GET", MAPS, &[("accept", protobuf)], b"").await;
    assert_eq!((refused.code.as_u16(), &refused.json()["reason"]), (406, &json!("NotAcceptable")));
    let both = raw.send("GET", MAPS, &[("accept", &format!("{protobuf},application/json"))], b"").await;
    assert_eq!((both.code.as_u16(), both.header("content-type")), (200, "application/json"));
}
