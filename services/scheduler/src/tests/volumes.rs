//! Pods with claims: the node is chosen first, then the claims get their volumes, then the pod its node.

use super::*;

const SELECTED: &str = "volume.kubernetes.io/selected-node";

fn class(provisioner: &str, mode: &str) -> Value {
    json!({"metadata": {"name": "local"}, "provisioner": provisioner, "volumeBindingMode": mode})
}

fn claim(annotations: Value, volume: &str) -> Value {
    json!({"metadata": {"name": "data", "uid": "u", "annotations": annotations},
        "spec": {"storageClassName": "local", "volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn with_claim(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name}, "spec": {"containers": [],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
}

fn volume(node: &str) -> Value {
    json!({"metadata": {"name": "pv"}, "spec": {"storageClassName": "local", "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": "default", "name": "data", "uid": "u"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]}]}}}})
}

fn two_nodes() -> Cluster {
    let node = |name: &str| json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "9"}}});
    Cluster::new(&[node("a"), node("b")])
}

impl Cluster {
    fn selected(&self) -> Option<&str> {
        let key = Key::object("", "persistentvolumeclaims", "default", "data");
        self.objects[&key]["metadata"]["annotations"][SELECTED].as_str()
    }

    fn wait(&mut self) {
        self.now += Duration::from_secs(60);
        self.settle();
    }
}

#[test]
fn a_pod_is_bound_once_its_claim_has_a_volume_on_the_chosen_node() {
    let mut cluster = two_nodes();
    cluster.put("pods", with_claim("p"));
    cluster.settle();
    let whole = "0/2 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/2 nodes are \
                 available: 2 Preemption is not helpful for scheduling.";
    assert_eq!(cluster.condition("p"), whole);
    cluster.put("storageclasses", class("sampan.io/local-path", "WaitForFirstConsumer"));
    cluster.put("persistentvolumeclaims", claim(json!({}), ""));
    cluster.settle();
    let node = cluster.selected().expect("a node is chosen").to_owned();
    assert_eq!(cluster.node_of("p"), None, "its claim has no volume yet");
    (0..4).for_each(|_| cluster.wait());
    assert_eq!(cluster.selected(), Some(node.as_str()), "the choice stays");
    let message = format!("waiting for volumes on node {node:?} for its claims: data");
    assert_eq!(cluster.condition("p"), message);
    cluster.put("persistentvolumes", volume(&node));
    let bound = json!({SELECTED: node, "pv.kubernetes.io/bind-completed": "yes"});
    cluster.put("persistentvolumeclaims", claim(bound, "pv"));
    cluster.settle();
    assert_eq!(cluster.node_of("p"), Some(node.as_str()));
}

#[test]
fn a_choice_that_was_taken_back_is_made_again_and_a_second_pod_follows_it() {
    let mut cluster = two_nodes();
    cluster.put("storageclasses", class("sampan.io/local-path", "WaitForFirstConsumer"));
    cluster.put("persistentvolumeclaims", claim(json!({}), ""));
    cluster.put("pods", with_claim("p"));
    cluster.settle();
    assert!(cluster.selected().is_some());
    cluster.put("persistentvolumeclaims", claim(json!({}), ""));
    cluster.settle();
    let node = cluster.selected().expect("chosen anew").to_owned();
    cluster.put("pods", with_claim("q"));
    cluster.put("persistentvolumes", volume(&node));
    let bound = json!({SELECTED: node, "pv.kubernetes.io/bind-completed": "yes"});
    cluster.put("persistentvolumeclaims", claim(bound, "pv"));
    cluster.settle();
    assert_eq!((cluster.node_of("p"), cluster.node_of("q")), (Some(node.as_str()), Some(node.as_str())));
}

#[test]
fn a_pod_goes_where_its_volume_is_or_says_that_it_cannot() {
    let mut cluster = two_nodes();
    cluster.put("storageclasses", class("sampan.io/local-path", "WaitForFirstConsumer"));
    let bound = || claim(json!({"pv.kubernetes.io/bind-completed": "yes"}), "pv");
    cluster.put("persistentvolumeclaims", bound());
    cluster.put("persistentvolumes", volume("gone"));
    cluster.put("pods", with_claim("p"));
    cluster.settle();
    assert!(
        cluster.condition("p").starts_with(
            "0/2 nodes are available: 2 node(s) had volume node affinity conflict. preemption: "
        ),
        "{}",
        cluster.condition("p")
    );
    cluster.put("persistentvolumes", volume("b"));
    cluster.settle();
    assert_eq!(cluster.node_of("p"), Some("b"));
}

#[test]
fn a_claim_that_gets_its_volume_without_a_pod_is_waited_for() {
    let mut cluster = two_nodes();
    cluster.put("storageclasses", class("csi.example.com", "Immediate"));
    cluster.put("persistentvolumeclaims", claim(json!({}), ""));
    cluster.put("pods", with_claim("p"));
    cluster.settle();
    let message = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: ";
    assert!(cluster.condition("p").starts_with(message), "{}", cluster.condition("p"));
    assert_eq!(cluster.selected(), None);
    cluster.put("storageclasses", class("kubernetes.io/no-provisioner", "WaitForFirstConsumer"));
    cluster.settle();
    let message =
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. preemption: ";
    assert!(cluster.condition("p").starts_with(message), "{}", cluster.condition("p"));
    let mut free = volume("a");
    free["spec"]["claimRef"] = Value::Null;
    cluster.put("persistentvolumes", free);
    cluster.settle();
    assert_eq!(cluster.selected(), Some("a"));
}
