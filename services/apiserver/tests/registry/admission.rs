use std::collections::HashSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::cluster::{Cluster, pod};

fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}]}
    })
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_in_a_namespace_that_is_not_there() {
    let cluster = Cluster::start().await;
    let refused = cluster
        .try_create("nowhere:configmaps", json!({"metadata": {"name": "a"}}))
        .await
        .expect_err("nowhere");
    assert_eq!((refused.code(), refused.message.as_str()), (404, "namespaces \"nowhere\" not found"));
    let other = cluster.another().await;
    cluster.create("namespaces", json!({"metadata": {"name": "somewhere"}})).await;
    other.create("somewhere:configmaps", json!({"metadata": {"name": "a"}})).await;
}

#[tokio::test(start_paused = true)]
async fn some_namespaces_never_go() {
    let cluster = Cluster::start().await;
    let refused = cluster.try_delete("namespaces/default", &Default::default()).await.expect_err("immortal");
    assert_eq!(refused.message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_an_account_a_priority_and_patience_with_its_node() {
    let cluster = Cluster::start().await;
    let made = cluster.create("pods", pod("a")).await;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    let tolerations = made["spec"]["tolerations"].as_array().expect("tolerations");
    let keys: Vec<&str> = tolerations.iter().filter_map(|one| one["key"].as_str()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    assert!(tolerations.iter().all(|one| one["tolerationSeconds"] == 300));

    let mut critical = pod("b");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    critical["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let made = cluster.create("pods", critical).await;
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(1));

    let mut unknown = pod("c");
    unknown["spec"]["priorityClassName"] = json!("nonsense");
    let refused = cluster.try_create("pods", unknown).await.expect_err("no such class");
    assert_eq!(refused.message, "pods \"c\" is forbidden: no PriorityClass with name nonsense was found");
    let mut stranger = pod("d");
    stranger["spec"]["serviceAccountName"] = json!("nobody");
    assert_eq!(cluster.try_create("pods", stranger).await.expect_err("no such account").code(), 403);
}

#[tokio::test(start_paused = true)]
async fn no_two_services_have_one_address_whichever_server_gives_it_out() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    let made = join_all((0..40).map(|index| {
        let server = if index % 2 == 0 { &cluster } else { &other };
        server.create("services", service(&format!("s{index}")))
    }))
    .await;
    let addresses: HashSet<&str> = made.iter().filter_map(|one| one["spec"]["clusterIP"].as_str()).collect();
    assert_eq!(addresses.len(), 40);
    assert!(addresses.iter().all(|address| address.starts_with("10.96.")));
    assert!(made.iter().all(|one| one["spec"]["clusterIPs"][0] == one["spec"]["clusterIP"]));
}

#[tokio::test(start_paused = true)]
async fn an_address_asked_for_is_given_once_and_comes_back_with_its_service() {
    let cluster = Cluster::start().await;
    let with = |name: &str, address: &str| {
        let mut wanted = service(name);
        wanted["spec"]["clusterIP"] = json!(address);
        wanted
    };
    cluster.create("services", with("dns", "10.96.0.10")).await;
    let refused = cluster.try_create("services", with("other", "10.96.0.10")).await.expect_err("taken");
    assert_eq!(refused.code(), 422);
    assert!(refused.message.contains("provided IP is already allocated"), "{refused}");
    assert!(cluster.try_create("services", with("far", "192.168.0.1")).await.is_err());
    cluster.delete("services/dns").await;
    cluster.create("services", with("other", "10.96.0.10")).await;
    let headless = cluster.create("services", with("headless", "None")).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_the_address_and_a_change_of_type_takes_or_frees_a_port() {
    let cluster = Cluster::start().await;
    let made = cluster.create("services", service("web")).await;
    assert_eq!(made["spec"]["ports"][0]["nodePort"], json!(null));
    let replaced = cluster.update("services/web", service("web")).await;
    assert_eq!(replaced["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let opened = cluster.merge("services/web", json!({"spec": {"type": "NodePort"}})).await;
    let port = opened["spec"]["ports"][0]["nodePort"].as_u64().expect("a port");
    assert!((30_000..=32_767).contains(&port));
    let mut twin = service("twin");
    twin["spec"]["type"] = json!("NodePort");
    twin["spec"]["ports"][0]["nodePort"] = json!(port);
    let refused = cluster.try_create("services", twin.clone()).await.expect_err("taken");
    assert!(refused.message.contains("provided port is already allocated"), "{refused}");
    cluster.merge("services/web", json!({"spec": {"type": "ClusterIP"}})).await;
    cluster.create("services", twin).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_begins_with_its_own_service() {
    let cluster = Cluster::start().await;
    let service = cluster.get("services/kubernetes").await;
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        cluster.get(&format!("namespaces/{name}")).await;
    }
}
