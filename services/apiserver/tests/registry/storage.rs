//! Volumes and claims: the default class, what protects them, and what may change.

use serde_json::{Value, json};

use crate::cluster::Cluster;

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_class_gets_the_one_that_a_cluster_begins_with() {
    let cluster = Cluster::start().await;
    let class = cluster.get("storageclasses.storage.k8s.io/local-path").await;
    assert_eq!(
        (&class["provisioner"], &class["volumeBindingMode"], &class["reclaimPolicy"]),
        (&json!("sampan.io/local-path"), &json!("WaitForFirstConsumer"), &json!("Delete"))
    );
    let made = cluster.create("persistentvolumeclaims", claim("data")).await;
    assert_eq!(made["spec"]["storageClassName"], "local-path");
    assert_eq!(made["status"], json!({"phase": "Pending"}));

    let mut without = claim("by-hand");
    without["spec"]["storageClassName"] = json!("");
    let made = cluster.create("persistentvolumeclaims", without).await;
    assert_eq!(made["spec"]["storageClassName"], "", "no class is a choice, too");

    let mark = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "false"}}});
    cluster.merge("storageclasses.storage.k8s.io/local-path", mark).await;
    let made = cluster.create("persistentvolumeclaims", claim("later")).await;
    assert!(made["spec"]["storageClassName"].is_null());
}

#[tokio::test(start_paused = true)]
async fn claims_and_volumes_stay_until_they_are_let_go() {
    let cluster = Cluster::start().await;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    cluster.create("persistentvolumeclaims", claim("data")).await;
    cluster.create("persistentvolumes", volume).await;
    for (path, finalizer) in [
        ("persistentvolumeclaims/data", "kubernetes.io/pvc-protection"),
        ("persistentvolumes/v", "kubernetes.io/pv-protection"),
    ] {
        assert_eq!(cluster.get(path).await["metadata"]["finalizers"], json!([finalizer]));
        let marked = cluster.delete(path).await;
        assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{path} is in use");
        cluster.merge(path, json!({"metadata": {"finalizers": null}})).await;
        assert!(cluster.is_gone(path).await);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_class_that_allows_it_lets_a_claim_grow() {
    let cluster = Cluster::start().await;
    cluster.create("persistentvolumeclaims", claim("data")).await;
    cluster.merge("persistentvolumeclaims/data", json!({"spec": {"volumeName": "v"}})).await;
    cluster.merge("persistentvolumeclaims/data/status", json!({"status": {"phase": "Bound"}})).await;
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let kind = apiserver::verbs::PatchKind::Merge;
    let refused = cluster.try_patch("persistentvolumeclaims/data", kind, more.clone()).await;
    let why = refused.expect_err("the class does not allow it").message;
    assert!(why.contains("must support resize"), "{why}");
    cluster.merge("storageclasses.storage.k8s.io/local-path", json!({"allowVolumeExpansion": true})).await;
    cluster.merge("persistentvolumeclaims/data", more).await;
    let refused = cluster.try_update("persistentvolumeclaims/data", claim("data")).await;
    assert!(refused.expect_err("the volume is its for good").message.contains("spec is immutable"));
}
