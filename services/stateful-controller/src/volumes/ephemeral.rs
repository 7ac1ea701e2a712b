//! Pods as users of claims, and the claims that live as long as their pod.

use bus::command::Write;
use client::{Decision, Note, NoteKind};
use model::Key;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Volumes, write};

/// A pod, as far as its claims go.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    volumes: Vec<Volume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<Ephemeral>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSource {
    claim_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ephemeral {
    volume_claim_template: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

// === impl Pod ===

impl Pod {
    /// The claims that it uses.
    pub fn claims(&self, pod: &Key) -> Vec<Key> {
        let names = self.spec.volumes.iter().filter_map(|volume| volume.claim(pod.name()));
        names.map(|name| Key::object("", "persistentvolumeclaims", pod.namespace(), &name)).collect()
    }

    /// Whether it has claims that are made for it.
    pub fn makes_claims(&self) -> bool {
        self.spec.volumes.iter().any(|volume| volume.ephemeral.is_some())
    }

    /// Whether nothing of it runs any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it has a node, which may have its volumes mounted.
    pub fn has_node(&self) -> bool {
        !self.spec.node_name.is_empty()
    }
}

// === impl Volume ===

impl Volume {
    fn claim(&self, pod: &str) -> Option<String> {
        let named = self.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone());
        named.or_else(|| self.ephemeral.as_ref().map(|_| format!("{pod}-{}", self.name)))
    }
}

/// Makes the claims of a pod that are not there yet.
pub fn decide(view: &Volumes, key: &Key) -> Decision {
    let Some(pod) = view.pods.get(key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
        return Decision { reason: "the pod is gone, or goes", ..Decision::default() };
    };
    let mut decision = Decision { reason: "a pod's own claims are there", ..Decision::default() };
    for volume in &pod.spec.volumes {
        let (Some(ephemeral), Some(name)) = (&volume.ephemeral, volume.claim(key.name())) else { continue };
        let claim = Key::object("", "persistentvolumeclaims", key.namespace(), &name);
        match view.claims.get(&claim) {
            None => {
                decision.reason = "a pod's own claim is missing";
                decision.writes.push(create(key, &pod.metadata.uid, &name, ephemeral));
            }
            Some(claim) if !is_owned_by(&claim.object, &pod.metadata.uid) => {
                decision.notes.push(not_its_own(key, &pod.metadata.uid, &name));
            }
            Some(_) => (),
        }
    }
    decision
}

fn create(pod: &Key, uid: &str, name: &str, ephemeral: &Ephemeral) -> Write {
    let template = &ephemeral.volume_claim_template;
    let owner = json!({
        "apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    });
    let mut metadata = json!({"name": name, "namespace": pod.namespace(), "ownerReferences": [owner]});
    for field in ["labels", "annotations"] {
        if let Some(texts) = template["metadata"].get(field) {
            metadata[field] = texts.clone();
        }
    }
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"],
    });
    write::create("persistentvolumeclaims", pod.namespace(), &claim)
}

fn is_owned_by(claim: &model::Object, uid: &str) -> bool {
    let owners = claim.at(&["metadata", "ownerReferences"]).and_then(Value::as_array);
    owners.into_iter().flatten().any(|owner| owner["controller"] == true && owner["uid"] == uid)
}

/// A claim of somebody else must not be taken for the pod's own: it would go with the pod.
fn not_its_own(pod: &Key, uid: &str, claim: &str) -> Note {
    Note {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: pod.namespace().to_owned(),
        name: pod.name().to_owned(),
        uid: uid.to_owned(),
        severity: NoteKind::Warning,
        reason: "EphemeralVolumeFailed".to_owned(),
        message: format!("PVC {}/{claim} was not created for the pod", pod.namespace()),
    }
}
