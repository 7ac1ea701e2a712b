use serde_json::{Value, json};

use super::kind;
use crate::testing::{defaulted, headings, object, said};

/// The definition of a Memcached, with something else in its spec.
fn memcached(change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = json!({
        "metadata": {"name": "memcacheds.cache.example.com"},
        "spec": {
            "group": "cache.example.com", "scope": "Namespaced",
            "names": {"plural": "memcacheds", "kind": "Memcached"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0}}},
                    "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                }}},
                "subresources": {"status": {}},
            }],
        },
    });
    change(&mut definition);
    defaulted(&kind(), definition)
}

#[test]
fn names_and_conversion_follow_from_the_kind() {
    let definition = memcached(|_| ());
    let names = json!({"plural": "memcacheds", "kind": "Memcached", "singular": "memcached", "listKind": "MemcachedList"});
    assert_eq!(definition["spec"]["names"], names);
    assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(headings(&kind()), "Name | Created At");
}

#[test]
fn each_rule_names_its_field() {
    let judge = |change: &dyn Fn(&mut Value)| said((kind().hooks.validate)(&object(memcached(change))));
    assert_eq!(judge(&|_| ()), "");
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 19] = [
        (
            |d| d["metadata"]["name"] = json!("memcached"),
            "metadata.name: Invalid value: \"memcached\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            |d| {
                d["spec"]["group"] = json!("cache");
                d["metadata"]["name"] = json!("memcacheds.cache");
            },
            "spec.group: Invalid value: \"cache\": should be a domain with at least one dot",
        ),
        (
            |d| d["spec"]["scope"] = json!("World"),
            "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            |d| d["spec"]["versions"][0]["storage"] = json!(false),
            "spec.versions: Invalid value: [\"v1alpha1\"]: must have exactly one version marked as storage version",
        ),
        (
            |d| {
                let mut again = d["spec"]["versions"][0].clone();
                again["storage"] = json!(false);
                d["spec"]["versions"].as_array_mut().expect("a list").push(again);
            },
            "spec.versions: Invalid value: [\"v1alpha1\",\"v1alpha1\"]: must contain unique version names",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"] = json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            |d| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({}),
            "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ),
        (
            |d| d["spec"]["preserveUnknownFields"] = json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
        (
            |d| d["spec"]["names"]["kind"] = json!("Mem cached"),
            "spec.names.singular: Invalid value: \"mem cached\": a DNS-1035 label must",
        ),
        (
            |d| d["spec"]["names"]["listKind"] = json!("Memcached"),
            "spec.names.listKind: Invalid value: \"Memcached\": kind and listKind may not be the same",
        ),
        (
            |d| d["spec"]["names"]["shortNames"] = json!(["MC"]),
            "spec.names.shortNames[0]: Invalid value: \"MC\": a DNS-1035 label must",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["subresources"]["scale"] =
                    json!({"specReplicasPath": ".status.x", "statusReplicasPath": ".status.y"})
            },
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "A", "type": "text", "jsonPath": ".a"}])
            },
            "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] =
                    json!([{"name": "A", "type": "string", "jsonPath": "a"}])
            },
            "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"a\": must be a simple json path starting with .",
        ),
        (
            |d| d["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec"}]),
            "spec.versions[0].selectableFields[0].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer.",
        ),
        (
            |d| d["spec"]["conversion"] = json!({"strategy": "Webhook"}),
            "spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            |d| d["spec"]["versions"][0]["deprecationWarning"] = json!("old"),
            "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
        ),
        (
            |d| {
                d["spec"]["group"] = json!("x.k8s.io");
                d["metadata"]["name"] = json!("memcacheds.x.k8s.io");
            },
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation",
        ),
        (
            |d| d["status"] = json!({"storedVersions": ["v1"]}),
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version",
        ),
    ];
    for (change, wanted) in cases {
        let found = judge(&change);
        assert!(found.starts_with(wanted), "wanted {wanted}\nfound  {found}");
    }
}

#[test]
fn what_objects_depend_on_stays_once_they_can_be_there() {
    let old = memcached(|d| d["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]}));
    let new = memcached(|d| {
        d["spec"]["scope"] = json!("Cluster");
        d["spec"]["names"]["kind"] = json!("Other");
    });
    assert_eq!(
        said((kind().hooks.validate_update)(&object(new.clone()), &object(old))),
        "spec.scope: Invalid value: \"Cluster\": field is immutable\n\
         spec.names.kind: Invalid value: \"Other\": field is immutable"
    );
    assert_eq!(said((kind().hooks.validate_update)(&object(new), &object(memcached(|_| ())))), "");
}

#[test]
fn versions_that_objects_were_stored_in_are_remembered() {
    let mut made = object(memcached(|d| d["status"] = json!({"acceptedNames": {"kind": "X"}})));
    (kind().hooks.prepare_create)(&mut made);
    assert_eq!(made["status"], json!({"storedVersions": ["v1alpha1"]}));
    let mut changed = object(memcached(|d| d["spec"]["versions"][0]["name"] = json!("v1")));
    (kind().hooks.prepare_update)(&mut changed, &made);
    assert_eq!(changed["status"], json!({"storedVersions": ["v1alpha1", "v1"]}));
}

#[test]
fn what_is_kept_without_effect_is_said() {
    let warned = memcached(|d| {
        let schema = &mut d["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        schema["properties"]["spec"]["properties"]["size"]["x-kubernetes-validations"] =
            json!([{"rule": "self > 1"}]);
        schema["properties"]["spec"]["properties"]["when"] = json!({"type": "string", "format": "soon"});
    });
    assert_eq!(
        (kind().hooks.warnings)(&object(warned)),
        [
            "unrecognized format \"soon\"",
            "version v1alpha1: x-kubernetes-validations are kept, but not evaluated yet"
        ]
    );
    assert_eq!((kind().hooks.warnings)(&object(memcached(|_| ()))), Vec::<String>::new());
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let mut definition = object(memcached(|_| ()));
    let condition = |status: &str, reason: &str| json!({"type": "A", "status": status, "reason": reason});
    super::set_condition(&mut definition, condition("False", "x"), "then");
    super::set_condition(&mut definition, condition("False", "y"), "now");
    assert_eq!(
        definition["status"]["conditions"],
        json!([{"type": "A", "status": "False", "reason": "y", "lastTransitionTime": "then"}])
    );
    super::set_condition(&mut definition, condition("True", "y"), "now");
    assert_eq!(definition["status"]["conditions"][0]["lastTransitionTime"], "now");
}
