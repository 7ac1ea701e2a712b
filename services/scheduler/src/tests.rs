//! The whole scheduler, without its surroundings, against a cluster in a map.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::command::{Reply, Stored, Write};
use client::{Leadership, Observed};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Revision, Status};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::Item;
use tokio::time::Instant;

use crate::bind::Outcome;
use crate::scheduler::{Destination, Options, Request, Scheduler};

mod extenders;
mod volumes;

struct Cluster {
    scheduler: Scheduler,
    objects: BTreeMap<Key, Value>,
    unseen: Vec<Observed>,
    revision: u64,
    now: Instant,
    /// Every Event as `reason: message`.
    told: Vec<String>,
    /// The largest size that each node had.
    sizes: BTreeMap<u8, u8>,
    /// Refuses binds, as an API server would.
    refuses: fn(&Write) -> Option<Status>,
}

impl Cluster {
    fn new(nodes: &[Value]) -> Self {
        Self::with_options(nodes, Options::default())
    }

    fn with_options(nodes: &[Value], options: Options) -> Self {
        let options = Options { name: "default-scheduler".to_owned(), seed: 1, ..options };
        let mut scheduler = Scheduler::new(options);
        scheduler.stand(Leadership::sole().standing(), Instant::now());
        let mut cluster = Cluster {
            scheduler,
            objects: BTreeMap::new(),
            unseen: vec![Observed::Reset, Observed::Synced],
            revision: 0,
            now: Instant::now(),
            told: Vec::new(),
            sizes: BTreeMap::from([(0, 4)]),
            refuses: |_| None,
        };
        nodes.iter().for_each(|node| cluster.put("nodes", node.clone()));
        cluster
    }

    fn put(&mut self, resource: &str, object: Value) {
        let everywhere = ["nodes", "persistentvolumes", "storageclasses"].contains(&resource);
        let namespace = if everywhere { "" } else { "default" };
        let group = if resource == "storageclasses" { "storage.k8s.io" } else { "" };
        let key =
            Key::object(group, resource, namespace, object["metadata"]["name"].as_str().expect("a name"));
        self.revision += 1;
        let revision = Revision(self.revision);
        let item = Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        self.objects.insert(key, object);
        self.unseen.push(Observed::Put(item));
    }

    fn delete(&mut self, name: &str) {
        let key = Key::object("", "pods", "default", name);
        let object = self.objects.remove(&key).expect("the pod is there");
        let revision = Revision(self.revision);
        let previous =
            Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        self.unseen.push(Observed::Delete { key, previous });
    }

    /// Lets the scheduler observe, decide and hear, until it has nothing to do.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let unseen = std::mem::take(&mut self.unseen);
            unseen.iter().for_each(|one| self.scheduler.observe(one, self.now));
            self.scheduler.give_up_lost(self.now, self.now);
            let decided = self.scheduler.turn(16, self.now, Timestamp::UNIX_EPOCH);
            let sent = self.bind() + self.hear();
            if unseen.len() + decided + sent == 0 {
                return;
            }
        }
        panic!("the scheduler never rests: {:?}", self.told);
    }

    fn bind(&mut self) -> usize {
        let Some(request) = self.scheduler.take_request() else { return 0 };
        self.carry_out(request)
    }

    fn carry_out(&mut self, request: Request) -> usize {
        let Destination::ApiServers(_, writes) = request.destination else {
            panic!("there is no other replica")
        };
        let outcomes = writes.iter().map(|write| Outcome::from(self.bind_one(write))).collect();
        self.scheduler.answered(request.number, &request.keys, outcomes, self.now);
        request.keys.len()
    }

    fn bind_one(&mut self, write: &Write) -> Reply {
        let Write::Bind { namespace, pod, uid, node } = write else { panic!("not a bind: {write:?}") };
        if let Some(status) = (self.refuses)(write) {
            return Err(status);
        }
        let key = Key::object("", "pods", namespace, pod);
        let Some(mut object) = self.objects.get(&key).cloned() else {
            return Err(Status::not_found("", "pods", pod));
        };
        if object["spec"]["nodeName"].is_string() || object["metadata"]["uid"] != json!(uid) {
            return Err(Status::conflict("", "pods", pod, "it has a node, or is another"));
        }
        object["spec"]["nodeName"] = json!(node);
        self.put("pods", object);
        Ok(Stored::default())
    }

    fn hear(&mut self) -> usize {
        let (writes, told) = self.scheduler.take_news(Timestamp::UNIX_EPOCH);
        let count = writes.len();
        for write in &writes {
            match write {
                Write::Create { object, .. } => {
                    let event: Value = serde_json::from_slice(object).expect("an Event");
                    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                    self.told.push(format!("{}: {}", text("reason"), text("message")));
                }
                Write::Patch { name, subresource, patch, .. } if subresource == "status" => {
                    let key = Key::object("", "pods", "default", name);
                    let patch: Value = serde_json::from_slice(patch).expect("a patch");
                    if let Some(mut pod) = self.objects.get(&key).cloned() {
                        pod["status"]["conditions"] = patch["status"]["conditions"].clone();
                        self.put("pods", pod);
                    }
                }
                Write::Patch { resource, name, patch, .. } if resource.plural != "events" => {
                    let key = Key::object("", &resource.plural, "default", name);
                    let patch: Value = serde_json::from_slice(patch).expect("a patch");
                    let mut claim = self.objects[&key].clone();
                    claim["metadata"]["annotations"] = patch["metadata"]["annotations"].clone();
                    self.put(&resource.plural.clone(), claim);
                }
                _ => {}
            }
        }
        self.scheduler.told(told, &vec![Ok(Stored::default()); count]);
        count
    }

    fn node_of(&self, name: &str) -> Option<&str> {
        self.objects[&Key::object("", "pods", "default", name)]["spec"]["nodeName"].as_str()
    }

    fn condition(&self, name: &str) -> &str {
        let pod = &self.objects[&Key::object("", "pods", "default", name)];
        pod["status"]["conditions"][0]["message"].as_str().unwrap_or_default()
    }

    fn bound(&self) -> usize {
        self.objects.values().filter(|object| object["spec"]["nodeName"].is_string()).count()
    }
}

