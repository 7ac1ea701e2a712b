//! Writes that hold only if the object still is what was looked at.

use bus::command::{PatchFormat, Resource, Write};
use model::Object;
use serde_json::{Value, json};

use super::{CLAIM_PROTECTION, VOLUME_PROTECTION};

/// A change of a claim or volume.
pub fn patch(object: &Object, patch: Value) -> Write {
    part(object, "", patch)
}

/// A change of its status.
pub fn status(object: &Object, status: Value) -> Write {
    part(object, "status", json!({ "status": status }))
}

/// The removal of exactly this object.
pub fn delete(object: &Object) -> Write {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": object.uid(), "resourceVersion": object.resource_version()},
    });
    Write::Delete {
        resource: resource(object),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        options: options.to_string().into(),
    }
}

/// A new object of the core group.
pub fn create(plural: &str, namespace: &str, object: &Value) -> Write {
    Write::Create {
        resource: Resource::new("", "v1", plural),
        namespace: namespace.to_owned(),
        object: object.to_string().into(),
    }
}

/// Takes a finalizer away.
pub fn let_go(object: &Object, finalizer: &str) -> Write {
    let left: Vec<&str> = object.finalizers().filter(|one| *one != finalizer).collect();
    patch(object, json!({"metadata": {"finalizers": left}}))
}

/// The finalizer that protects an object of this kind while it is in use.
pub fn protection(object: &Object) -> &'static str {
    if is_claim(object) { CLAIM_PROTECTION } else { VOLUME_PROTECTION }
}

fn part(object: &Object, subresource: &str, mut patch: Value) -> Write {
    patch["metadata"]["uid"] = json!(object.uid());
    patch["metadata"]["resourceVersion"] = json!(object.resource_version());
    Write::Patch {
        resource: resource(object),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        subresource: subresource.to_owned(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}

fn resource(object: &Object) -> Resource {
    Resource::new("", "v1", if is_claim(object) { "persistentvolumeclaims" } else { "persistentvolumes" })
}

fn is_claim(object: &Object) -> bool {
    !object.namespace().is_empty()
}
