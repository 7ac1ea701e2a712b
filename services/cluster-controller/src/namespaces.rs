//! The end of a namespace: everything in it goes, then its finalizer, and with that the namespace.

use bus::command::{Resource, Write};
use client::Decision;
use model::Key;
use serde_json::json;

use crate::collector::{WRITES_MAX, delete};
use crate::inventory::Inventory;

/// The entry of `spec.finalizers` that stands for the namespace's content.
const CONTENT: &str = "kubernetes";

/// Whether a namespace is being deleted.
pub fn ends(inventory: &Inventory, namespace: &str) -> bool {
    inventory.get(&Key::object("", "namespaces", "", namespace)).is_some_and(|record| record.deleting)
}

/// What the end of a namespace asks for; nothing while it lives.
pub fn decide(inventory: &Inventory, namespace: &str) -> Decision {
    let key = Key::object("", "namespaces", "", namespace);
    let Some(record) = inventory.get(&key).filter(|record| record.deleting) else {
        return Decision { reason: "the namespace lives or is gone", ..Decision::default() };
    };
    if !record.spec_finalizers.iter().any(|one| one == CONTENT) {
        return Decision { reason: "its content is gone already", ..Decision::default() };
    }
    let mut content = inventory.in_namespace(namespace).peekable();
    if content.peek().is_none() {
        let rest: Vec<&String> = record.spec_finalizers.iter().filter(|one| *one != CONTENT).collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "uid": record.uid, "resourceVersion": record.revision.to_string()},
            "spec": {"finalizers": rest},
        });
        let finalize = Write::Update {
            resource: Resource::new("", "v1", "namespaces"),
            namespace: String::new(),
            name: namespace.to_owned(),
            subresource: "finalize".to_owned(),
            object: object.to_string().into(),
        };
        return Decision { writes: vec![finalize], reason: "nothing is left in it", ..Decision::default() };
    }
    let writes = content
        .filter_map(|key| Some((key, inventory.get(key)?)))
        .filter(|(_, record)| !record.deleting)
        .map(|(key, record)| delete(key, record, "Background"))
        .take(WRITES_MAX)
        .collect();
    Decision { writes, reason: "its content goes first", ..Decision::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Observed;
    use model::Revision;
    use store::Item;

    fn put(inventory: &mut Inventory, key: Key, json: serde_json::Value) {
        let item = Item { key, revision: Revision(9), created: Revision(9), value: json.to_string().into() };
        inventory.apply(&Observed::Put(item));
    }

    #[test]
    fn a_namespace_that_ends_deletes_its_content_and_then_finalizes() {
        let mut inventory = Inventory::default();
        let metadata = json!({"name": "a", "uid": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let namespace = json!({"apiVersion": "v1", "metadata": metadata, "spec": {"finalizers": [CONTENT]}});
        put(&mut inventory, Key::object("", "namespaces", "", "a"), namespace);
        let pod = Key::object("", "pods", "a", "p");
        put(&mut inventory, pod.clone(), json!({"apiVersion": "v1", "metadata": {"name": "p", "uid": "u"}}));
        let writes = decide(&inventory, "a").writes;
        assert!(matches!(&writes[..], [Write::Delete { name, .. }] if name == "p"), "{writes:?}");
        let Some(record) = inventory.get(&pod) else { panic!("it was put") };
        assert_eq!(record.uid, "u");
        let previous =
            Item { key: pod.clone(), revision: Revision(9), created: Revision(9), value: "{}".into() };
        inventory.apply(&Observed::Delete { key: pod, previous });
        let writes = decide(&inventory, "a").writes;
        assert!(
            matches!(&writes[..], [Write::Update { subresource, .. }] if subresource == "finalize"),
            "{writes:?}"
        );
    }
}