fn node(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {
            "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "image": "redis", "resources": {"requests": {"cpu": cpu}}}],
        },
    })
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    *object.pointer_mut(path).expect("the path is there") = value;
    object
}

#[test]
fn a_pod_gets_a_node_and_people_hear_of_it() {
    let mut cluster = Cluster::new(&[node("node-1", "4")]);
    cluster.put("pods", pod("redis", "1"));
    cluster.settle();
    assert_eq!(cluster.node_of("redis"), Some("node-1"));
    assert_eq!(cluster.told, ["Scheduled: Successfully assigned default/redis to node-1"]);
}

#[test]
fn a_pod_that_does_not_fit_says_why_once_and_gets_its_node_when_there_is_room() {
    let tainted = with(node("node-3", "8"), "/metadata", json!({"name": "node-3"}));
    let mut tainted = tainted;
    tainted["spec"] = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let mut cluster = Cluster::new(&[node("node-1", "1"), node("node-2", "2"), tainted]);
    cluster.put("pods", pod("first", "2"));
    cluster.settle();
    cluster.put("pods", pod("second", "2"));
    cluster.settle();
    let why = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes \
               are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for \
               scheduling.";
    assert_eq!(cluster.condition("second"), why);
    assert_eq!(cluster.told[1..], [format!("FailedScheduling: {why}")]);

    // It was told, and is not told again while nothing changes.
    cluster.settle();
    assert_eq!(cluster.told.len(), 2);

    cluster.delete("first");
    cluster.settle();
    assert_eq!(cluster.node_of("second"), Some("node-2"));
}

#[test]
fn without_nodes_a_pod_waits_for_the_first() {
    let mut cluster = Cluster::new(&[]);
    cluster.put("pods", pod("redis", "1"));
    cluster.settle();
    assert_eq!(cluster.told, ["FailedScheduling: no nodes available to schedule pods"]);
    cluster.put("nodes", node("node-1", "4"));
    cluster.settle();
    assert_eq!(cluster.node_of("redis"), Some("node-1"));
}

