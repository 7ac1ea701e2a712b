//! Making, reading, changing and deleting objects.

use serde_json::{Value, json};

use crate::raw::{Answer, Raw};
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Posts a ConfigMap.
pub async fn create_map(raw: &mut Raw, name: &str, data: Value) -> Answer {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    raw.send("POST", MAPS, &[("content-type", "application/json")], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn an_object_lives_from_post_to_delete() {
    for protocol in ["http/1.1", "h2"] {
        let server = Server::start().await;
        let mut raw = Raw::connect(server.folder.path(), server.port, true, protocol).await;
        let made = create_map(&mut raw, "a", json!({"k": "1"})).await;
        assert_eq!(made.code, 201, "{}", made.text());
        let first = made.json();
        assert!(!first["metadata"]["uid"].as_str().unwrap().is_empty());

        let read = raw.get(&format!("{MAPS}/a")).await;
        assert_eq!((read.code.as_u16(), &read.json()), (200, &first));

        let mut changed = first.clone();
        changed["data"]["k"] = json!("2");
        let json = [("content-type", "application/json")];
        let put = raw.send("PUT", &format!("{MAPS}/a"), &json, changed.to_string().as_bytes()).await;
        assert_eq!((put.code.as_u16(), &put.json()["data"]["k"]), (200, &json!("2")));
        let stale = raw.send("PUT", &format!("{MAPS}/a"), &json, first.to_string().as_bytes()).await;
        assert_eq!((stale.code.as_u16(), &stale.json()["reason"]), (409, &json!("Conflict")));

        let deleted = raw.send("DELETE", &format!("{MAPS}/a"), &[], b"").await;
        assert_eq!((deleted.code.as_u16(), &deleted.json()["status"]), (200, &json!("Success")));
        assert_eq!(raw.get(&format!("{MAPS}/a")).await.code, 404);
    }
}

#[tokio::test]
async fn pages_of_a_list_agree_and_selectors_choose() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for n in 0..5 {
        create_map(&mut raw, &format!("m{n}"), json!({})).await;
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = raw.get(&format!("{MAPS}?limit=2")).await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    create_map(&mut raw, "m2b", json!({})).await;
    let next = first["metadata"]["continue"].as_str().unwrap();
    let second = raw.get(&format!("{MAPS}?limit=10&continue={next}")).await.json();
    assert_eq!([names(&first), names(&second)].concat(), ["m0", "m1", "m2", "m3", "m4"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let one = raw.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dm3").await.json();
    assert_eq!((names(&one), &one["kind"]), (vec!["m3".to_owned()], &json!("ConfigMapList")));
}

#[tokio::test]
async fn a_collection_is_deleted_with_options_in_the_body() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for name in ["a", "b"] {
        create_map(&mut raw, name, json!({})).await;
    }
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    let deleted = raw
        .send("DELETE", MAPS, &[("content-type", "application/json")], options.to_string().as_bytes())
        .await;
    assert_eq!(deleted.code, 200, "{}", deleted.text());
    assert_eq!(raw.get(MAPS).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_dry_run_answers_and_changes_nothing() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let body = json!({"metadata": {"name": "a"}});
    let answer = raw.send("POST", &format!("{MAPS}?dryRun=All"), &[], body.to_string().as_bytes()).await;
    assert_eq!((answer.code.as_u16(), &answer.json()["metadata"]["name"]), (201, &json!("a")));
    assert_eq!(raw.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn yaml_goes_in_and_comes_out() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = raw.send("POST", MAPS, &headers, yaml).await;
    assert_eq!((made.code.as_u16(), made.header("content-type")), (201, "application/yaml"));
    let value: Value = serde_saphyr::from_str(&made.text()).unwrap();
    assert_eq!(value["data"]["k"], "v");
}

#[tokio::test]
async fn the_first_objects_are_there() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for path in [
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces/kube-public",
        "/api/v1/namespaces/kube-node-lease",
        "/api/v1/namespaces/default/services/kubernetes",
    ] {
        assert_eq!(raw.get(path).await.code, 200, "{path}");
    }
}
