//! Decisions about DaemonSets, read as rules.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::command::Write;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

use super::decide::{BURST, Observation, Plan, decide};
use super::demand::Verdict;
use crate::attempts::Trouble;
use crate::observe::daemon_pods::HASH_LABEL;
use crate::observe::{DaemonPod, DaemonSet, Phase, Pod};

/// A set `agent` of all nodes.
pub fn set(change: impl FnOnce(&mut Value)) -> DaemonSet {
    let mut json = json!({
        "metadata": {"name": "agent", "namespace": "default", "uid": "agent-uid", "generation": 3},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "agent", "image": "agent:1"}]},
            },
        },
    });
    change(&mut json);
    let name = json["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let key = Key::object("apps", "daemonsets", "default", &name);
    DaemonSet::parse(&key, json.to_string().as_bytes()).expect("a set")
}

fn rolling(field: &str, bound: Value) -> DaemonSet {
    let other = if field == "maxSurge" { "maxUnavailable" } else { "maxSurge" };
    set(|json| json["spec"]["updateStrategy"] = json!({"rollingUpdate": {field: bound, other: 0}}))
}

fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().expect("a time")
}

/// A set with nodes and pods.
struct World {
    set: DaemonSet,
    nodes: BTreeMap<String, Verdict>,
    owned: Vec<DaemonPod>,
    orphans: Vec<DaemonPod>,
    revisions: Vec<ControllerRevision>,
    held_until: Option<Timestamp>,
    trouble: Option<Trouble>,
}

impl World {
    /// So many nodes `n0`, `n1`, …, without pods.
    fn new(set: DaemonSet, nodes: usize) -> Self {
        let nodes = (0..nodes).map(|node| (format!("n{node}"), Verdict::Run)).collect();
        let (owned, orphans, revisions) = (Vec::new(), Vec::new(), Vec::new());
        World { set, nodes, owned, orphans, revisions, held_until: None, trouble: None }
    }

    /// With a pod of the hash on each node.
    fn running(set: DaemonSet, nodes: usize, hash: &str) -> Self {
        let mut world = World::new(set, nodes);
        world.owned = world.nodes.keys().map(|node| pod(node, hash, |_| ())).collect();
        world
    }

    /// The hash of the present template.
    fn hash(&self) -> String {
        self.plan().hash
    }

    fn plan(&self) -> Plan<'_> {
        let observation = Observation {
            set: &self.set,
            nodes: &self.nodes,
            owned: self.owned.iter().collect(),
            orphans: self.orphans.iter().collect(),
            revisions: self.revisions.iter().collect(),
            orphan_revisions: Vec::new(),
            named: &|_| false,
            held: &|_| self.held_until,
            trouble: self.trouble.as_ref(),
        };
        decide(&observation, now())
    }

    fn pod(&mut self, node: &str) -> &mut Pod {
        &mut self.owned.iter_mut().find(|pod| pod.node == node).expect("it is there").pod
    }
}

fn pod(node: &str, hash: &str, change: impl FnOnce(&mut Pod)) -> DaemonPod {
    let labels = [("app", "agent"), (HASH_LABEL, hash)];
    let mut pod = Pod {
        name: format!("agent-{node}-{hash}"),
        uid: format!("{node}-{hash}"),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        manager: Some("agent-uid".to_owned()),
        phase: Phase::Running,
        node: node.to_owned(),
        created: "2024-01-01T00:00:00Z".parse().ok(),
        ready_since: "2024-01-01T00:00:00Z".parse().ok(),
        ..Pod::default()
    };
    change(&mut pod);
    DaemonPod { pod, node: node.to_owned() }
}

fn nodes_of(pods: &[&DaemonPod]) -> Vec<String> {
    pods.iter().map(|pod| pod.node.clone()).collect()
}

#[test]
fn each_node_gets_a_pod_and_the_template_is_kept() {
    let world = World::new(set(|_| ()), 3);
    let plan = world.plan();
    assert_eq!(plan.create, ["n0", "n1", "n2"]);
    let Some(Write::Create { object, .. }) = &plan.revision else { panic!("{:?}", plan.revision) };
    let revision: ControllerRevision = serde_json::from_slice(object).expect("a revision");
    assert_eq!(revision.metadata.labels.expect("labels")[HASH_LABEL], plan.hash);
    assert_eq!(World::new(set(|_| ()), BURST + 9).plan().create.len(), BURST);
}

