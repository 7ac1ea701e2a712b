//! A volume on the disk of a node, made for a claim. The folder itself is made by the node's agent when a pod first
//! mounts it.

use bus::node::{LOCAL_PATH, VOLUME_NODE};
use model::Object;
use serde_json::{Value, json};

use super::{Claim, Node, PROVISIONED_BY};

const HOSTNAME: &str = "kubernetes.io/hostname";

/// The name of the volume that is made for a claim: the same however often it is tried.
pub fn name(claim: &Claim) -> String {
    format!("pvc-{}", claim.wish.uid)
}

/// The volume for a claim, or why there cannot be one.
pub fn volume(
    claim: &Claim,
    class: &Object,
    node: &str,
    nodes: &super::BTreeMap<String, Node>,
) -> Result<Value, String> {
    let spec = claim.object.get("spec").cloned().unwrap_or_default();
    refuse_what_a_folder_is_not(&spec)?;
    let place = nodes.get(node).filter(|place| !place.folder.is_empty());
    let place = place.ok_or_else(|| format!("node {node:?} keeps no volumes"))?;
    let hostname =
        place.labels.get(HOSTNAME).ok_or_else(|| format!("node {node:?} has no label {HOSTNAME}"))?;
    let name = name(claim);
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {(PROVISIONED_BY): LOCAL_PATH, (VOLUME_NODE): node},
            "finalizers": [LOCAL_PATH],
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": super::claim::reference(claim),
            "local": {"path": format!("{}/{name}", place.folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": HOSTNAME, "operator": "In", "values": [hostname]}
            ]}]}},
            "persistentVolumeReclaimPolicy": class.str_at(&["reclaimPolicy"]),
            "storageClassName": class.name(),
            "volumeMode": "Filesystem",
        },
    }))
}

fn refuse_what_a_folder_is_not(spec: &Value) -> Result<(), String> {
    let modes = spec["accessModes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let on_one_node = |mode: &Value| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod";
    match () {
        () if !modes.iter().all(on_one_node) => {
            Err("a folder of one node can only be ReadWriteOnce or ReadWriteOncePod".to_owned())
        }
        () if spec["volumeMode"] == "Block" => Err("a folder is no block device".to_owned()),
        () if !spec["selector"].is_null() => Err("a claim with a selector gets no new volume".to_owned()),
        () if !spec["dataSource"].is_null() || !spec["dataSourceRef"].is_null() => {
            Err("volumes are not filled from a data source".to_owned())
        }
        () => Ok(()),
    }
}
