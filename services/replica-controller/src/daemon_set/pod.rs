//! The pod that a DaemonSet puts on a node. Pure.

use client::ownership::controller_reference;
use model::template::labels_mut;
use serde_json::{Value, json};

use crate::observe::DaemonSet;
use crate::observe::daemon_pods::HASH_LABEL;
use crate::pods;

/// What a daemon lives through: a node that does not answer still has it when it is back, and one that is short of
/// something or cordoned off is to be looked after all the more.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// One that brings its node its network cannot wait for it.
const TOLERATED_ON_HOST_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The spec of a set's pods, wherever they are.
pub fn spec(set: &DaemonSet) -> Value {
    let mut spec = set.template.0.get("spec").cloned().unwrap_or_else(|| json!({}));
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let on_host_network = spec["hostNetwork"] == json!(true);
    let own = TOLERATED.into_iter().chain(on_host_network.then_some(TOLERATED_ON_HOST_NETWORK));
    for (key, effect) in own {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        let means_it =
            |one: &Value| ["key", "operator", "effect"].iter().all(|field| one[*field] == toleration[*field]);
        // Whatever the template says of it, it holds for ever.
        match tolerations.iter_mut().find(|one| means_it(one)) {
            Some(one) => *one = toleration,
            None => tolerations.push(toleration),
        }
    }
    spec["tolerations"] = Value::Array(tolerations);
    spec
}

/// A pod of the set with this hash of its template, for any node.
pub fn blueprint(set: &DaemonSet, hash: &str) -> Value {
    let reference = controller_reference("apps/v1", "DaemonSet", set.key.name(), &set.uid);
    let mut pod = pods::from_template(&set.key, &reference, &set.template);
    labels_mut(&mut pod).insert(HASH_LABEL.to_owned(), json!(hash));
    pod["spec"] = spec(set);
    pod
}

/// The pod for one node: the scheduler may put it nowhere else, and still judges whether there is room.
pub fn pinned(blueprint: &Value, node: &str) -> Value {
    let mut pod = blueprint.clone();
    let field = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let required =
        &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"].as_array_mut().filter(|terms| !terms.is_empty()) {
        Some(terms) => terms.iter_mut().for_each(|term| term["matchFields"] = field.clone()),
        None => *required = json!({"nodeSelectorTerms": [{"matchFields": field}]}),
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon_set::tests::set;

    fn tolerations(spec: &Value) -> Vec<&str> {
        spec["tolerations"]
            .as_array()
            .expect("tolerations")
            .iter()
            .filter_map(|one| one["key"].as_str())
            .collect()
    }

    #[test]
    fn a_daemon_tolerates_the_troubles_of_nodes() {
        let plain = set(|_| ());
        assert_eq!(tolerations(&spec(&plain)).len(), TOLERATED.len());
        let host = set(|json| json["spec"]["template"]["spec"]["hostNetwork"] = json!(true));
        assert!(tolerations(&spec(&host)).contains(&TOLERATED_ON_HOST_NETWORK.0));
    }

    #[test]
    fn its_own_tolerations_are_kept_but_not_those_that_run_out() {
        let short = json!([
            {"key": "gpu", "operator": "Exists"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
        ]);
        let spec = spec(&set(|json| json["spec"]["template"]["spec"]["tolerations"] = short));
        assert_eq!(tolerations(&spec)[0], "gpu");
        assert_eq!(tolerations(&spec).len(), 1 + TOLERATED.len());
        assert!(!spec.to_string().contains("tolerationSeconds"), "{spec}");
    }

    #[test]
    fn a_pod_is_pinned_to_its_node_beside_what_it_asks_for() {
        let terms = |set: &DaemonSet| {
            let pod = pinned(&blueprint(set, "h"), "a");
            let required =
                &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            required["nodeSelectorTerms"].clone()
        };
        let field = json!([{"key": "metadata.name", "operator": "In", "values": ["a"]}]);
        assert_eq!(terms(&set(|_| ())), json!([{"matchFields": field}]));
        let zone = json!([{"key": "zone", "operator": "Exists"}]);
        let required = json!({"nodeSelectorTerms": [{"matchExpressions": zone}]});
        let asking = set(|json| {
            json["spec"]["template"]["spec"]["affinity"] =
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        });
        assert_eq!(terms(&asking), json!([{"matchExpressions": zone, "matchFields": field}]));
    }

    #[test]
    fn a_pod_carries_the_hash_of_its_template_and_its_owner() {
        let pod = blueprint(&set(|_| ()), "h");
        assert_eq!(pod["metadata"]["labels"], json!({"app": "agent", HASH_LABEL: "h"}));
        assert_eq!(pod["metadata"]["generateName"], "agent-");
        let owner = &pod["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"]), (&json!("DaemonSet"), &json!("agent-uid")));
    }
}