#[test]
fn after_a_refusal_one_is_tried_at_a_time_and_the_status_is_told() {
    let mut world = World::new(set(|_| ()), 3);
    world.trouble = Some(Trouble { reason: "FailedCreate", message: "exceeded quota".to_owned() });
    let plan = world.plan();
    assert_eq!(plan.create, ["n0"]);
    assert_eq!(plan.status.map(|status| status.desired_number_scheduled), Some(3));
}

#[test]
fn a_tainted_node_keeps_its_pod_but_gets_none_and_others_lose_theirs() {
    let mut world = World::new(set(|_| ()), 4);
    let hash = world.hash();
    world.owned = vec![pod("n0", &hash, |_| ()), pod("n1", &hash, |_| ())];
    world.nodes.insert("n0".to_owned(), Verdict::Stay);
    world.nodes.insert("n1".to_owned(), Verdict::Leave);
    world.nodes.insert("n2".to_owned(), Verdict::Stay);
    world.nodes.insert("n3".to_owned(), Verdict::Leave);
    let plan = world.plan();
    assert_eq!((nodes_of(&plan.delete), plan.create.len()), (vec!["n1".to_owned()], 0));
    world.pod("n1").deleting = true;
    let status = world.plan().status.expect("it changed");
    assert_eq!((status.desired_number_scheduled, status.number_misscheduled), (0, 2));
}

#[test]
fn a_pod_that_waits_for_a_node_that_is_gone_goes_and_one_that_was_on_it_is_left_to_its_node() {
    let mut world = World::new(set(|_| ()), 0);
    world.owned = vec![pod("gone", "h", |_| ()), pod("gone", "g", |pod| pod.node.clear())];
    let plan = world.plan();
    assert_eq!(plan.delete.len(), 1);
    assert!(!plan.delete[0].has_node());
    world.owned.truncate(1);
    let status = world.plan().status.expect("it changed");
    assert_eq!((status.desired_number_scheduled, status.number_misscheduled), (0, 0));
}

#[test]
fn of_several_pods_on_a_node_the_first_stays() {
    let mut world = World::new(set(|_| ()), 1);
    let hash = world.hash();
    let second = |pod: &mut Pod| {
        pod.created = "2024-01-01T01:00:00Z".parse().ok();
        pod.uid = "second".to_owned();
    };
    world.owned = vec![pod("n0", &hash, second), pod("n0", &hash, |_| ())];
    assert_eq!(world.plan().delete.iter().map(|pod| pod.pod.uid.as_str()).collect::<Vec<_>>(), ["second"]);
}

#[test]
fn a_pod_on_its_way_out_holds_its_place_until_it_is_gone() {
    let mut world = World::new(set(|_| ()), 1);
    let hash = world.hash();
    world.owned = vec![pod("n0", &hash, |pod| pod.deleting = true)];
    assert_eq!((world.plan().create.len(), world.plan().delete.len()), (0, 0));
    world.pod("n0").phase = Phase::Failed;
    assert_eq!(world.plan().create, ["n0"], "its containers have ended");
}

#[test]
fn pods_that_end_are_deleted_failed_ones_after_a_pause() {
    let mut world = World::new(set(|_| ()), 2);
    let hash = world.hash();
    world.owned = vec![
        pod("n0", &hash, |pod| pod.phase = Phase::Failed),
        pod("n1", &hash, |pod| pod.phase = Phase::Succeeded),
    ];
    assert_eq!(nodes_of(&world.plan().ended), ["n0", "n1"]);
    world.held_until = "2024-01-01T12:00:04Z".parse().ok();
    let plan = world.plan();
    assert_eq!(nodes_of(&plan.ended), ["n1"]);
    assert_eq!(
        (nodes_of(&plan.delete), plan.again_after),
        (vec!["n1".to_owned()], Some(Duration::from_secs(4)))
    );
}

#[test]
fn orphans_are_adopted_and_count_at_once_and_strays_are_let_go() {
    let mut world = World::new(set(|_| ()), 2);
    let hash = world.hash();
    world.orphans = vec![pod("n0", &hash, |pod| pod.manager = None)];
    world.owned = vec![pod("n1", &hash, |pod| pod.labels.clear())];
    let plan = world.plan();
    assert_eq!(
        (nodes_of(&plan.adopt), nodes_of(&plan.release)),
        (vec!["n0".to_owned()], vec!["n1".to_owned()])
    );
    assert_eq!(plan.create, ["n1"]);
}

