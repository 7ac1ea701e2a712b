//! DaemonSets: nodes come and go, templates change and change back.

use std::collections::BTreeMap;

use model::Key;
use serde_json::{Value, json};

use crate::cluster::Cluster;

fn text<'a>(pod: &'a Value, path: &str) -> &'a str {
    pod.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Which image runs where.
fn images(cluster: &Cluster) -> BTreeMap<String, String> {
    let term =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
    let pods = cluster.all("pods").into_iter();
    pods.map(|pod| {
        let node = text(pod, &format!("{term}/matchFields/0/values/0")).to_owned();
        (node, text(pod, "/spec/containers/0/image").to_owned())
    })
    .collect()
}

fn uids(cluster: &Cluster) -> BTreeMap<String, String> {
    let pods = cluster.all("pods").into_iter();
    pods.map(|pod| (text(pod, "/metadata/name").to_owned(), text(pod, "/metadata/uid").to_owned())).collect()
}

fn status(cluster: &Cluster, field: &str) -> i64 {
    let set = cluster.get(&Key::object("apps", "daemonsets", "default", "agent"));
    set["status"][field].as_i64().unwrap_or(0)
}

fn image(version: i32) -> Value {
    let containers = json!([{"name": "agent", "image": format!("agent:{version}")}]);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

/// Numbers of the kept templates.
fn history(cluster: &Cluster) -> Vec<i64> {
    let mut numbers: Vec<i64> =
        cluster.all("controllerrevisions").iter().filter_map(|one| one["revision"].as_i64()).collect();
    numbers.sort_unstable();
    numbers
}

/// Lets pods start one at a time until the update is over.
fn roll(cluster: &mut Cluster) {
    for _ in 0..50 {
        cluster.settle();
        if status(cluster, "updatedNumberScheduled") == status(cluster, "desiredNumberScheduled")
            && status(cluster, "numberUnavailable") == 0
        {
            return;
        }
        cluster.start_pods(1);
    }
    panic!("the update never ends: {:?}", cluster.told);
}

fn deployed(nodes: usize) -> Cluster {
    let mut cluster = Cluster::default();
    for node in 0..nodes {
        cluster.node(&format!("n{node}"), json!({}), json!([]));
    }
    cluster.daemon(1);
    roll(&mut cluster);
    cluster
}

#[test]
fn each_node_gets_a_pod_also_one_that_comes_later() {
    let mut cluster = deployed(2);
    assert_eq!(images(&cluster).into_keys().collect::<Vec<_>>(), ["n0", "n1"]);
    assert!(cluster.told.iter().all(|told| told.starts_with("Created pod: agent-")), "{:?}", cluster.told);
    cluster.node("n2", json!({}), json!([]));
    roll(&mut cluster);
    assert_eq!(images(&cluster).len(), 3);
    assert_eq!((status(&cluster, "numberReady"), status(&cluster, "observedGeneration")), (3, 1));
    assert_eq!(history(&cluster), [1]);
}

#[test]
fn labels_and_taints_of_nodes_decide_where_it_runs() {
    let mut cluster = deployed(2);
    let taint = json!([{"key": "gpu", "effect": "NoExecute"}]);
    cluster.node("n1", json!({}), taint.clone());
    cluster.settle();
    assert_eq!(images(&cluster).into_keys().collect::<Vec<_>>(), ["n0"]);
    cluster.change_daemon(json!({"spec": {"template": {"spec": {
        "tolerations": [{"key": "gpu", "operator": "Exists"}], "nodeSelector": {"disk": "ssd"}
    }}}}));
    cluster.settle();
    assert!(images(&cluster).is_empty(), "no node has the label");
    cluster.node("n1", json!({"disk": "ssd"}), taint);
    cluster.settle();
    assert_eq!(images(&cluster).into_keys().collect::<Vec<_>>(), ["n1"]);
}

#[test]
fn an_update_reaches_every_node_and_going_back_restarts_only_what_was_updated() {
    let mut cluster = deployed(3);
    cluster.change_daemon(image(2));
    roll(&mut cluster);
    assert_eq!(images(&cluster).into_values().collect::<Vec<_>>(), ["agent:2"; 3]);
    assert_eq!(history(&cluster), [1, 2]);

    let before = uids(&cluster);
    cluster.change_daemon(image(3));
    cluster.settle();
    let kept = uids(&cluster).into_iter().filter(|pod| before.contains_key(&pod.0)).count();
    assert_eq!(kept, 2, "one node at a time");
    cluster.change_daemon(image(2));
    roll(&mut cluster);
    assert_eq!(uids(&cluster).into_iter().filter(|pod| before.contains_key(&pod.0)).count(), 2);
    assert_eq!(history(&cluster), [1, 3, 4], "the template of before is the newest again");
}

#[test]
fn old_templates_beyond_the_history_limit_are_forgotten() {
    let mut cluster = deployed(1);
    cluster.change_daemon(json!({"spec": {"revisionHistoryLimit": 1}}));
    for version in 2..=4 {
        cluster.change_daemon(image(version));
        roll(&mut cluster);
    }
    assert_eq!(history(&cluster), [3, 4]);
}

#[test]
fn a_failed_pod_is_told_of_and_replaced() {
    let mut cluster = deployed(1);
    let before = uids(&cluster);
    let key = Key::object("", "pods", "default", before.keys().next().expect("a pod"));
    cluster.set_status(&key, json!({"phase": "Failed"}));
    roll(&mut cluster);
    assert_ne!(uids(&cluster), before);
    assert!(
        cluster.told.iter().any(|told| told.starts_with("Found failed daemon pod")),
        "{:?}",
        cluster.told
    );
}

#[test]
fn a_set_that_is_made_again_takes_over_what_the_one_before_left() {
    let mut cluster = deployed(2);
    let before = uids(&cluster);
    cluster.orphan_all("agent");
    cluster.daemon(1);
    roll(&mut cluster);
    assert_eq!(uids(&cluster), before, "no pod was restarted");
    let set = cluster.get(&Key::object("apps", "daemonsets", "default", "agent"))["metadata"]["uid"].clone();
    for object in cluster.all("pods").into_iter().chain(cluster.all("controllerrevisions")) {
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], set);
    }
}
