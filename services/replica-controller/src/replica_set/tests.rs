//! Decisions about sets, read as rules.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

use super::decide::{BURST, Observation, Plan, decide};
use crate::attempts::Trouble;
use crate::observe::{Phase, Pod, Set};

fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().expect("a time")
}

fn set(replicas: i32, change: impl FnOnce(&mut Value)) -> Set {
    let mut json = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "web-uid", "generation": 3},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}},
        },
    });
    change(&mut json);
    let key = Key::object("apps", "replicasets", "default", "web");
    Set::parse(&key, json.to_string().as_bytes()).expect("a set")
}

fn pod(name: &str, change: impl FnOnce(&mut Pod)) -> (Key, Pod) {
    let labels = [("app", "web"), ("tier", "front")];
    let mut pod = Pod {
        name: name.to_owned(),
        uid: name.to_owned(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        manager: Some("web-uid".to_owned()),
        phase: Phase::Running,
        node: "n".to_owned(),
        created: "2024-01-01T00:00:00Z".parse().ok(),
        ready_since: "2024-01-01T00:00:00Z".parse().ok(),
        ..Pod::default()
    };
    change(&mut pod);
    (Key::object("", "pods", "default", name), pod)
}

fn plan<'a>(set: &'a Set, pods: &'a [(Key, Pod)], trouble: Option<&'a Trouble>) -> Plan<'a> {
    let managed = |managed: bool| {
        pods.iter()
            .filter(move |(_, pod)| pod.manager.is_some() == managed)
            .map(|(key, pod)| (key, pod))
            .collect()
    };
    let observation = Observation {
        set,
        owned: managed(true),
        orphans: managed(false),
        related_per_node: &BTreeMap::new,
        trouble,
    };
    decide(&observation, now())
}

fn names(pods: &[&Pod]) -> Vec<String> {
    pods.iter().map(|pod| pod.name.clone()).collect()
}

#[test]
fn what_is_missing_is_made_in_bounded_bursts() {
    let none = set(3, |_| ());
    assert_eq!(plan(&none, &[], None).create, 3);
    let large = set(5_000, |_| ());
    assert_eq!(plan(&large, &[], None).create, BURST);
}

#[test]
fn after_a_refusal_one_is_tried_at_a_time_and_the_status_says_why() {
    let web = set(5_000, |_| ());
    let trouble = Trouble { reason: "FailedCreate", message: "exceeded quota".to_owned() };
    let pods = [pod("a", |_| ())];
    let plan = plan(&web, &pods, Some(&trouble));
    assert_eq!(plan.create, 1);
    let status = plan.status.expect("it is told");
    let condition = &status.conditions.as_deref().expect("a condition")[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
}

#[test]
fn pods_that_ended_or_are_being_deleted_are_replaced() {
    let web = set(3, |_| ());
    let pods = [
        pod("failed", |pod| pod.phase = Phase::Failed),
        pod("ended", |pod| pod.phase = Phase::Succeeded),
        pod("leaving", |pod| pod.deleting = true),
        pod("fine", |_| ()),
    ];
    assert_eq!(plan(&web, &pods, None).create, 2);
}

#[test]
fn what_is_too_much_goes_by_rank() {
    let web = set(1, |_| ());
    let pods = [pod("ready", |_| ()), pod("waiting", |pod| pod.phase = Phase::Pending)];
    let plan = plan(&web, &pods, None);
    assert_eq!((names(&plan.delete), plan.create), (vec!["waiting".to_owned()], 0));
}

#[test]
fn orphans_are_adopted_before_pods_are_made_and_strays_are_let_go() {
    let web = set(2, |_| ());
    let pods = [
        pod("orphan", |pod| pod.manager = None),
        pod("dead-orphan", |pod| (pod.manager, pod.phase) = (None, Phase::Failed)),
        pod("stray", |pod| pod.labels.clear()),
    ];
    let plan = plan(&web, &pods, None);
    assert_eq!(
        (names(&plan.adopt), names(&plan.release)),
        (vec!["orphan".to_owned()], vec!["stray".to_owned()])
    );
    assert_eq!(plan.create, 1);
}

#[test]
fn a_set_that_is_being_deleted_does_nothing_but_count() {
    let web = set(3, |json| json["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z"));
    let pods = [pod("a", |_| ()), pod("orphan", |pod| pod.manager = None)];
    let plan = plan(&web, &pods, None);
    assert_eq!((plan.create, plan.adopt.len(), plan.delete.len()), (0, 0, 0));
    assert_eq!(plan.status.map(|status| status.replicas), Some(1));
}

#[test]
fn the_status_counts_what_serves_and_knows_when_to_look_again() {
    let web = set(4, |json| json["spec"]["minReadySeconds"] = json!(30));
    let pods = [
        pod("old", |_| ()),
        pod("fresh", |pod| pod.ready_since = "2024-01-01T11:59:40Z".parse().ok()),
        pod("unready", |pod| pod.ready_since = None),
        pod("bare", |pod| pod.labels = BTreeMap::from([("app".to_owned(), "web".to_owned())])),
        pod("leaving", |pod| pod.deleting = true),
    ];
    let plan = plan(&web, &pods, None);
    let status = plan.status.expect("it changed");
    assert_eq!(
        (status.replicas, status.fully_labeled_replicas, status.ready_replicas),
        (4, Some(3), Some(3))
    );
    assert_eq!((status.available_replicas, status.terminating_replicas), (Some(2), Some(1)));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(plan.again_after, Some(Duration::from_secs(10)));
    let told = Set { status, ..web };
    let pods = &pods[..];
    assert_eq!(super::tests::plan(&told, pods, None).status, None, "nothing new to tell");
}