#[test]
fn an_update_takes_a_few_nodes_at_a_time() {
    let mut world = World::running(rolling("maxUnavailable", json!("50%")), 5, "old");
    let hash = world.hash();
    assert_eq!(nodes_of(&world.plan().delete), ["n0", "n1", "n2"], "half of five, rounded up");
    world.pod("n0").deleting = true;
    world.owned.retain(|pod| pod.node != "n1");
    world.owned.push(pod("n1", &hash, |pod| pod.ready_since = None));
    assert_eq!(nodes_of(&world.plan().delete), ["n2"], "two are without");
    world.owned.retain(|pod| pod.node != "n0");
    assert_eq!(
        (world.plan().create, world.plan().delete.len()),
        (vec!["n0"], 0),
        "what is missing comes first"
    );
}

#[test]
fn old_pods_that_do_not_serve_make_way_at_once() {
    let mut world = World::running(rolling("maxUnavailable", json!(1)), 4, "old");
    for node in ["n1", "n2"] {
        world.pod(node).ready_since = None;
    }
    assert_eq!(nodes_of(&world.plan().delete), ["n1", "n2", "n0"]);
}

#[test]
fn with_a_surge_the_new_pod_comes_before_the_old_one_goes() {
    let mut world = World::running(rolling("maxSurge", json!(1)), 3, "old");
    let hash = world.hash();
    let plan = world.plan();
    assert_eq!((plan.create, plan.delete.len()), (vec!["n0"], 0));
    world.owned.push(pod("n0", &hash, |pod| pod.ready_since = None));
    let plan = world.plan();
    assert_eq!((plan.create.len(), plan.delete.len()), (0, 0), "the new one does not serve yet");
    world.owned.last_mut().expect("the new one").pod.ready_since = Some(now());
    assert_eq!(nodes_of(&world.plan().delete), ["n0"]);
    world.pod("n0").deleting = true;
    assert_eq!(world.plan().create, ["n1"], "and the next");
}

#[test]
fn with_a_surge_an_old_pod_that_does_not_serve_gets_its_new_one_beyond_the_bound() {
    let mut world = World::running(rolling("maxSurge", json!(1)), 3, "old");
    world.pod("n2").ready_since = None;
    assert_eq!(world.plan().create, ["n2", "n0"]);
}

#[test]
fn on_delete_waits_for_somebody_to_delete() {
    let on_delete = set(|json| json["spec"]["updateStrategy"] = json!({"type": "OnDelete"}));
    let mut world = World::running(on_delete, 2, "old");
    assert!(world.plan().delete.is_empty());
    world.owned.remove(0);
    assert_eq!(world.plan().create, ["n0"]);
}

#[test]
fn pods_of_a_copied_revision_are_not_replaced() {
    let mut world = World::new(set(|_| ()), 1);
    let Some(Write::Create { object, .. }) = world.plan().revision else { panic!("a revision is made") };
    let revision: ControllerRevision = serde_json::from_slice(&object).expect("a revision");
    let mut copy = revision.clone();
    copy.revision = 2;
    copy.metadata.name = Some("copy".to_owned());
    copy.metadata.labels.as_mut().expect("labels").insert(HASH_LABEL.to_owned(), "copied".to_owned());
    world.owned = vec![pod("n0", &world.hash(), |_| ())];
    world.revisions = vec![revision, copy];
    assert_eq!(world.hash(), "copied", "the newest is the present one");
    assert!(world.plan().delete.is_empty());
    assert_eq!(world.plan().status.and_then(|status| status.updated_number_scheduled), Some(1));
}

#[test]
fn the_status_counts_nodes_and_knows_when_to_look_again() {
    let mut world = World::new(set(|json| json["spec"]["minReadySeconds"] = json!(30)), 4);
    let hash = world.hash();
    world.owned = vec![
        pod("n0", &hash, |_| ()),
        pod("n1", &hash, |pod| pod.ready_since = "2024-01-01T11:59:40Z".parse().ok()),
        pod("n2", &hash, |pod| pod.ready_since = None),
        pod("n3", &hash, |pod| pod.deleting = true),
    ];
    let plan = world.plan();
    let status = plan.status.expect("it changed");
    assert_eq!(
        (status.desired_number_scheduled, status.current_number_scheduled, status.number_ready),
        (4, 4, 3)
    );
    assert_eq!((status.number_available, status.number_unavailable), (Some(2), Some(2)));
    assert_eq!((status.updated_number_scheduled, status.observed_generation), (Some(4), Some(3)));
    assert_eq!(plan.again_after, Some(Duration::from_secs(10)));
    world.set.status = status;
    assert_eq!(world.plan().status, None, "nothing new to tell");
}

#[test]
fn a_set_that_is_being_deleted_does_nothing() {
    let leaving = set(|json| json["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z"));
    let world = World::new(leaving, 3);
    let plan = world.plan();
    assert!(plan.create.is_empty() && plan.revision.is_none() && plan.status.is_none());
}
