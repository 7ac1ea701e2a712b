use proptest::prelude::*;
use serde_json::json;

use super::*;

fn patched(group: &str, kind: &str, mut original: Value, patch: Value) -> Result<Value, Status> {
    let schemas = Schemas::builtin();
    let ty = schemas.resource(group, "v1", kind).expect("a built-in kind");
    apply(schemas, ty, &mut original, &patch).map(|()| original)
}

fn pod(original: Value, patch: Value) -> Value {
    patched("", "Pod", json!({"spec": original}), json!({"spec": patch}))
        .map(|mut object| object["spec"].take())
        .expect("the patch is well formed")
}

fn refused(original: Value, patch: Value) -> (u16, String) {
    let status = patched("", "Pod", json!({"spec": original}), json!({"spec": patch})).unwrap_err();
    (status.code(), status.message)
}

#[test]
fn each_directive_does_what_it_says() {
    let cases = [
        (
            "null deletes, also what is not there",
            json!({"nodeName": "a", "hostname": "b"}),
            json!({"nodeName": null, "subdomain": null}),
            json!({"hostname": "b"}),
        ),
        (
            "what is new is taken without its nulls and directives",
            json!({}),
            json!({"securityContext": {"runAsUser": null, "sysctls": [{"name": "x", "$patch": "delete"}]},
                   "volumes": [{"name": "a", "$retainKeys": ["name"], "secret": null}]}),
            json!({"securityContext": {"sysctls": []}, "volumes": [{"name": "a"}]}),
        ),
        (
            "lists of objects merge by their key",
            json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c"}]}),
            json!({"containers": [
                {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                {"name": "b"},
                {"name": "c"},
            ]}),
        ),
        (
            "lists without a key are replaced",
            json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["x"]}]}),
            json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["y"]}]}),
            json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["y"]}]}),
        ),
        (
            "an item is deleted by its key",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"$patch": "delete", "name": "a"}, {"$patch": "delete", "name": "z"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        (
            "a list is replaced",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            "an object is replaced",
            json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}}),
            json!({"securityContext": {"$patch": "replace", "fsGroup": 3}}),
            json!({"securityContext": {"fsGroup": 3}}),
        ),
        (
            "an object is emptied",
            json!({"securityContext": {"runAsUser": 1}}),
            json!({"securityContext": {"$patch": "delete"}}),
            json!({"securityContext": {}}),
        ),
        (
            "only the kept keys stay, so that one kind of volume replaces another",
            json!({"volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}]}),
            json!({"volumes": [{"name": "a", "secret": {"secretName": "s"}, "$retainKeys": ["name", "secret"]}]}),
            json!({"volumes": [{"name": "a", "secret": {"secretName": "s"}}]}),
        ),
        (
            "order: named items as named, others where they are",
            json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
                   "containers": [{"name": "b", "image": "1"}, {"name": "c"}]}),
            json!({"containers": [{"name": "server"}, {"name": "b", "image": "1"}, {"name": "a"}, {"name": "c"}]}),
        ),
        (
            "order alone",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b"}, {"name": "a"}]}),
        ),
        (
            "order of a list that is not there yet",
            json!({}),
            json!({"$setElementOrder/volumes": [{"name": "a"}], "volumes": [{"name": "a"}]}),
            json!({"volumes": [{"name": "a"}]}),
        ),
        (
            "an item that leaves, with the order of those that stay",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"$setElementOrder/containers": [{"name": "b"}],
                   "containers": [{"$patch": "delete", "name": "a"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        (
            "values of another type are replaced",
            json!({"nodeSelector": {"a": "b"}}),
            json!({"nodeSelector": "x"}),
            json!({"nodeSelector": "x"}),
        ),
    ];
    for (rule, original, patch, wanted) in cases {
        assert_eq!(pod(original, patch), wanted, "{rule}");
    }
}

#[test]
fn lists_of_texts_merge_as_sets() {
    let cases = [
        (json!(["a"]), json!({"finalizers": ["b", "a"]}), json!(["b", "a"])),
        (json!(["a", "c"]), json!({"finalizers": ["b"]}), json!(["a", "c", "b"])),
        (json!(["a", "c"]), json!({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}), json!(["c"])),
        (
            json!(["a", "c"]),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b", "c"],
                   "finalizers": ["b"]}),
            json!(["b", "c"]),
        ),
    ];
    for (before, patch, wanted) in cases {
        let object = json!({"metadata": {"finalizers": before}});
        let merged = patched("", "Pod", object, json!({"metadata": patch}));
        assert_eq!(merged, Ok(json!({"metadata": {"finalizers": wanted}})));
    }
}