#[test]
fn pods_of_others_and_pods_that_wait_for_their_gates_are_left_alone() {
    let mut cluster = Cluster::new(&[node("node-1", "4")]);
    cluster.put("pods", with(pod("theirs", "1"), "/spec/schedulerName", json!("other")));
    let mut gated = pod("gated", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    cluster.put("pods", gated);
    let mut leaving = pod("leaving", "1");
    leaving["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
    cluster.put("pods", leaving);
    cluster.settle();
    assert_eq!((cluster.bound(), cluster.told.len()), (0, 0));
    cluster.put("pods", pod("gated", "1"));
    cluster.settle();
    assert_eq!(cluster.node_of("gated"), Some("node-1"));
}

#[test]
fn a_refused_bind_is_decided_again_after_a_pause() {
    let mut cluster = Cluster::new(&[node("node-1", "4")]);
    cluster.refuses = |_| Some(Status::forbidden("", "pods", "redis", "no"));
    cluster.put("pods", pod("redis", "1"));
    let unseen = std::mem::take(&mut cluster.unseen);
    unseen.iter().for_each(|one| cluster.scheduler.observe(one, cluster.now));
    cluster.scheduler.turn(1, cluster.now, Timestamp::UNIX_EPOCH);
    assert_eq!(cluster.bind(), 1);
    assert_eq!(cluster.scheduler.next_due(), Some(cluster.now + Duration::from_secs(1)));
    cluster.refuses = |_| None;
    cluster.now += Duration::from_secs(1);
    cluster.settle();
    assert_eq!(cluster.node_of("redis"), Some("node-1"));
}

#[test]
fn a_bind_whose_answer_is_lost_holds_its_room_until_it_can_have_no_effect_any_more() {
    let mut cluster = Cluster::new(&[node("node-1", "1")]);
    cluster.refuses = |_| Some(Status::unavailable("no answer in time"));
    cluster.put("pods", pod("a", "1"));
    cluster.settle();
    cluster.refuses = |_| None;
    cluster.put("pods", pod("b", "1"));
    cluster.settle();
    assert_eq!(cluster.bound(), 0, "the room may be taken");
    cluster.now += Duration::from_secs(15);
    cluster.settle();
    assert_eq!(cluster.bound(), 1);
}

#[test]
fn a_view_that_starts_anew_gives_no_room_away_twice() {
    let mut cluster = Cluster::new(&[node("node-1", "1")]);
    cluster.put("pods", pod("a", "1"));
    let unseen = std::mem::take(&mut cluster.unseen);
    unseen.iter().for_each(|one| cluster.scheduler.observe(one, cluster.now));
    cluster.scheduler.turn(1, cluster.now, Timestamp::UNIX_EPOCH);
    let request = cluster.scheduler.take_request().expect("a bind");

    cluster.unseen = vec![Observed::Reset];
    let objects: Vec<_> = cluster.objects.clone().into_iter().collect();
    objects.into_iter().for_each(|(key, object)| {
        cluster.put(if key.namespace().is_empty() { "nodes" } else { "pods" }, object)
    });
    cluster.put("pods", pod("b", "1"));
    cluster.unseen.push(Observed::Synced);
    cluster.settle();
    assert_eq!(cluster.bound(), 0);
    cluster.carry_out(request);
    cluster.settle();
    assert_eq!((cluster.node_of("a"), cluster.node_of("b")), (Some("node-1"), None));
}

#[test]
fn equal_pods_spread_over_equal_nodes() {
    let nodes: Vec<Value> = (0..10).map(|index| node(&format!("node-{index}"), "4")).collect();
    let mut cluster = Cluster::new(&nodes);
    (0..20).for_each(|index| cluster.put("pods", pod(&format!("pod-{index}"), "1")));
    cluster.settle();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for index in 0..20 {
        *count.entry(cluster.node_of(&format!("pod-{index}")).expect("it is bound")).or_default() += 1;
    }
    assert!(count.len() == 10 && count.values().all(|pods| *pods == 2), "{count:?}");
}

#[test]
fn a_crowd_that_does_not_fit_takes_no_more_attempts_than_places_need() {
    let mut cluster = Cluster::new(&[node("node-1", "2")]);
    (0..500).for_each(|index| cluster.put("pods", pod(&format!("pod-{index:03}"), "1")));
    cluster.settle();
    assert_eq!(cluster.bound(), 3 - 1, "two of them and the node's own name");
    for round in 0..5 {
        cluster.now += Duration::from_secs(20);
        let bound = cluster.objects.iter().find(|(_, object)| object["spec"]["nodeName"].is_string());
        let name = bound.map(|(key, _)| key.name().to_owned()).expect("one is bound");
        cluster.delete(&name);
        cluster.settle();
        assert_eq!(cluster.bound(), 2, "round {round}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pod(u8, u8),
    Gone(u8),
    Node(u8, u8),
    NoNode(u8),
    Turn,
    Bind(bool),
    Observe,
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30_u8, 1..4_u8).prop_map(|(name, cpu)| Step::Pod(name, cpu)),
        2 => (0..30_u8).prop_map(Step::Gone),
        1 => (0..4_u8, 1..8_u8).prop_map(|(name, cpu)| Step::Node(name, cpu)),
        1 => (0..4_u8).prop_map(Step::NoNode),
        3 => Just(Step::Turn),
        3 => prop::bool::weighted(0.8).prop_map(Step::Bind),
        3 => Just(Step::Observe),
        1 => (0..20_u8).prop_map(Step::Pass),
    ]
}

impl Cluster {
    fn step(&mut self, step: Step) {
        match step {
            Step::Pod(name, cpu) => {
                let key = Key::object("", "pods", "default", &name.to_string());
                if !self.objects.contains_key(&key) {
                    let uid = json!(format!("{name}-{}", self.revision));
                    self.put("pods", with(pod(&name.to_string(), &cpu.to_string()), "/metadata/uid", uid));
                }
            }
            Step::Gone(name) => {
                let key = Key::object("", "pods", "default", &name.to_string());
                if self.objects.contains_key(&key) {
                    self.delete(&name.to_string());
                }
            }
            // Nodes only grow here, even while they are away: one that shrinks may be too full through nobody's fault.
            Step::Node(name, cpu) => {
                let size = self.sizes.entry(name).or_default();
                *size = cpu.max(*size);
                let node = node(&format!("node-{name}"), &size.to_string());
                self.put("nodes", node);
            }
            Step::NoNode(name) => {
                let key = Key::object("", "nodes", "", &format!("node-{name}"));
                let has_pods =
                    self.objects.values().any(|object| object["spec"]["nodeName"] == json!(key.name()));
                if let Some(object) = self.objects.get(&key).filter(|_| !has_pods).cloned() {
                    self.objects.remove(&key);
                    let revision = Revision(self.revision);
                    let value = object.to_string().into();
                    let previous = Item { key: key.clone(), revision, created: revision, value };
                    self.unseen.push(Observed::Delete { key, previous });
                }
            }
            Step::Turn => {
                self.scheduler.turn(3, self.now, Timestamp::UNIX_EPOCH);
            }
            Step::Bind(answers) => {
                self.refuses = if answers { |_| None } else { |_| Some(Status::unavailable("lost")) };
                self.bind();
            }
            Step::Observe => {
                let unseen = std::mem::take(&mut self.unseen);
                unseen.iter().for_each(|one| self.scheduler.observe(one, self.now));
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(seconds.into()),
        }
    }
}

fn cpu_of(node: &Value) -> i64 {
    node["status"]["allocatable"]["cpu"].as_str().and_then(|cpu| cpu.parse().ok()).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens in whatever order, no node is promised more than it has, and in the end every pod that fits
    /// has its node.
    #[test]
    fn no_node_is_overcommitted_and_no_pod_is_forgotten(steps in prop::collection::vec(step(), 0..120)) {
        let mut cluster = Cluster::new(&[node("node-0", "4")]);
        for step in steps {
            cluster.step(step);
        }
        cluster.refuses = |_| None;
        for _ in 0..4 {
            cluster.now += Duration::from_secs(20);
            cluster.settle();
        }
        let mut free: BTreeMap<String, i64> = BTreeMap::new();
        for (key, object) in &cluster.objects {
            if key.resource() == "nodes" {
                *free.entry(key.name().to_owned()).or_default() += cpu_of(object);
            }
        }
        let wants = |pod: &Value| -> i64 {
            let cpu = &pod["spec"]["containers"][0]["resources"]["requests"]["cpu"];
            cpu.as_str().and_then(|cpu| cpu.parse().ok()).expect("a number")
        };
        let pods = || cluster.objects.iter().filter(|(key, _)| key.resource() == "pods");
        for (key, pod) in pods() {
            if let Some(node) = pod["spec"]["nodeName"].as_str() {
                // A node may have gone while a bind to it was on its way.
                if let Some(free) = free.get_mut(node) {
                    *free -= wants(pod);
                    prop_assert!(*free >= 0, "{node} has too much, at last {key}");
                }
            }
        }
        for (key, pod) in pods().filter(|(_, pod)| !pod["spec"]["nodeName"].is_string()) {
            prop_assert!(free.values().all(|free| *free < wants(pod)), "{key} fits but has no node: {free:?}");
        }
    }
}
