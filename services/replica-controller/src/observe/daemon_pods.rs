//! Pods that are, or may become, a DaemonSet's.

use client::ownership::controller_of;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use placement::{AffinityJson, NodeAffinity};
use serde::Deserialize;

use super::Pod;
use super::owned::Dependent;

/// Label with the hash of the template that a pod was made from.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// A pod of a DaemonSet, or of nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonPod {
    /// The pod.
    pub pod: Pod,
    /// Where it is, or is to come by the only name that it accepts; empty if it may go anywhere.
    pub node: String,
}

/// Enough to see whose a pod is: most are another's, and those are not read any further.
#[derive(Deserialize)]
struct Glance {
    metadata: Owners,
    #[serde(default, deserialize_with = "client::or_default")]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owners {
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Default, Deserialize)]
struct Spec {
    affinity: Option<AffinityJson>,
}

// === impl DaemonPod ===

impl DaemonPod {
    /// The pod in its stored JSON; `None` for one that somebody else manages.
    pub fn parse(json: &[u8]) -> serde_json::Result<Option<DaemonPod>> {
        let Glance { metadata, spec } = serde_json::from_slice(json)?;
        if controller_of(metadata.owner_references.as_ref()).is_some_and(|owner| owner.kind != "DaemonSet") {
            return Ok(None);
        }
        let pod = Pod::parse(json)?;
        let node = if pod.node.is_empty() { pinned(spec.affinity) } else { pod.node.clone() };
        Ok(Some(DaemonPod { pod, node }))
    }

    /// Whether it was given its node.
    pub fn has_node(&self) -> bool {
        !self.pod.node.is_empty()
    }

    /// The hash of the template that it was made from.
    pub fn hash(&self) -> &str {
        self.pod.labels.get(HASH_LABEL).map_or("", String::as_str)
    }
}

fn pinned(affinity: Option<AffinityJson>) -> String {
    let affinity = NodeAffinity::of(None, affinity).unwrap_or_default();
    match affinity.pinned().as_deref() {
        Some([node]) => (*node).to_owned(),
        _ => String::new(),
    }
}

impl Dependent for DaemonPod {
    fn manager(&self) -> Option<&str> {
        self.pod.manager()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(owner: Value, spec: Value) -> Option<DaemonPod> {
        let pod = json!({"metadata": {"name": "p", "ownerReferences": owner}, "spec": spec});
        DaemonPod::parse(pod.to_string().as_bytes()).expect("a pod")
    }

    #[test]
    fn only_pods_of_daemon_sets_and_of_nobody_are_looked_at() {
        let owner = |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]);
        assert!(parse(owner("ReplicaSet"), json!({})).is_none());
        assert!(parse(owner("DaemonSet"), json!({})).is_some_and(|pod| pod.manager() == Some("u")));
        assert!(parse(Value::Null, json!({})).is_some_and(|pod| pod.manager().is_none()));
    }

    #[test]
    fn a_pod_belongs_to_the_node_that_it_has_or_names() {
        let field = json!([{"key": "metadata.name", "operator": "In", "values": ["a"]}]);
        let required = json!({"nodeSelectorTerms": [{"matchFields": field}]});
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        let node = |spec| parse(Value::Null, spec).expect("it is nobody's").node;
        assert_eq!(node(json!({"affinity": affinity})), "a");
        assert_eq!(node(json!({"affinity": affinity, "nodeName": "b"})), "b");
        assert_eq!(node(json!({})), "");
    }
}
