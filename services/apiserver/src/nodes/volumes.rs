//! What the gateway needs to know of claims and volumes: which volume a claim has, and which volumes are to be removed
//! from which node.

use bus::node::{LOCAL_PATH, VOLUME_NODE};
use model::{Key, Object};
use serde::Deserialize;
use store::Item;

/// On a volume that a claim still has, or may have.
const PROTECTION: &str = "kubernetes.io/pv-protection";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Claim {
    spec: ClaimSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    volume_name: String,
}

/// The volume of a claim; `None` for what is no claim, or has no volume.
pub fn volume_of(item: &Item) -> Option<Key> {
    if item.key.resource() != "persistentvolumeclaims" {
        return None;
    }
    let claim: Claim = serde_json::from_slice(&item.value).ok()?;
    let name = claim.spec.volume_name;
    (!name.is_empty()).then(|| Key::object("", "persistentvolumes", "", &name))
}

/// The node that is to remove what it has of a volume: nobody uses the volume any more, it is being deleted, and its
/// data is to go with it.
pub fn leaves(item: &Item) -> Option<String> {
    let volume: Object = serde_json::from_slice(&item.value).ok()?;
    is_leaving(&volume).then(|| volume.str_at(&["metadata", "annotations", VOLUME_NODE]).to_owned())
}

/// Whether the data of a volume is to be removed now.
pub fn is_leaving(volume: &Object) -> bool {
    let has = |finalizer: &str| volume.finalizers().any(|one| one == finalizer);
    volume.deletion_timestamp().is_some()
        && has(LOCAL_PATH)
        && !has(PROTECTION)
        && volume.str_at(&["spec", "persistentVolumeReclaimPolicy"]) == "Delete"
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::Revision;
    use serde_json::{Value, json};

    use super::*;

    fn item(resource: &str, object: Value) -> Item {
        Item {
            key: Key::object("", resource, "", "x"),
            revision: Revision(1),
            created: Revision(1),
            value: Bytes::from(object.to_string()),
        }
    }

    #[test]
    fn a_volume_leaves_its_node_only_when_nobody_holds_it_and_nobody_wants_it_kept() {
        let volume = |finalizers: Value, deleted: Value, policy: &str| {
            let metadata = json!({"finalizers": finalizers, "deletionTimestamp": deleted,
                "annotations": {VOLUME_NODE: "n1"}});
            let spec = json!({"persistentVolumeReclaimPolicy": policy});
            leaves(&item("persistentvolumes", json!({"metadata": metadata, "spec": spec})))
        };
        let time = || json!("2026-01-01T00:00:00Z");
        assert_eq!(volume(json!([LOCAL_PATH]), time(), "Delete").as_deref(), Some("n1"));
        assert_eq!(volume(json!([LOCAL_PATH, PROTECTION]), time(), "Delete"), None);
        assert_eq!(volume(json!([LOCAL_PATH]), Value::Null, "Delete"), None);
        assert_eq!(volume(json!([LOCAL_PATH]), time(), "Retain"), None);
        assert_eq!(volume(json!(["other.io/x"]), time(), "Delete"), None);
    }

    #[test]
    fn a_claim_names_its_volume() {
        let bound = item("persistentvolumeclaims", json!({"spec": {"volumeName": "v"}}));
        assert_eq!(volume_of(&bound), Some(Key::object("", "persistentvolumes", "", "v")));
        assert_eq!(volume_of(&item("persistentvolumeclaims", json!({"spec": {}}))), None);
        assert_eq!(volume_of(&item("configmaps", json!({"spec": {"volumeName": "v"}}))), None);
    }
}