#[test]
fn a_strategy_is_switched_with_its_parameters() {
    let deployment = patched(
        "apps",
        "Deployment",
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    );
    assert_eq!(deployment, Ok(json!({"spec": {"strategy": {"type": "Recreate"}}})));
}

#[test]
fn ports_merge_by_the_key_of_strategic_merge_not_by_that_of_apply() {
    let service = patched(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}]}}),
        json!({"spec": {"ports": [{"port": 53, "protocol": "TCP"}]}}),
    );
    assert_eq!(service, Ok(json!({"spec": {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 80}]}})));
}

#[test]
fn what_no_type_names_merges_as_plain_json() {
    let revision = patched(
        "apps",
        "ControllerRevision",
        json!({"data": {"a": {"b": [1], "c": 2}}}),
        json!({"data": {"a": {"b": [3], "c": null}}, "unknown": {"x": 1}}),
    );
    assert_eq!(revision, Ok(json!({"data": {"a": {"b": [3]}}, "unknown": {"x": 1}})));
}

#[test]
fn malformed_patches_are_refused_with_the_code_that_upstream_gives() {
    let one = json!({"containers": [{"name": "a"}]});
    let cases = [
        (json!({"$patch": "explode"}), 400, "unknown patch type found: \"explode\""),
        (
            json!({"containers": [{"image": "x"}]}),
            400,
            "map: {\"image\":\"x\"} does not contain declared merge key: name",
        ),
        (json!({"containers": ["x"]}), 400, "list element types are not identical"),
        (json!({"containers": [["x"]]}), 422, "lists of lists are not supported"),
        (json!({"$setElementOrder/containers": "a"}), 400, "invalid patch format of setElementOrder list"),
        (
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
            400,
            "the order in the patch list [{\"name\":\"a\"}] does not match that of $setElementOrder [{\"name\":\"b\"}]",
        ),
        (json!({"$retainKeys": "x"}), 400, "invalid patch format of retainKeys"),
        (
            json!({"$retainKeys": ["volumes"], "hostname": "x"}),
            422,
            "the patch sets \"hostname\", which $retainKeys does not keep",
        ),
        (
            json!({"$deleteFromPrimitiveList/containers": [{"name": "a"}]}),
            400,
            "invalid patch format of primitive list",
        ),
    ];
    for (patch, code, message) in cases {
        assert_eq!(refused(one.clone(), patch), (code, message.to_owned()));
    }
    let status = patched("", "Pod", json!({}), json!([])).unwrap_err();
    assert_eq!((status.code(), status.message.as_str()), (400, "invalid JSON document"));
}

/// Some JSON out of names that mean something to a pod and to a patch.
fn fragments() -> impl Strategy<Value = Value> {
    let names = [
        "spec",
        "containers",
        "name",
        "env",
        "tolerations",
        "securityContext",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/args",
        "args",
        "metadata",
        "finalizers",
        "$setElementOrder/finalizers",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!(1)),
        prop::sample::select(vec!["a", "b", "delete", "replace", "merge"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let name = prop::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn has_directive(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.starts_with('$') || has_directive(value))
        }
        Value::Array(items) => items.iter().any(has_directive),
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_patch_is_applied_or_refused(original in fragments(), patch in fragments()) {
        drop(patched("", "Pod", original, patch));
    }

    #[test]
    fn a_patch_without_directives_does_nothing_the_second_time(original in fragments(), patch in fragments()) {
        prop_assume!(!has_directive(&patch));
        if let Ok(once) = patched("", "Pod", original, patch.clone())
            && let Ok(twice) = patched("", "Pod", once.clone(), patch)
        {
            prop_assert_eq!(once, twice);
        }
    }
}
