//! Patches that both controllers send.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields of the two kinds of status that are left out when there is nothing to say, and so must be taken away.
const OPTIONAL: [&str; 9] = [
    "availableReplicas",
    "collisionCount",
    "conditions",
    "fullyLabeledReplicas",
    "readyReplicas",
    "replicas",
    "terminatingReplicas",
    "unavailableReplicas",
    "updatedReplicas",
];

/// A merge patch that makes the status exactly this.
pub fn status(status: &impl Serialize) -> Value {
    let mut fields: Map<String, Value> =
        OPTIONAL.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    if let Ok(Value::Object(set)) = serde_json::to_value(status) {
        fields.extend(set);
    }
    json!({"status": fields})
}

/// An owner reference of the one controller that manages an object.
pub fn controller_reference(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A strategic merge patch that adds an owner. Refused when the object is another one by now.
pub fn adopt(reference: Value, uid: &str) -> Value {
    json!({"metadata": {"uid": uid, "ownerReferences": [reference]}})
}

/// A strategic merge patch that takes an owner away. Refused when the object is another one by now.
pub fn release(owner_uid: &str, uid: &str) -> Value {
    json!({"metadata": {"uid": uid, "ownerReferences": [{"$patch": "delete", "uid": owner_uid}]}})
}
