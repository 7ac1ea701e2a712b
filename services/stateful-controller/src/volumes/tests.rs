//! The whole controller against a cluster in a map.

use std::collections::VecDeque;

use bus::command::{Stored, Write};
use bus::node::{LOCAL_PATH, VOLUME_NODE};
use model::{Revision, Status};
use serde_json::{Value, json};

use super::*;

/// Objects as an API server keeps them, and the controller that sees them.
#[derive(Default)]
struct Cluster {
    controller: Volumes,
    objects: BTreeMap<Key, Value>,
    queue: VecDeque<Key>,
    revision: u64,
    told: Vec<String>,
}

impl Cluster {
    /// A cluster with the class of local volumes, and one by hand.
    fn new() -> Self {
        let mut cluster = Cluster::default();
        for (name, provisioner, mode) in [
            ("local-path", LOCAL_PATH, "WaitForFirstConsumer"),
            ("by-hand", "kubernetes.io/no-provisioner", "Immediate"),
            ("on-nodes", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
            ("far", "csi.example.com", "Immediate"),
        ] {
            let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
                "reclaimPolicy": "Delete"});
            cluster.put(Key::object("storage.k8s.io", "storageclasses", "", name), class);
        }
        for node in ["n1", "n2"] {
            let metadata = json!({"name": node, "labels": {"kubernetes.io/hostname": node},
                "annotations": {VOLUMES_FOLDER: "/data/volumes"}});
            cluster.put(Key::object("", "nodes", "", node), json!({ "metadata": metadata }));
        }
        cluster
    }

    fn put(&mut self, key: Key, mut object: Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        object["metadata"]["name"] = json!(key.name());
        if !key.namespace().is_empty() {
            object["metadata"]["namespace"] = json!(key.namespace());
        }
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.revision));
        }
        let finalizers = object["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if !object["metadata"]["deletionTimestamp"].is_null() && finalizers == 0 {
            return self.remove(&key);
        }
        let revision = Revision(self.revision);
        let item = Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        self.objects.insert(key, object);
        let concerned = self.controller.observe(&Observed::Put(item));
        self.queue.extend(concerned);
    }

    fn remove(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        let revision = Revision(self.revision);
        let previous =
            Item { key: key.clone(), revision, created: revision, value: object.to_string().into() };
        let concerned = self.controller.observe(&Observed::Delete { key: key.clone(), previous });
        self.queue.extend(concerned);
    }

    /// Lets the controller decide until it has nothing to do.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let Some(key) = self.queue.pop_front() else { return };
            let decision = self.controller.decide(&key, Timestamp::UNIX_EPOCH);
            self.told.extend(decision.notes.into_iter().map(said));
            for (index, write) in decision.writes.into_iter().enumerate() {
                let reply = self.write(write);
                self.told.extend(self.controller.acted(&key, index, &reply).map(said));
            }
        }
        panic!("the controller never rests: {:?}", self.told);
    }

    fn write(&mut self, write: Write) -> Reply {
        match write {
            Write::Create { resource, namespace, object } => {
                let mut object: Value = serde_json::from_slice(&object).expect("JSON");
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                let key = Key::object("", &resource.plural, &namespace, &name);
                if self.objects.contains_key(&key) {
                    return Err(Status::already_exists("", &resource.plural, &name));
                }
                let protection = match resource.plural.as_str() {
                    "persistentvolumes" => VOLUME_PROTECTION,
                    _ => CLAIM_PROTECTION,
                };
                let mut finalizers = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                finalizers.push(json!(protection));
                object["metadata"]["finalizers"] = json!(finalizers);
                object["status"] = json!({"phase": "Pending"});
                self.put(key, object);
            }
            Write::Patch { resource, namespace, name, subresource, patch, .. } => {
                let key = Key::object("", &resource.plural, &namespace, &name);
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                let mut object = self.objects.get(&key).cloned().expect("it is there");
                if patch["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return Err(Status::conflict("", &resource.plural, &name, "it has changed"));
                }
                assert_eq!(subresource == "status", !patch["status"].is_null(), "each part by itself");
                merge(&mut object, &patch);
                self.put(key, object);
            }
            Write::Delete { resource, namespace, name, .. } => {
                self.delete(&Key::object("", &resource.plural, &namespace, &name));
            }
            other => panic!("not expected: {other:?}"),
        }
        Ok(Stored::default())
    }

    fn delete(&mut self, key: &Key) {
        let mut object = self.objects.get(key).cloned().expect("it is there");
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.put(key.clone(), object);
    }

    fn change(&mut self, key: &Key, patch: Value) {
        let mut object = self.objects.get(key).cloned().expect("it is there");
        merge(&mut object, &patch);
        self.put(key.clone(), object);
        self.settle();
    }

    fn claim(&mut self, name: &str, class: &str) -> Key {
        let key = Key::object("", "persistentvolumeclaims", "d", name);
        let claim = json!({"metadata": {"finalizers": [CLAIM_PROTECTION]}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"}});
        self.put(key.clone(), claim);
        self.settle();
        key
    }

    fn volume(&mut self, name: &str, class: &str, size: &str, more: Value) -> Key {
        let key = volume_key(name);
        let mut volume = json!({"metadata": {"finalizers": [VOLUME_PROTECTION]}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "capacity": {"storage": size},
            "hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Pending"}});
        merge(&mut volume["spec"], &more);
        self.put(key.clone(), volume);
        self.settle();
        key
    }

    fn pod(&mut self, name: &str, claim: &str, node: &str) -> Key {
        let key = Key::object("", "pods", "d", name);
        let pod = json!({"spec": {"nodeName": node, "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}});
        self.put(key.clone(), pod);
        self.settle();
        key
    }

    /// As the scheduler does.
    fn select(&mut self, claim: &Key, node: &str) {
        self.change(claim, json!({"metadata": {"annotations": {wanted::SELECTED_NODE: node}}}));
    }

    fn at(&self, key: &Key, pointer: &str) -> &Value {
        self.objects[key].pointer(pointer).unwrap_or(&Value::Null)
    }

    /// `phase volume`
    fn state(&self, key: &Key) -> String {
        let other = match key.resource() {
            "persistentvolumes" => self.at(key, "/spec/claimRef/name"),
            _ => self.at(key, "/spec/volumeName"),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(self.at(key, "/status/phase")), text(other)).trim().to_owned()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn said(note: Note) -> String {
    format!("{} {}", note.reason, note.message)
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let target = object.as_object_mut().expect("it was made one");
    for (name, value) in fields {
        match value {
            Value::Null => drop(target.remove(name)),
            value => merge(target.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

#[test]
fn a_claim_takes_the_smallest_volume_that_holds_it_and_both_say_so() {
    let mut cluster = Cluster::new();
    let large = cluster.volume("large", "by-hand", "10Gi", json!({}));
    let small = cluster.volume("small", "by-hand", "512Mi", json!({}));
    let right = cluster.volume("right", "by-hand", "2Gi", json!({}));
    assert_eq!(cluster.state(&right), "Available");
    let claim = cluster.claim("c", "by-hand");
    assert_eq!((cluster.state(&claim), cluster.state(&right)), ("Bound right".into(), "Bound c".into()));
    assert_eq!((cluster.state(&large), cluster.state(&small)), ("Available".into(), "Available".into()));
    assert_eq!(*cluster.at(&claim, "/status/capacity/storage"), json!("2Gi"));
    assert_eq!(*cluster.at(&claim, "/metadata/annotations/pv.kubernetes.io~1bind-completed"), json!("yes"));
    assert_eq!(cluster.at(&right, "/spec/claimRef/uid"), cluster.at(&claim, "/metadata/uid"));
}

#[test]
fn two_claims_never_get_one_volume() {
    let mut cluster = Cluster::new();
    let (a, b) = (cluster.claim("a", "by-hand"), cluster.claim("b", "by-hand"));
    cluster.told();
    cluster.volume("one", "by-hand", "1Gi", json!({}));
    assert_eq!((cluster.state(&a), cluster.state(&b)), ("Bound one".into(), "Pending".into()));
    cluster.volume("two", "by-hand", "1Gi", json!({}));
    assert_eq!(cluster.state(&b), "Bound two");
}

#[test]
fn a_volume_that_is_reserved_by_name_goes_to_nobody_else() {
    let mut cluster = Cluster::new();
    let reserved = json!({"claimRef": {"namespace": "d", "name": "late"}});
    let volume = cluster.volume("v", "by-hand", "1Gi", reserved);
    assert_eq!(cluster.state(&volume), "Available late");
    let other = cluster.claim("other", "by-hand");
    assert_eq!(cluster.state(&other), "Pending");
    let late = cluster.claim("late", "by-hand");
    assert_eq!((cluster.state(&late), cluster.state(&volume)), ("Bound v".into(), "Bound late".into()));
}

#[test]
fn a_claim_may_name_its_volume_and_hears_when_that_cannot_be() {
    let mut cluster = Cluster::new();
    cluster.volume("tiny", "by-hand", "1Mi", json!({}));
    let claim = cluster.claim("c", "by-hand");
    cluster.told();
    cluster.change(&claim, json!({"spec": {"volumeName": "tiny"}}));
    assert_eq!(
        cluster.told(),
        ["VolumeMismatch Cannot bind to requested volume \"tiny\": requested PV is too small"]
    );
    let named = Key::object("", "persistentvolumeclaims", "d", "named");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand", "volumeName": "later",
        "resources": {"requests": {"storage": "1Gi"}}});
    cluster.put(named.clone(), json!({ "spec": spec }));
    cluster.settle();
    assert_eq!(cluster.told(), ["FailedBinding volume \"later\" not found"]);
    cluster.volume("later", "by-hand", "1Gi", json!({}));
    assert_eq!(cluster.state(&named), "Bound later");
}

#[test]
fn a_local_volume_is_made_on_the_node_that_was_chosen() {
    let mut cluster = Cluster::new();
    let claim = cluster.claim("c", "local-path");
    assert_eq!(
        cluster.told(),
        ["WaitForFirstConsumer waiting for first consumer to be created before binding"]
    );
    cluster.pod("p", "c", "");
    assert_eq!(cluster.told(), ["WaitForPodScheduled waiting for pod p to be scheduled"]);
    cluster.select(&claim, "n2");
    let name = format!("pvc-{}", cluster.at(&claim, "/metadata/uid").as_str().expect("a uid"));
    let volume = volume_key(&name);
    assert_eq!(cluster.told(), [format!("ProvisioningSucceeded Successfully provisioned volume {name}")]);
    assert_eq!((cluster.state(&claim), cluster.state(&volume)), (format!("Bound {name}"), "Bound c".into()));
    assert_eq!(*cluster.at(&volume, "/spec/local/path"), json!(format!("/data/volumes/{name}")));
    assert_eq!(cluster.objects[&volume]["metadata"]["annotations"][VOLUME_NODE], "n2");
    let values = "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values";
    assert_eq!(*cluster.at(&volume, values), json!(["n2"]));
}

#[test]
fn a_claim_in_use_stays_and_its_data_goes_after_it() {
    let mut cluster = Cluster::new();
    let claim = cluster.claim("c", "local-path");
    let pod = cluster.pod("p", "c", "n1");
    cluster.select(&claim, "n1");
    let volume = volume_key(cluster.at(&claim, "/spec/volumeName").as_str().expect("a volume"));
    cluster.delete(&claim);
    cluster.settle();
    assert!(cluster.objects.contains_key(&claim), "a pod uses it");
    assert_eq!(cluster.state(&volume), "Bound c");
    cluster.remove(&pod);
    cluster.settle();
    assert!(!cluster.objects.contains_key(&claim));
    assert_eq!(cluster.state(&volume), "Released c");
    assert_eq!(
        *cluster.at(&volume, "/metadata/finalizers"),
        json!([LOCAL_PATH]),
        "its node has not removed the data yet"
    );
    cluster.remove(&Key::object("", "nodes", "", "n1"));
    cluster.settle();
    assert!(!cluster.objects.contains_key(&volume), "the data went with the node");
}

#[test]
fn what_is_to_be_kept_is_kept_and_what_cannot_be_deleted_says_so() {
    let mut cluster = Cluster::new();
    let kept = cluster.volume("kept", "by-hand", "1Gi", json!({}));
    let claim = cluster.claim("a", "by-hand");
    cluster.delete(&claim);
    cluster.settle();
    assert_eq!(cluster.state(&kept), "Released a");
    let odd = cluster.volume("odd", "by-hand", "1Gi", json!({"persistentVolumeReclaimPolicy": "Delete"}));
    let claim = cluster.claim("b", "by-hand");
    cluster.told();
    cluster.delete(&claim);
    cluster.settle();
    assert_eq!(cluster.state(&odd), "Failed b");
    assert_eq!(cluster.told(), ["VolumeFailedDelete no volume plugin can delete what lies there"]);
    for volume in [kept, odd] {
        cluster.delete(&volume);
        cluster.settle();
        assert!(!cluster.objects.contains_key(&volume), "whoever deletes it may");
    }
}

#[test]
fn a_claim_without_its_volume_is_lost() {
    let mut cluster = Cluster::new();
    let volume = cluster.volume("v", "by-hand", "1Gi", json!({}));
    let claim = cluster.claim("c", "by-hand");
    cluster.told();
    cluster.remove(&volume);
    cluster.settle();
    assert_eq!(cluster.state(&claim), "Lost v");
    assert_eq!(
        cluster.told(),
        ["ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
    );
}

#[test]
fn volumes_of_other_provisioners_are_left_to_them() {
    let mut cluster = Cluster::new();
    let claim = cluster.claim("c", "far");
    for name in PROVISIONER {
        assert_eq!(cluster.objects[&claim]["metadata"]["annotations"][name], "csi.example.com");
    }
    assert!(
        cluster.told()[0].starts_with("ExternalProvisioning Waiting for a volume to be created either by")
    );
    let name = format!("pvc-{}", cluster.at(&claim, "/metadata/uid").as_str().expect("a uid"));
    let reference =
        json!({"claimRef": {"namespace": "d", "name": "c", "uid": cluster.at(&claim, "/metadata/uid")}});
    let volume = cluster.volume(&name, "far", "1Gi", reference);
    assert_eq!((cluster.state(&claim), cluster.state(&volume)), (format!("Bound {name}"), "Bound c".into()));
}

#[test]
fn a_node_that_cannot_have_the_volume_is_chosen_anew() {
    let mut cluster = Cluster::new();
    let claim = cluster.claim("c", "on-nodes");
    let affinity = json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}}});
    cluster.volume("there", "on-nodes", "1Gi", affinity);
    assert_eq!(cluster.state(&claim), "Pending", "no pod is there");
    cluster.select(&claim, "n2");
    assert!(cluster.objects[&claim]["metadata"]["annotations"][wanted::SELECTED_NODE].is_null());
    cluster.select(&claim, "n1");
    assert_eq!(cluster.state(&claim), "Bound there");
    let gone = cluster.claim("gone", "local-path");
    cluster.select(&gone, "n9");
    assert!(cluster.objects[&gone]["metadata"]["annotations"][wanted::SELECTED_NODE].is_null());
}

#[test]
fn why_a_volume_cannot_be_made_is_told_once() {
    let mut cluster = Cluster::new();
    let cases = [
        ("", json!({}), "no persistent volumes available for this claim and no storage class is set"),
        ("none", json!({}), "storageclass.storage.k8s.io \"none\" not found"),
        (
            "local-path",
            json!({"accessModes": ["ReadWriteMany"]}),
            "failed to provision volume with StorageClass \"local-path\": a folder of one node can only be \
             ReadWriteOnce or ReadWriteOncePod",
        ),
    ];
    for (class, spec, why) in cases {
        let claim = cluster.claim("c", class);
        cluster.change(
            &claim,
            json!({"metadata": {"annotations": {wanted::SELECTED_NODE: "n1"}}, "spec": spec}),
        );
        cluster.change(&claim, json!({"metadata": {"labels": {"a": "b"}}}));
        let told = cluster.told();
        assert!(told.last().is_some_and(|last| last.ends_with(why)), "{told:?}");
        assert_eq!(told.iter().filter(|one| one.ends_with(why)).count(), 1, "{told:?}");
        cluster.remove(&claim);
    }
}

#[test]
fn a_claim_without_a_class_gets_the_default_one_when_there_is_one() {
    let mut cluster = Cluster::new();
    let claim = cluster.claim("c", "x");
    cluster.change(&claim, json!({"spec": {"storageClassName": null}}));
    assert_eq!(*cluster.at(&claim, "/spec/storageClassName"), Value::Null);
    let class = Key::object("storage.k8s.io", "storageclasses", "", "local-path");
    let mark = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    cluster.change(&class, mark);
    assert_eq!(*cluster.at(&claim, "/spec/storageClassName"), json!("local-path"));
}

#[test]
fn a_pods_own_claims_are_made_and_belong_to_it() {
    let mut cluster = Cluster::new();
    let pod = Key::object("", "pods", "d", "p");
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
        "resources": {"requests": {"storage": "1Gi"}}}});
    let volumes = json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]);
    cluster.put(pod.clone(), json!({"spec": {"volumes": volumes}}));
    cluster.settle();
    let claim = Key::object("", "persistentvolumeclaims", "d", "p-scratch");
    assert_eq!(cluster.at(&claim, "/metadata/ownerReferences/0/uid"), cluster.at(&pod, "/metadata/uid"));
    cluster.told();
    cluster.change(&claim, json!({"metadata": {"ownerReferences": null}}));
    cluster.change(&pod, json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(
        cluster.told().last().map(String::as_str),
        Some("EphemeralVolumeFailed PVC d/p-scratch was not created for the pod")
    );
}
