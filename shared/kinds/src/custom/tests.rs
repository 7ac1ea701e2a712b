use bytes::Bytes;
use model::object::with_resource_version;
use model::{Object, Revision};
use serde_json::{Value, json};

use super::{Rows, rows};
use crate::testing::{headings, object, row, said};

/// The definition of a Memcached whose names were accepted, with `change`.
fn definition(change: impl FnOnce(&mut Value)) -> Object {
    let schema = |more: Value| {
        let mut properties = json!({"size": {"type": "integer", "minimum": 0, "default": 1}});
        properties.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": properties},
            "status": {"type": "object", "properties": {
                "nodes": {"type": "array", "items": {"type": "string"}}, "ready": {"type": "integer"}
            }},
        }}})
    };
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "memcacheds.cache.example.com", "uid": "u", "generation": 1},
        "spec": {
            "group": "cache.example.com", "scope": "Namespaced",
            "names": {"plural": "memcacheds", "kind": "Memcached"},
            "versions": [
                {
                    "name": "v1alpha1", "served": true, "storage": false, "schema": schema(json!({})),
                },
                {
                    "name": "v1", "served": true, "storage": true, "schema": schema(json!({"colour": {"type": "string"}})),
                    "subresources": {"status": {}, "scale": {
                        "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}},
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Node", "type": "string", "jsonPath": ".status.nodes[0]"},
                        {"name": "Born", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    "selectableFields": [{"jsonPath": ".spec.colour"}],
                },
            ],
        },
        "status": {
            "acceptedNames": {"plural": "memcacheds", "singular": "memcached", "kind": "Memcached",
                              "listKind": "MemcachedList", "shortNames": ["mc"], "categories": ["all"]},
            "conditions": [{"type": "Established", "status": "True"}],
        },
    });
    change(&mut definition);
    object(definition)
}

fn made(definition: &Object) -> Rows {
    rows(definition, &definition.encode(), Revision(100))
}

fn stored(version: &str, spec: Value) -> Bytes {
    object(json!({"apiVersion": format!("cache.example.com/{version}"), "kind": "Memcached",
                  "metadata": {"name": "a", "namespace": "default"}, "spec": spec}))
    .encode()
}

#[test]
fn each_served_version_is_a_row() {
    let rows = made(&definition(|_| ()));
    let [old, new] = rows.served.as_slice() else { panic!("two versions are served") };
    assert_eq!(
        (old.api_version(), new.api_version()),
        ("cache.example.com/v1alpha1".into(), "cache.example.com/v1".into())
    );
    assert_eq!(
        (new.plural.as_ref(), new.singular.as_ref(), new.list_kind()),
        ("memcacheds", "memcached", "MemcachedList".into())
    );
    assert_eq!((new.short_names.clone(), new.categories.clone()), (vec!["mc".into()], vec!["all".into()]));
    let parts: Vec<&str> = new.subresources.iter().map(|part| part.name.as_ref()).collect();
    assert_eq!((parts, old.subresources.len()), (vec!["status", "scale"], 0));
    assert_eq!(old.storage, new.storage);
    assert_eq!(headings(new), "Name | Size | Node | Born");
    assert_eq!(headings(old), "Name | Age");
    assert_eq!(rows.stored.map(|row| row.version.clone()), Some("v1".into()));
}

#[test]
fn nothing_is_served_before_its_names_are_accepted_nor_what_is_not_to_be() {
    let waiting = definition(|d| d["status"]["conditions"] = json!([]));
    assert!(made(&waiting).served.is_empty() && made(&waiting).stored.is_none());
    let unserved = made(&definition(|d| d["spec"]["versions"][1]["served"] = json!(false)));
    assert_eq!(unserved.served.len(), 1);
    assert_eq!(unserved.stored.map(|row| row.version.clone()), Some("v1".into()));
    let by_webhook = made(&definition(|d| d["spec"]["conversion"] = json!({"strategy": "Webhook"})));
    assert_eq!(by_webhook.served.iter().map(|row| row.version.as_ref()).collect::<Vec<_>>(), ["v1"]);
    let custom = by_webhook.served[0].custom.clone().expect("a custom kind");
    assert!(custom.unreadable("cache.example.com/v1alpha1").is_some_and(|why| why.contains("webhook")));
    assert_eq!(custom.unreadable("cache.example.com/v1"), None);
}

