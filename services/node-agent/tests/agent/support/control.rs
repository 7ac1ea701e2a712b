//! The API server's side of the node protocol: objects in a map, a chain of changes, and reports taken in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::node::{
    Attach, Heartbeat, PodReport, Report, ReportReply, Snapshot, TokenMade, TokenReply, TokenWish, Want,
    Wanted,
};
use bus::{Bus, subject};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const HOST: &str = "api-server.test";

/// One node's API server.
#[derive(Clone)]
pub struct Control {
    bus: Bus,
    node: String,
    /// Tells the pods of this test from those of others on the same machine.
    mark: u32,
    state: Arc<Mutex<State>>,
    /// Links are published in their order.
    order: Arc<tokio::sync::Mutex<()>>,
    /// Ends with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    session: String,
    link: u64,
    node: Value,
    events: Vec<Value>,
    reports: usize,
    made: u64,
}

// === impl Control ===

impl Control {
    pub async fn start(bus: &Bus, node: &str) -> Self {
        let mut attaches = bus.serve(&subject::attach(node), "test").await.unwrap();
        let mut wishes = bus.serve(&subject::token(node), "test").await.unwrap();
        let mut reports = bus.serve(&subject::report(node), "test").await.unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            while let Some(request) = attaches.next().await {
                let Attach { session, .. } = request.decode().unwrap();
                let (objects, link) = {
                    let mut state = shared.lock().unwrap();
                    state.session = session;
                    (state.objects.iter().map(wanted).collect::<Vec<_>>(), state.link)
                };
                request.answer(&Snapshot::Part(objects)).await;
                request.answer(&Snapshot::End { link, host: HOST.to_owned() }).await;
            }
        });
        let control = Control {
            bus: bus.clone(),
            node: node.to_owned(),
            mark: rand::random(),
            order: Arc::default(),
            state,
            _tasks: Arc::default(),
        };
        let taking = control.clone();
        tasks.spawn(async move {
            while let Some(request) = reports.next().await {
                let report: Report = request.decode().unwrap();
                let reply = taking.take(report).await;
                request.answer(&reply).await;
            }
        });
        tasks.spawn(async move {
            while let Some(request) = wishes.next().await {
                let wish: TokenWish = request.decode().unwrap();
                let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(wish.seconds as i64);
                let token = format!("token-of-{}-for-{}", wish.pod, wish.audience);
                let made = TokenMade { token, expires_ms: until.as_millisecond() as u64 };
                request.answer(&TokenReply::Ok(made)).await;
            }
        });
        let beating = control.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                beating.say(Vec::new()).await;
            }
        });
        Control { _tasks: Arc::new(tasks), ..control }
    }

    async fn take(&self, report: Report) -> ReportReply {
        let mut changes = Vec::new();
        {
            let mut state = self.state.lock().unwrap();
            state.reports += 1;
            if let Some(node) = report.node {
                state.node = serde_json::from_slice(&node).unwrap();
            }
            state.events.extend(report.events.iter().map(|event| serde_json::from_slice(event).unwrap()));
            for PodReport { namespace, name, uid, status, gone } in report.pods {
                let key = format!("core/pods/{namespace}/{name}");
                let Some(pod) = state.objects.get_mut(&key).filter(|pod| pod["metadata"]["uid"] == *uid)
                else {
                    continue;
                };
                if gone {
                    state.objects.remove(&key);
                    changes.push(Wanted { key, object: None });
                } else {
                    pod["status"] = serde_json::from_slice(&status.unwrap()).unwrap();
                    changes.push(wanted((&key, pod)));
                }
            }
        }
        self.say(changes).await;
        ReportReply::default()
    }

    async fn say(&self, changes: Vec<Wanted>) {
        let _turn = self.order.lock().await;
        let want = {
            let mut state = self.state.lock().unwrap();
            let prev = state.link;
            state.link += u64::from(!changes.is_empty());
            Want { session: state.session.clone(), prev, link: state.link, changes, traces: Vec::new() }
        };
        self.bus.publish(&subject::want(&self.node), &want).await.unwrap();
    }

    pub async fn put(&self, resource: &str, name: &str, object: Value) {
        let key = format!("core/{resource}/default/{name}");
        let change = wanted((&key, &object));
        self.state.lock().unwrap().objects.insert(key, object);
        self.say(vec![change]).await;
    }

    /// A new pod of one container, whose fields `container` gives, with further fields of the spec.
    pub async fn run(&self, name: &str, container: Value, spec: Value) {
        let mut container = container;
        container["name"] = json!("main");
        if container["image"].is_null() {
            container["image"] = json!(super::machine::IMAGE);
        }
        container["imagePullPolicy"] = json!("IfNotPresent");
        let mut spec = spec;
        spec["containers"] = json!([container]);
        let uid = {
            let mut state = self.state.lock().unwrap();
            state.made += 1;
            format!("test-{:08x}-{}", self.mark, state.made)
        };
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": uid, "labels": {"app": name}},
            "spec": spec, "status": {"phase": "Pending"},
        });
        self.put("pods", name, pod).await;
    }

    /// A request to delete a pod.
    pub async fn delete(&self, name: &str, grace: i64) {
        let mut pod = self.pod(name);
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        pod["metadata"]["deletionTimestamp"] = json!(until.to_string());
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.put("pods", name, pod).await;
    }

    /// The pod is gone without the node being asked.
    pub async fn remove(&self, name: &str) {
        let key = format!("core/pods/default/{name}");
        self.state.lock().unwrap().objects.remove(&key);
        self.say(vec![Wanted { key, object: None }]).await;
    }

    pub fn pod(&self, name: &str) -> Value {
        let key = format!("core/pods/default/{name}");
        self.state.lock().unwrap().objects.get(&key).cloned().unwrap_or_default()
    }

    pub fn status(&self, name: &str) -> Value {
        self.pod(name)["status"].clone()
    }

    pub fn uid(&self, name: &str) -> String {
        self.pod(name)["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
    }

    /// The names of the pods that there are.
    pub fn pods(&self) -> Vec<String> {
        let state = self.state.lock().expect("nobody panics holding it");
        state
            .objects
            .keys()
            .filter_map(|key| key.strip_prefix("core/pods/default/"))
            .map(str::to_owned)
            .collect()
    }

    /// The status of the pod's container `main`.
    pub fn main(&self, name: &str) -> Value {
        self.status(name)["containerStatuses"][0].clone()
    }

    /// What others make of a node that they do not hear: neither it nor its pods are ready.
    pub fn give_up(&self) {
        let mut state = self.state.lock().unwrap();
        let State { node, objects, .. } = &mut *state;
        for object in objects.values_mut().chain([node]) {
            for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
                condition["status"] = json!("Unknown");
            }
        }
    }

    /// The attachment that is served.
    pub fn session(&self) -> String {
        self.state.lock().unwrap().session.clone()
    }

    /// Where it says that it runs.
    pub fn host(&self) -> &'static str {
        HOST
    }

    pub fn node(&self) -> Value {
        self.state.lock().unwrap().node.clone()
    }

    pub fn reports(&self) -> usize {
        self.state.lock().unwrap().reports
    }

    /// The reasons of the events about a pod, in order.
    pub fn reasons(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let about = state.events.iter().filter(|event| event["involvedObject"]["name"] == name);
        about.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until `holds`, and fails with `shown` otherwise.
    pub async fn until(&self, what: &str, seconds: u64, holds: impl Fn(&Control) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while !holds(self) {
            if tokio::time::Instant::now() > deadline {
                let state = self.state.lock().unwrap();
                panic!("{what}: not so after {seconds} s; {:#?} {:#?}", state.objects, state.events);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_running(&self, name: &str) {
        self.until(&format!("{name} runs and is ready"), 30, |control| is_ready(&control.status(name))).await;
    }

    pub async fn next_heartbeat(&self) -> Heartbeat {
        let mut beats = self.bus.subscribe(&subject::heartbeat(&self.node)).await.unwrap();
        let beat = tokio::time::timeout(Duration::from_secs(30), beats.next()).await.unwrap().unwrap();
        beat.decode().unwrap()
    }
}

pub fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default()
}

fn is_ready(status: &Value) -> bool {
    status["phase"] == "Running" && condition(status, "Ready")["status"] == "True"
}

fn wanted((key, object): (&String, &Value)) -> Wanted {
    Wanted { key: key.clone(), object: Some(object.to_string().into()) }
}
