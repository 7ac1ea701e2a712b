//! A cluster in a map: the controllers decide, their writes are applied as the API server would, and what they see
//! is what came of it.

use std::collections::{BTreeMap, VecDeque};

use bus::command::{PatchFormat, Reply, Stored, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use model::{Key, Revision, Status};
use replica_controller::daemon_set::DaemonSets;
use replica_controller::deployment::Deployments;
use replica_controller::replica_set::ReplicaSets;
use serde_json::{Value, json};
use store::Item;

pub struct Cluster {
    pub now: Timestamp,
    objects: BTreeMap<Key, Value>,
    unseen: Vec<Observed>,
    revision: u64,
    deployments: Driven<Deployments>,
    sets: Driven<ReplicaSets>,
    daemons: Driven<DaemonSets>,
    /// Every Event's message in order.
    pub told: Vec<String>,
    /// Refuses writes, as a quota would.
    pub refuses: fn(&Write) -> bool,
}

struct Driven<C: Controller> {
    controller: C,
    queue: VecDeque<C::Key>,
}

impl<C: Controller + Default> Default for Driven<C> {
    fn default() -> Self {
        Driven { controller: C::default(), queue: VecDeque::new() }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster {
            now: "2024-01-01T00:00:00Z".parse().expect("a time"),
            objects: BTreeMap::new(),
            unseen: vec![Observed::Synced],
            revision: 0,
            deployments: Driven::default(),
            sets: Driven::default(),
            daemons: Driven::default(),
            told: Vec::new(),
            refuses: |_| false,
        }
    }
}

impl Cluster {
    /// A Deployment `web` of `web:<version>`.
    pub fn deploy(&mut self, replicas: i32, version: i32, spec: Value) {
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": format!("web:{version}")}]},
                },
            },
        });
        model::patch::merge_patch(&mut deployment["spec"], &spec).expect("a spec");
        self.create("apps", "deployments", deployment).expect("a Deployment");
    }

    /// A DaemonSet `agent` of `agent:<version>`.
    pub fn daemon(&mut self, version: i32) {
        let containers = json!([{"name": "agent", "image": format!("agent:{version}")}]);
        let set = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": containers}},
            },
        });
        self.create("apps", "daemonsets", set).expect("a DaemonSet");
    }

    /// Changes `agent`.
    pub fn change_daemon(&mut self, patch: Value) {
        let key = Key::object("apps", "daemonsets", "default", "agent");
        self.patch(&key, "", PatchFormat::Merge, &patch).expect("the DaemonSet is there");
    }

    /// A node, new or changed.
    pub fn node(&mut self, name: &str, labels: Value, taints: Value) {
        let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        self.put(Key::object("", "nodes", "", name), node).expect("a node");
    }

    /// Deletes a DaemonSet and leaves what it managed to nobody, as `--cascade=orphan` does.
    pub fn orphan_all(&mut self, name: &str) {
        self.delete(&Key::object("apps", "daemonsets", "default", name)).expect("the DaemonSet is there");
        let left: Vec<(Key, Value)> =
            self.objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, mut object) in left.into_iter().filter(|(key, _)| key.resource() != "nodes") {
            object["metadata"]["ownerReferences"] = Value::Null;
            self.put(key, object).expect("it is there");
        }
    }

    /// What a node says of a pod.
    pub fn set_status(&mut self, pod: &Key, status: Value) {
        self.patch(pod, "status", PatchFormat::Merge, &json!({"status": status})).expect("the pod is there");
    }

    /// Changes `web`.
    pub fn change(&mut self, patch: Value) {
        let key = Key::object("apps", "deployments", "default", "web");
        self.patch(&key, "", PatchFormat::Merge, &patch).expect("the Deployment is there");
    }

    pub fn set_image(&mut self, version: i32) {
        let containers = json!([{"name": "web", "image": format!("web:{version}")}]);
        self.change(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    }

    /// An object.
    pub fn get(&self, key: &Key) -> &Value {
        &self.objects[key]
    }

    pub fn deployment(&self) -> &Value {
        &self.objects[&Key::object("apps", "deployments", "default", "web")]
    }

    pub fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.deployment()["status"]["conditions"].as_array().expect("conditions");
        let condition = conditions.iter().find(|one| one["type"] == kind).expect("the condition");
        (
            condition["status"].as_str().unwrap_or("").to_owned(),
            condition["reason"].as_str().unwrap_or("").to_owned(),
        )
    }

    /// Everything of a resource.
    pub fn all(&self, resource: &str) -> Vec<&Value> {
        self.objects.iter().filter(|(key, _)| key.resource() == resource).map(|(_, value)| value).collect()
    }

    /// Sizes of the sets by the version of their image.
    pub fn sizes(&self) -> BTreeMap<String, i64> {
        let version = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        let size = |set: &Value| set["spec"]["replicas"].as_i64().expect("a size");
        self.all("replicasets").into_iter().map(|set| (text(&version(set)), size(set))).collect()
    }

    /// Pods that are not being deleted and serve.
    pub fn serving(&self) -> usize {
        self.all("pods").into_iter().filter(|pod| pod["status"]["conditions"][0]["status"] == "True").count()
    }

    pub fn tick(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).expect("a time");
    }

    /// Lets the controllers observe and decide until they have nothing to do.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            for observed in std::mem::take(&mut self.unseen) {
                self.deployments.observe(&observed);
                self.sets.observe(&observed);
                self.daemons.observe(&observed);
            }
            if let Some((key, decision)) = self.deployments.decide(self.now) {
                let replies = self.act(decision);
                self.told.extend(self.deployments.acted(&key, &replies));
            } else if let Some((key, decision)) = self.sets.decide(self.now) {
                let replies = self.act(decision);
                self.told.extend(self.sets.acted(&key, &replies));
            } else if let Some((key, decision)) = self.daemons.decide(self.now) {
                let replies = self.act(decision);
                self.told.extend(self.daemons.acted(&key, &replies));
            } else if self.unseen.is_empty() {
                return;
            }
        }
        panic!("the controllers never rest: {:?}", self.told);
    }

    /// Up to `count` pods that do not serve start to.
    pub fn start_pods(&mut self, count: usize) {
        let waiting =
            self.objects.iter().filter(|(key, pod)| key.resource() == "pods" && pod["status"].is_null());
        let keys: Vec<Key> = waiting.map(|(key, _)| key.clone()).take(count).collect();
        for key in keys {
            let ready =
                json!({"type": "Ready", "status": "True", "lastTransitionTime": self.now.to_string()});
            let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
            self.patch(&key, "status", PatchFormat::Merge, &status).expect("the pod is there");
        }
    }

    fn act(&mut self, decision: Decision) -> Vec<Reply> {
        self.told.extend(decision.notes.into_iter().map(|note| note.message));
        decision.writes.iter().map(|write| self.write_one(write)).collect()
    }

    fn write_one(&mut self, write: &Write) -> Reply {
        if (self.refuses)(write) {
            return Err(Status::forbidden("", "pods", "", "exceeded quota"));
        }
        match write {
            Write::Create { resource, object, .. } => {
                let object = serde_json::from_slice(object).expect("JSON");
                self.create(&resource.group, &resource.plural, object)
            }
            Write::Patch { resource, namespace, name, subresource, format, patch } => {
                let key = Key::object(&resource.group, &resource.plural, namespace, name);
                let patch = serde_json::from_slice(patch).expect("JSON");
                self.patch(&key, subresource, *format, &patch)
            }
            Write::Delete { resource, namespace, name, .. } => {
                self.delete(&Key::object(&resource.group, &resource.plural, namespace, name))
            }
            other => panic!("controllers do not write {other:?}"),
        }
    }

    fn create(&mut self, group: &str, plural: &str, mut object: Value) -> Reply {
        let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
        if !prefix.is_empty() {
            object["metadata"]["name"] = json!(format!("{prefix}{:05}", self.revision));
        }
        let name = text(&object["metadata"]["name"]);
        let key = Key::object(group, plural, "default", &name);
        if self.objects.contains_key(&key) {
            return Err(Status::already_exists(group, plural, &name));
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.revision));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!(self.now.to_string());
        self.put(key, object)
    }

    fn patch(&mut self, key: &Key, subresource: &str, format: PatchFormat, patch: &Value) -> Reply {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return Err(Status::not_found(key.group(), key.resource(), key.name()));
        };
        let before = object.clone();
        match format {
            PatchFormat::Strategic => adopt(&mut object, patch),
            _ => model::patch::merge_patch(&mut object, patch).expect("a patch"),
        }
        assert_eq!(object["metadata"]["uid"], before["metadata"]["uid"]);
        if subresource == "status" {
            assert_eq!(object["spec"], before["spec"]);
        } else if object["spec"] != before["spec"] {
            object["metadata"]["generation"] =
                json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.put(key.clone(), object)
    }

    fn put(&mut self, key: Key, object: Value) -> Reply {
        self.revision += 1;
        let item = self.item(key.clone(), &object);
        self.objects.insert(key, object);
        let stored = Stored { object: item.value.clone(), revision: self.revision };
        self.unseen.push(Observed::Put(item));
        Ok(stored)
    }

    pub fn delete(&mut self, key: &Key) -> Reply {
        let Some(object) = self.objects.remove(key) else {
            return Err(Status::not_found(key.group(), key.resource(), key.name()));
        };
        self.revision += 1;
        let previous = self.item(key.clone(), &object);
        self.unseen.push(Observed::Delete { key: key.clone(), previous });
        Ok(Stored { object: Default::default(), revision: self.revision })
    }

    fn item(&self, key: Key, object: &Value) -> Item {
        let revision = Revision(self.revision);
        Item { key, revision, created: revision, value: object.to_string().into() }
    }
}