#[test]
fn objects_go_out_as_they_are_stored_when_their_schema_has_not_changed_since() {
    let rows = made(&definition(|_| ()));
    let (old, new) = (&rows.served[0], &rows.served[1]);
    let bytes = stored("v1", json!({"size": 2}));
    assert!(new.serves_as_stored(&with_resource_version(&bytes, Revision(101))));
    assert!(!new.serves_as_stored(&with_resource_version(&bytes, Revision(100))), "older than the schema");
    assert!(!old.serves_as_stored(&with_resource_version(&bytes, Revision(101))), "another version");
    assert!(!new.serves_as_stored(&bytes), "a dry run");
}

#[test]
fn versions_differ_in_what_they_know() {
    let rows = made(&definition(|_| ()));
    let (old, new) = (&rows.served[0], &rows.served[1]);
    let mut shown: Object =
        serde_json::from_slice(&stored("v1", json!({"colour": "red"}))).expect("an object");
    old.from_storage(&mut shown);
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]),
        (&json!("cache.example.com/v1alpha1"), &json!({"size": 1}))
    );
    old.to_storage(&mut shown);
    assert_eq!(shown["apiVersion"], "cache.example.com/v1");
    new.from_storage(&mut shown);
    assert_eq!(shown["spec"], json!({"size": 1}));
}

#[test]
fn the_schema_judges_and_the_status_is_judged_apart() {
    let rows = made(&definition(|_| ()));
    let new = &rows.served[1];
    let metadata = json!({"name": "a", "namespace": "default"});
    let wrong = object(json!({"metadata": metadata, "spec": {"size": -1}, "status": {"nodes": "x"}}));
    let size = "spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0";
    let nodes =
        "status.nodes: Invalid value: \"string\": status.nodes in body must be of type array: \"string\"";
    assert_eq!(said(new.validate(&wrong)), format!("{size}\n{nodes}"));
    assert_eq!(said(new.validate_status(&wrong, &wrong)), nodes);
}

#[test]
fn a_row_shows_what_its_columns_point_at() {
    let rows = made(&definition(|_| ()));
    let new = &rows.served[1];
    let shown = object(
        json!({"metadata": {"name": "a"}, "spec": {"size": 3, "colour": "red"}, "status": {"nodes": ["n1"]}}),
    );
    assert_eq!(row(new, &shown), "a | 3 | n1 | null");
    assert_eq!(new.field(&shown, "spec.colour"), Some("red".to_owned()));
    assert_eq!(new.field(&shown, "spec.size"), None);
}

#[test]
fn a_deprecated_version_says_so() {
    let rows = made(&definition(|d| d["spec"]["versions"][0]["deprecated"] = json!(true)));
    let said: Vec<Option<&str>> =
        rows.served.iter().map(|row| row.custom.as_ref().and_then(|custom| custom.deprecation())).collect();
    assert_eq!(said, [Some("cache.example.com/v1alpha1 Memcached is deprecated"), None]);
    let own = made(&definition(|d| {
        d["spec"]["versions"][0]["deprecated"] = json!(true);
        d["spec"]["versions"][0]["deprecationWarning"] = json!("use v1");
    }));
    assert_eq!(own.served[0].custom.as_ref().and_then(|custom| custom.deprecation()), Some("use v1"));
}

#[test]
fn an_update_of_the_status_changes_nothing_else() {
    let rows = made(&definition(|_| ()));
    let new = &rows.served[1];
    let old = object(json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"size": 1}}));
    let mut sent = object(
        json!({"metadata": {"name": "a", "labels": {"l": "2"}}, "spec": {"size": 2}, "status": {"nodes": []}}),
    );
    (new.hooks.prepare_status)(&mut sent, &old);
    assert_eq!(
        sent.into_value(),
        json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"size": 1}, "status": {"nodes": []}})
    );
}

#[test]
fn a_scale_is_where_the_definition_says() {
    let rows = made(&definition(|_| ()));
    let scale = rows.served[1].subresource("scale").and_then(|part| part.scale.clone()).expect("a scale");
    let mut memcached =
        object(json!({"metadata": {"name": "a"}, "spec": {"size": 3}, "status": {"ready": 2}}));
    let shown = scale.read(&memcached);
    assert_eq!((&shown["spec"], &shown["status"]), (&json!({"replicas": 3}), &json!({"replicas": 2})));
    scale.write(&mut memcached, &object(json!({"spec": {"replicas": 5}}))).expect("a scale");
    assert_eq!(memcached["spec"]["size"], 5);
}
