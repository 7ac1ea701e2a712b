//! Who manages an object: the reference by which it is known, and the patches that give and take it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

/// The owner that manages an object, if any.
pub fn controller_of(owners: Option<&Vec<OwnerReference>>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
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
