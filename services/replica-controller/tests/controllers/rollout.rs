//! Whole rollouts, from the Deployment to the pods and back, without a server.

use bus::command::Write;
use model::Key;
use serde_json::json;

use crate::cluster::Cluster;

/// Lets pods start a few at a time until the rollout is over; checks the promise at each step.
fn roll(cluster: &mut Cluster, at_least: usize, at_most: usize) {
    for _ in 0..100 {
        cluster.settle();
        assert!(cluster.serving() >= at_least, "{} serve, {:?}", cluster.serving(), cluster.told);
        assert!(
            cluster.all("pods").len() <= at_most,
            "{} pods, {:?}",
            cluster.all("pods").len(),
            cluster.told
        );
        if cluster.condition("Progressing").1 == "NewReplicaSetAvailable"
            && cluster.serving() == at_least.max(4)
        {
            return;
        }
        cluster.start_pods(1);
    }
    panic!("the rollout never ends: {:?}", cluster.told);
}

fn deployed(version: i32) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.deploy(4, version, json!({}));
    cluster.settle();
    cluster.start_pods(4);
    cluster.settle();
    cluster
}

#[test]
fn a_deployment_becomes_pods_and_says_so() {
    let cluster = deployed(1);
    assert_eq!((cluster.sizes()["web:1"], cluster.serving()), (4, 4));
    let status = &cluster.deployment()["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    assert_eq!(
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"]
            .map(number),
        [4, 4, 4, 4, 0]
    );
    assert_eq!(cluster.condition("Progressing"), ("True".to_owned(), "NewReplicaSetAvailable".to_owned()));
    assert_eq!(cluster.condition("Available"), ("True".to_owned(), "MinimumReplicasAvailable".to_owned()));
    assert_eq!(cluster.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let set = &cluster.all("replicasets")[0]["metadata"];
    assert_eq!(
        cluster.told[0],
        format!("Scaled up replica set {} from 0 to 4", set["name"].as_str().unwrap())
    );
    for pod in cluster.all("pods") {
        let owner = &pod["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["uid"], &owner["controller"], &owner["blockOwnerDeletion"]),
            (&set["uid"], &json!(true), &json!(true))
        );
        assert!(
            cluster.told.contains(&format!("Created pod: {}", pod["metadata"]["name"].as_str().unwrap()))
        );
    }
}

#[test]
fn an_update_rolls_within_its_bounds_and_can_be_undone() {
    let mut cluster = deployed(1);
    cluster.set_image(2);
    roll(&mut cluster, 3, 5);
    assert_eq!((cluster.sizes()["web:1"], cluster.sizes()["web:2"]), (0, 4));
    assert_eq!(cluster.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");

    // kubectl rollout undo writes the old set's template back.
    cluster.set_image(1);
    roll(&mut cluster, 3, 5);
    assert_eq!((cluster.sizes()["web:1"], cluster.sizes()["web:2"]), (4, 0));
    assert_eq!(cluster.all("replicasets").len(), 2, "the old set was used again");
    assert_eq!(cluster.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn a_recreation_has_no_two_versions_at_once() {
    let mut cluster = Cluster::default();
    cluster.deploy(4, 1, json!({"strategy": {"type": "Recreate"}}));
    roll(&mut cluster, 0, 4);
    cluster.set_image(2);
    roll(&mut cluster, 0, 4);
    assert_eq!(cluster.sizes()["web:2"], 4);
}

#[test]
fn a_paused_deployment_keeps_its_template_until_it_is_resumed() {
    let mut cluster = deployed(1);
    cluster.change(json!({"spec": {"paused": true}}));
    cluster.settle();
    cluster.set_image(2);
    cluster.change(json!({"spec": {"replicas": 6}}));
    cluster.settle();
    assert_eq!(cluster.sizes().into_iter().collect::<Vec<_>>(), [("web:1".to_owned(), 6)]);
    assert_eq!(cluster.condition("Progressing").1, "DeploymentPaused");
    cluster.change(json!({"spec": {"paused": false, "replicas": 4}}));
    roll(&mut cluster, 3, 6);
    assert_eq!(cluster.sizes()["web:2"], 4);
}

#[test]
fn a_deleted_pod_comes_back_under_another_name() {
    let mut cluster = deployed(1);
    let name = cluster.all("pods")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let key = Key::object("", "pods", "default", &name);
    cluster.delete(&key).expect("the pod is there");
    cluster.settle();
    assert_eq!(cluster.all("pods").len(), 4);
    assert!(cluster.all("pods").iter().all(|pod| pod["metadata"]["name"] != json!(name)));
}

#[test]
fn a_quota_is_told_once_and_the_rest_is_made_when_it_allows() {
    let mut cluster = Cluster::default();
    cluster.refuses = |write| matches!(write, Write::Create { resource, .. } if resource.plural == "pods");
    cluster.deploy(4, 1, json!({}));
    cluster.settle();
    let failed = cluster.told.iter().filter(|told| told.starts_with("Error creating: ")).count();
    assert!((1..=2).contains(&failed), "{:?}", cluster.told);
    cluster.refuses = |_| false;
    // The driver asks again after a failure; here a change does.
    cluster.change(json!({"spec": {"replicas": 3}}));
    cluster.settle();
    assert_eq!(cluster.all("pods").len(), 3);
    let conditions = cluster.deployment()["status"]["conditions"].to_string();
    assert!(!conditions.contains("ReplicaFailure"), "{conditions}");
}

#[test]
fn old_sets_beyond_the_history_limit_are_deleted() {
    let mut cluster = Cluster::default();
    cluster.deploy(4, 1, json!({"revisionHistoryLimit": 1}));
    for version in 1..=4 {
        cluster.tick(1);
        cluster.set_image(version);
        roll(&mut cluster, 0, 5);
    }
    assert_eq!(cluster.sizes().into_keys().collect::<Vec<_>>(), ["web:3", "web:4"]);
}
