use apiserver::verbs::{self, Body, FieldValidation, WriteOptions};
use model::Reason;
use serde_json::json;

use crate::cluster::{Cluster, NOW, config_map, context, pod, value};

#[tokio::test(start_paused = true)]
async fn an_object_gets_what_only_the_server_knows() {
    let cluster = Cluster::start().await;
    let mut sent = config_map("a");
    sent["metadata"]["uid"] = json!("mine");
    sent["metadata"]["deletionTimestamp"] = json!(NOW);
    let made = cluster.create("configmaps", sent).await;
    assert_eq!(made["apiVersion"], "v1");
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["creationTimestamp"], NOW);
    assert_eq!(made["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(made["metadata"]["deletionTimestamp"], json!(null));
    assert!(
        made["metadata"]["resourceVersion"].as_str().is_some_and(|version| version.parse::<u64>().is_ok())
    );
    assert_eq!(cluster.get("configmaps/a").await, made);
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_refused_whichever_server_is_asked() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    cluster.create("configmaps", config_map("a")).await;
    let refused = other.try_create("configmaps", config_map("a")).await.expect_err("taken");
    assert_eq!(refused.reason, Reason::AlreadyExists);
    assert_eq!(refused.message, "configmaps \"a\" already exists");
}

#[tokio::test(start_paused = true)]
async fn a_generated_name_begins_as_asked_and_is_never_one_that_is_taken() {
    let cluster = Cluster::start().await;
    let sent = json!({"metadata": {"generateName": "web-"}});
    let made = cluster.create("configmaps", sent.clone()).await;
    let again = cluster.create("configmaps", sent).await;
    assert!(
        made["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("web-") && name.len() == 9)
    );
    assert_ne!(made["metadata"]["name"], again["metadata"]["name"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_about_what_the_path_names() {
    let cluster = Cluster::start().await;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    let refused = cluster.try_create("configmaps", elsewhere).await.expect_err("another namespace");
    assert_eq!(refused.reason, Reason::BadRequest);
    assert!(refused.message.contains("does not match the namespace sent on the request"), "{refused}");
    let refused = cluster
        .try_create("configmaps", json!({"apiVersion": "v2", "metadata": {"name": "a"}}))
        .await
        .expect_err("another version");
    let wanted = "the API version in the data (v2) does not match the expected API version (v1)";
    assert_eq!(refused.message, wanted);
    let versioned = json!({"metadata": {"name": "a", "resourceVersion": "5"}});
    assert!(cluster.try_create("configmaps", versioned).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_refused_warned_of_or_passed_over() {
    let cluster = Cluster::start().await;
    let target = cluster.target("configmaps");
    let create = async |name: &str, field_validation| {
        let object = cluster.body(&target, &config_map(name)).object;
        let body = Body { object, unknown: vec!["spec".to_owned()], duplicate: vec!["data.a".to_owned()] };
        let options = WriteOptions { field_validation, ..WriteOptions::default() };
        verbs::create(&cluster.registry, &context(), &target, body, &options).await
    };
    let refused = create("a", FieldValidation::Strict).await.expect_err("strict");
    assert_eq!(
        refused.message,
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \
         \"spec\", duplicate field \"data.a\""
    );
    let warned = create("a", FieldValidation::Warn).await.expect("a warning");
    assert_eq!(warned.warnings, ["unknown field \"spec\"", "duplicate field \"data.a\""]);
    assert!(create("b", FieldValidation::Ignore).await.expect("silence").warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_as_if_and_writes_nothing() {
    let cluster = Cluster::start().await;
    let target = cluster.target("configmaps");
    let body = cluster.body(&target, &config_map("a"));
    let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let stored =
        verbs::create(&cluster.registry, &context(), &target, body.clone(), &options).await.expect("room");
    assert_eq!(value(&stored.object)["metadata"]["name"], "a");
    assert!(cluster.is_gone("configmaps/a").await);
    cluster.create("configmaps", config_map("a")).await;
    let refused = verbs::create(&cluster.registry, &context(), &target, body, &options).await;
    assert_eq!(refused.expect_err("taken").reason, Reason::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_one_node_and_keeps_it() {
    let cluster = Cluster::start().await;
    cluster.create("pods", pod("a")).await;
    let to = |node: &str| json!({"target": {"kind": "Node", "name": node}});
    let answer = cluster.create("pods/a/binding", to("n1")).await;
    assert_eq!(
        (&answer["kind"], &answer["status"], &answer["code"]),
        (&json!("Status"), &json!("Success"), &json!(201))
    );
    let bound = cluster.get("pods/a").await;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let conditions = bound["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|one| one["type"] == "PodScheduled" && one["status"] == "True"));
    let refused = cluster.try_create("pods/a/binding", to("n2")).await.expect_err("bound");
    assert_eq!(
        refused.message,
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
    );
}
