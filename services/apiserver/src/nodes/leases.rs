//! Heartbeats as the Leases that upstream's nodes write: read-only, in the namespace `kube-node-lease`.

use bytes::Bytes;
use jiff::Timestamp;
use model::{Key, Object};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::heartbeats::Beat;
use crate::registry::{Registry, decode};
use crate::verbs::Target;

/// The namespace in which they are shown.
const NAMESPACE: &str = "kube-node-lease";
/// How long a heartbeat counts, in seconds: upstream's value, which tools that look at these Leases know.
const DURATION_SECONDS: u32 = 40;

/// The Lease of the node that the target names, if it is about one and the node was heard of.
pub fn get(registry: &Registry, target: &Target) -> Option<Bytes> {
    if !is_about_leases(target) || target.namespace != NAMESPACE || !target.subresource.is_empty() {
        return None;
    }
    let node = decode(&registry.store().get(&Key::object("", "nodes", "", &target.name))?).ok()?;
    Some(lease(registry, &node, &registry.heartbeats().last(&target.name)?))
}

/// The Leases of every node that was heard of, if the target's collection shows them.
pub fn list(registry: &Registry, target: &Target) -> Vec<(Key, Bytes)> {
    if !is_about_leases(target) || !matches!(target.namespace.as_str(), "" | NAMESPACE) {
        return Vec::new();
    }
    let nodes = registry.store().list(&Key::prefix("", "nodes", None)).items;
    let nodes = nodes.iter().filter_map(|item| decode(item).ok());
    let leases = nodes.filter_map(|node| {
        let key = Key::object(&target.kind.group, &target.kind.plural, NAMESPACE, node.name());
        // One that somebody wrote is listed as what it is.
        let shown =
            registry.store().get(&key).is_none().then(|| registry.heartbeats().last(node.name()))??;
        Some((key, lease(registry, &node, &shown)))
    });
    leases.collect()
}

fn is_about_leases(target: &Target) -> bool {
    target.kind.group == "coordination.k8s.io" && target.kind.plural == "leases"
}

fn lease(registry: &Registry, node: &Object, beat: &Beat) -> Bytes {
    let name = node.name();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid(node.uid()),
            "resourceVersion": registry.store().revision().to_string(),
            "creationTimestamp": node.str_at(&["metadata", "creationTimestamp"]),
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.uid()}],
        },
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": micro_time(beat.received),
        },
    });
    Bytes::from(lease.to_string())
}

/// The same node has the same Lease on every server.
fn uid(node: &str) -> String {
    let digest = Sha256::digest(format!("lease of node {node}"));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_has_microseconds() {
        let time: Timestamp = "2026-01-01T00:00:00.5Z".parse().expect("a time");
        assert_eq!(micro_time(time), "2026-01-01T00:00:00.500000Z");
    }
}
