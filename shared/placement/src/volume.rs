//! Which volume a claim may have: what the volume controller and the scheduler must judge alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::LabelSelector;
use model::quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;

use crate::{NodeAffinity, NodeSelectorJson};

/// On a claim: the node of the first pod that uses it, chosen by the scheduler.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: it and its volume have each other for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The class, as old manifests name it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// What a PersistentVolumeClaim asks for, and what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// `metadata.uid`
    pub uid: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its class; `None` when it names none, which is not the same as naming the empty one.
    pub class: Option<String>,
    /// The volume that it names, or has.
    pub volume: String,
    /// Whether it has that volume for good.
    pub bound: bool,
    /// Where its volume is to be made, if the scheduler said so.
    pub selected_node: Option<String>,
    request: Quantity,
    access_modes: Vec<String>,
    mode: String,
    selector: Option<LabelSelector>,
}

/// What a PersistentVolume offers, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its class.
    pub class: String,
    /// The claim that has it, or is to have it.
    pub claim: Option<ClaimReference>,
    /// The nodes that reach it; `None` for all of them.
    pub affinity: Option<Arc<NodeAffinity>>,
    capacity: Quantity,
    access_modes: Vec<String>,
    mode: String,
    labels: BTreeMap<String, String>,
}

/// A claim as a volume names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty while anybody of that name may have it.
    pub uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimJson {
    metadata: Metadata,
    spec: ClaimSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VolumeJson {
    metadata: Metadata,
    spec: VolumeSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<String>,
    annotations: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    access_modes: Vec<String>,
    resources: Resources,
    selector: Option<Value>,
    storage_class_name: Option<String>,
    volume_name: String,
    volume_mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeSpec {
    access_modes: Vec<String>,
    capacity: BTreeMap<String, String>,
    claim_ref: Option<ClaimReference>,
    storage_class_name: String,
    volume_mode: Option<String>,
    node_affinity: Option<VolumeAffinity>,
}

#[derive(Deserialize)]
struct VolumeAffinity {
    required: Option<NodeSelectorJson>,
}

// === impl Claim ===

impl Claim {
    /// The claim in its stored JSON.
    pub fn parse(json: &[u8]) -> serde_json::Result<Claim> {
        let ClaimJson { mut metadata, spec } = serde_json::from_slice(json)?;
        let is_set = |text: &String| !text.is_empty();
        let annotated = metadata.annotations.remove(CLASS_ANNOTATION).filter(is_set);
        Ok(Claim {
            uid: metadata.uid,
            deleting: metadata.deletion_timestamp.is_some(),
            class: annotated.or(spec.storage_class_name),
            volume: spec.volume_name,
            bound: metadata.annotations.contains_key(BIND_COMPLETED),
            selected_node: metadata.annotations.remove(SELECTED_NODE).filter(is_set),
            request: storage(&spec.resources.requests),
            access_modes: spec.access_modes,
            mode: spec.volume_mode.unwrap_or_else(filesystem),
            selector: spec.selector.as_ref().map(selector),
        })
    }

    /// Whether a volume is what the claim asks for, or why not.
    pub fn check(&self, volume: &Volume) -> Result<(), &'static str> {
        let is_selected = |selector: &LabelSelector| {
            selector.matches_with(|label| volume.labels.get(label).map(String::as_str))
        };
        match () {
            () if volume.capacity < self.request => Err("requested PV is too small"),
            () if volume.class != self.class.as_deref().unwrap_or_default() => {
                Err("storageClassName does not match")
            }
            () if volume.mode != self.mode => Err("incompatible volumeMode"),
            () if !self.access_modes.iter().all(|mode| volume.access_modes.contains(mode)) => {
                Err("incompatible accessMode")
            }
            () if !self.selector.as_ref().is_none_or(is_selected) => Err("selector does not match"),
            () => Ok(()),
        }
    }

    /// Whether the claim may take a volume that nobody has.
    pub fn may_take(&self, volume: &Volume) -> bool {
        volume.claim.is_none() && !volume.deleting && self.check(volume).is_ok()
    }
}

// === impl Volume ===

impl Volume {
    /// The volume in its stored JSON.
    pub fn parse(json: &[u8]) -> serde_json::Result<Volume> {
        let VolumeJson { metadata, spec } = serde_json::from_slice(json)?;
        let annotated = metadata.annotations.get(CLASS_ANNOTATION).filter(|class| !class.is_empty());
        let required = spec.node_affinity.and_then(|affinity| affinity.required);
        Ok(Volume {
            deleting: metadata.deletion_timestamp.is_some(),
            class: annotated.cloned().unwrap_or(spec.storage_class_name),
            claim: spec.claim_ref,
            affinity: required.map(|selector| Arc::new(NodeAffinity::to(selector))),
            capacity: storage(&spec.capacity),
            access_modes: spec.access_modes,
            mode: spec.volume_mode.unwrap_or_else(filesystem),
            labels: metadata.labels,
        })
    }

    /// How much it holds.
    pub fn capacity(&self) -> &Quantity {
        &self.capacity
    }

    /// Whether it names this claim, and no other of the same name.
    pub fn is_for(&self, namespace: &str, name: &str, uid: &str) -> bool {
        self.claim.as_ref().is_some_and(|claim| {
            claim.namespace == namespace && claim.name == name && (claim.uid.is_empty() || claim.uid == uid)
        })
    }
}

/// One that cannot be read selects nothing.
fn selector(json: &Value) -> LabelSelector {
    LabelSelector::from_json(json).unwrap_or_else(|_| LabelSelector::nothing())
}

fn storage(amounts: &BTreeMap<String, String>) -> Quantity {
    amounts.get("storage").and_then(|text| Quantity::parse(text).ok()).unwrap_or(Quantity::ZERO)
}

fn filesystem() -> String {
    "Filesystem".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(spec: Value) -> Claim {
        let mut whole = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "2Gi"}}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let object = json!({"metadata": {"uid": "u", "annotations": {SELECTED_NODE: "n"}}, "spec": whole});
        Claim::parse(object.to_string().as_bytes()).expect("a claim")
    }

    fn volume(spec: Value) -> Volume {
        let mut whole = json!({"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "fast",
            "capacity": {"storage": "4Gi"}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let object = json!({"metadata": {"labels": {"disk": "ssd"}}, "spec": whole});
        Volume::parse(object.to_string().as_bytes()).expect("a volume")
    }

    #[test]
    fn a_volume_is_what_a_claim_asks_for_or_it_is_said_why_not() {
        let cases = [
            (json!({}), json!({}), Ok(())),
            (json!({}), json!({"capacity": {"storage": "1Gi"}}), Err("requested PV is too small")),
            (json!({}), json!({"storageClassName": ""}), Err("storageClassName does not match")),
            (json!({"volumeMode": "Block"}), json!({}), Err("incompatible volumeMode")),
            (json!({"accessModes": ["ReadWriteMany"]}), json!({}), Err("incompatible accessMode")),
            (json!({"selector": {"matchLabels": {"disk": "ssd"}}}), json!({}), Ok(())),
            (
                json!({"selector": {"matchLabels": {"disk": "hdd"}}}),
                json!({}),
                Err("selector does not match"),
            ),
        ];
        for (wish, offer, expected) in cases {
            assert_eq!(claim(wish.clone()).check(&volume(offer.clone())), expected, "{wish} {offer}");
        }
    }

    #[test]
    fn a_volume_is_for_one_claim_and_not_for_another_of_its_name() {
        let reserved = volume(json!({"claimRef": {"namespace": "d", "name": "c"}}));
        assert!(reserved.is_for("d", "c", "u") && !reserved.is_for("d", "other", "u"));
        let bound = volume(json!({"claimRef": {"namespace": "d", "name": "c", "uid": "u"}}));
        assert!(bound.is_for("d", "c", "u") && !bound.is_for("d", "c", "v"));
        assert!(!claim(json!({})).may_take(&bound) && claim(json!({})).may_take(&volume(json!({}))));
    }

    #[test]
    fn a_claim_says_where_and_what_it_has() {
        let parsed = claim(json!({"volumeName": "v"}));
        assert_eq!(
            (parsed.selected_node.as_deref(), parsed.volume.as_str(), parsed.bound),
            (Some("n"), "v", false)
        );
        let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a"]}]}]}});
        let there = volume(json!({"nodeAffinity": affinity})).affinity.expect("it is somewhere");
        let labels = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        assert!(there.admits("n", &labels("a")) && !there.admits("n", &labels("b")));
    }
}
