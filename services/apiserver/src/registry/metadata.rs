//! The part of `metadata` that only the server writes.

use jiff::Timestamp;
use kinds::Kind;
use model::Object;
use serde_json::Value;

/// Fields that the server knows and a client's word on them does not count.
const SYSTEM: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// A time as objects have it: RFC 3339 in whole seconds.
pub fn time_text(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Stamps an object that is about to be created.
pub fn on_create(kind: &Kind, object: &mut Object, uid: &str, now: Timestamp) {
    drop_unserved(object);
    object.take(&["metadata", "resourceVersion"]);
    object.take(&["metadata", "deletionTimestamp"]);
    object.take(&["metadata", "deletionGracePeriodSeconds"]);
    object.take(&["metadata", "generation"]);
    object.set(&["metadata", "uid"], uid);
    object.set(&["metadata", "creationTimestamp"], time_text(now));
    if kind.tracks_generation {
        object.set(&["metadata", "generation"], 1);
    }
}

/// Carries the server's fields over from `old`.
pub fn on_update(new: &mut Object, old: &Object) {
    drop_unserved(new);
    for field in SYSTEM {
        match old.at(&["metadata", field]) {
            Some(value) => new.set(&["metadata", field], value.clone()),
            None => drop(new.take(&["metadata", field])),
        }
    }
}

/// The generation grows when what is wanted of the object has changed: anything but metadata and status.
pub fn on_change_of_wish(kind: &Kind, new: &mut Object, old: &Object) {
    if kind.tracks_generation && !same_wish(kind, new, old) {
        new.set(&["metadata", "generation"], old.generation() + 1);
    }
}

/// Field ownership is not kept yet, and links to themselves objects have no longer.
fn drop_unserved(object: &mut Object) {
    object.take(&["metadata", "managedFields"]);
    object.take(&["metadata", "selfLink"]);
}

fn same_wish(kind: &Kind, new: &Object, old: &Object) -> bool {
    wished(kind, new).count() == wished(kind, old).count()
        && wished(kind, new).all(|(name, value)| old.get(name) == Some(value))
}

fn wished<'a>(kind: &Kind, object: &'a Object) -> impl Iterator<Item = (&'a String, &'a Value)> {
    // Where the status has no path of its own it is a field like others.
    let status_apart = kind.custom.is_none() || kind.subresource("status").is_some();
    object.iter().filter(move |(name, _)| match name.as_str() {
        "apiVersion" | "kind" | "metadata" => false,
        "status" => !status_apart,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn the_generation_grows_with_the_spec_and_with_nothing_else() {
        let kind = Kind::namespaced("apps", "v1", "Deployment", "deployments").with_generation();
        let old = object(
            json!({"metadata": {"generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 1}}),
        );
        let mut new = old.clone();
        new.set(&["status", "replicas"], 2);
        new.set(&["metadata", "labels", "a"], "b");
        on_change_of_wish(&kind, &mut new, &old);
        assert_eq!(new.generation(), 3);
        new.set(&["spec", "replicas"], 2);
        on_change_of_wish(&kind, &mut new, &old);
        assert_eq!(new.generation(), 4);
    }

    #[test]
    fn what_the_server_knows_a_client_cannot_change() {
        let old = object(json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": "t"}}));
        let mut new = object(json!({"metadata": {
            "name": "a", "uid": "x", "generation": 9, "deletionTimestamp": "t", "labels": {"a": "b"},
            "managedFields": []
        }}));
        on_update(&mut new, &old);
        let wanted =
            json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": "t", "labels": {"a": "b"}}});
        assert_eq!(new.into_value(), wanted);
    }
}