impl<C: Controller> Driven<C> {
    fn decide(&mut self, now: Timestamp) -> Option<(C::Key, Decision)> {
        let key = self.queue.pop_front()?;
        let decision = self.controller.decide(&key, now);
        Some((key, decision))
    }

    fn acted(&mut self, key: &C::Key, replies: &[Reply]) -> Vec<String> {
        let notes =
            replies.iter().enumerate().filter_map(|(at, reply)| self.controller.acted(key, at, reply));
        notes.map(|note| note.message).collect()
    }

    fn observe(&mut self, observed: &Observed) {
        let followed = |key: &Key| C::COLLECTIONS.contains(&(key.group(), key.resource()));
        let concerns = match observed {
            Observed::Put(item) => followed(&item.key),
            Observed::Delete { key, .. } => followed(key),
            _ => true,
        };
        for key in if concerns { self.controller.observe(observed) } else { Vec::new() } {
            if !self.queue.contains(&key) {
                self.queue.push_back(key);
            }
        }
    }
}

/// The one strategic merge patch that the controllers send to objects of nobody.
fn adopt(object: &mut Value, patch: &Value) {
    assert!(object["metadata"]["ownerReferences"].is_null(), "nothing is released here");
    object["metadata"]["ownerReferences"] = patch["metadata"]["ownerReferences"].clone();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
