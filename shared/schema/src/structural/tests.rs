use model::Object;
use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn said(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A schema with `spec` of these properties.
fn with_spec(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

fn judged(schema: Value) -> Vec<String> {
    said(&judge(Schemas::builtin(), &schema, "s", Context { status_apart: false }))
}

#[test]
fn what_a_schema_does_not_know_goes_and_is_named() {
    let schema = Structural::parse(&with_spec(json!({
        "size": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"known": {"type": "object", "properties": {}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true},
    })));
    let mut value = json!({
        "apiVersion": "a.b/v1", "kind": "A", "extra": 1,
        "metadata": {"name": "x", "labels": {}, "creationTimestamp": null, "nonsense": 1},
        "spec": {
            "size": 1, "colour": "red", "list": [{"a": "x", "b": 1}], "map": {"k": {"b": "x", "c": 2}},
            "free": {"any": {"thing": null}, "known": {"x": 1}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "bad": 1}, "spec": {"x": 1}},
        },
    });
    let report = schema.fit(Schemas::builtin(), &mut value);
    assert_eq!(
        value,
        json!({
            "apiVersion": "a.b/v1", "kind": "A", "metadata": {"name": "x"},
            "spec": {
                "size": 1, "list": [{"a": "x"}], "map": {"k": {"b": "x"}},
                "free": {"any": {"thing": null}, "known": {}},
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}},
            },
        })
    );
    let mut unknown = report.unknown;
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "extra",
            "metadata.nonsense",
            "spec.colour",
            "spec.free.known.x",
            "spec.list[0].b",
            "spec.map.k.c",
            "spec.pod.metadata.bad"
        ]
    );
    assert_eq!(report.wrong, Vec::<String>::new());
}

#[test]
fn metadata_has_its_own_types() {
    let schema = Structural::parse(&with_spec(json!({})));
    let report = schema.fit(Schemas::builtin(), &mut json!({"metadata": {"labels": {"a": 1}}}));
    assert_eq!(
        report.wrong,
        ["json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"]
    );
}

#[test]
fn defaults_stand_where_nothing_is() {
    let schema = Structural::parse(&with_spec(json!({
        "size": {"type": "integer", "default": 3},
        "none": {"type": "string", "nullable": true, "default": "x"},
        "gone": {"type": "string"},
        "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "b"}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "string", "default": "v"}},
    })));
    let cases = [
        (json!({}), json!({})),
        (json!({"spec": {}}), json!({"spec": {"size": 3, "none": "x", "deep": {"a": "b"}}})),
        (
            json!({"spec": {"size": null, "none": null, "gone": null, "deep": {"a": "c"}, "list": [{}, {"p": "UDP"}],
                            "map": {"k": null}}}),
            json!({"spec": {"size": 3, "none": null, "deep": {"a": "c"}, "list": [{"p": "TCP"}, {"p": "UDP"}],
                            "map": {"k": "v"}}}),
        ),
    ];
    for (given, wanted) in cases {
        let mut found = object(given.clone());
        schema.default(&mut found);
        assert_eq!(found.clone().into_value(), wanted, "{given}");
        let once = found.clone();
        schema.default(&mut found);
        assert_eq!(found, once, "{given}");
    }
}

#[test]
fn each_rule_has_its_path_and_words() {
    let int = |more: Value| {
        let mut schema = json!({"type": "integer"});
        schema.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        schema
    };
    let cases = [
        (
            int(json!({"minimum": 0})),
            json!(-1),
            "spec.x: Invalid value: -1: spec.x in body should be greater than or equal to 0",
        ),
        (
            int(json!({"maximum": 10})),
            json!(11),
            "spec.x: Invalid value: 11: spec.x in body should be less than or equal to 10",
        ),
        (
            int(json!({"minimum": 0, "exclusiveMinimum": true})),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than 0",
        ),
        (
            int(json!({"multipleOf": 5})),
            json!(7),
            "spec.x: Invalid value: 7: spec.x in body should be a multiple of 5",
        ),
        (
            int(json!({})),
            json!("3"),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
        ),
        (
            int(json!({})),
            json!(1.5),
            "spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
        ),
        (
            int(json!({})),
            json!(null),
            "spec.x: Invalid value: \"null\": spec.x in body must be of type integer: \"null\"",
        ),
        (int(json!({"nullable": true})), json!(null), ""),
        (int(json!({})), json!(2.0), ""),
        (
            int(json!({"format": "int32"})),
            json!(5_000_000_000_u64),
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.x",
        ),
        (
            json!({"type": "number", "maximum": 0.5}),
            json!(0.75),
            "spec.x: Invalid value: 0.75: spec.x in body should be less than or equal to 0.5",
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("A"),
            "spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]+$'",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("äöü"),
            "spec.x: Too long: may not be more than 2 bytes",
        ),
        (
            json!({"type": "string", "minLength": 1}),
            json!(""),
            "spec.x: Invalid value: \"\": spec.x in body should be at least 1 chars long",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "integer", "enum": [1, 2]}),
            json!(3),
            "spec.x: Unsupported value: 3: supported values: \"1\", \"2\"",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            "spec.x: Invalid value: \"soon\": spec.x in body must be of type date-time: \"soon\"",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!(["a", "b"]),
            "spec.x: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a", 1]),
            "spec.x[1]: Invalid value: \"integer\": spec.x[1] in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
            json!(["a", "a"]),
            "spec.x: Invalid value: \"\": spec.x in body shouldn't contain duplicates",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
            json!(["a", "b", "a"]),
            "spec.x[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["p"],
                   "items": {"type": "object", "properties": {"p": {"type": "integer"}}}}),
            json!([{"p": 1}, {"p": 1}]),
            "spec.x[1]: Duplicate value: {\"p\":1}",
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            "spec.x.a: Required value",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"k": 1}),
            "spec.x.k: Invalid value: \"integer\": spec.x.k in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": "", "b": ""}),
            "spec.x: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!("50%"), ""),
        (
            json!({"type": "string", "oneOf": [{"minLength": 3}, {"maxLength": 1}]}),
            json!("ab"),
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid\n\
             spec.x: Invalid value: \"ab\": spec.x in body should be at least 3 chars long",
        ),
        (
            json!({"type": "string", "oneOf": [{"minLength": 1}, {"maxLength": 5}]}),
            json!("ab"),
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). \
             Found 2 valid alternatives",
        ),
        (
            json!({"type": "string", "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}),
            json!("c"),
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)\n\
             spec.x: Unsupported value: \"c\": supported values: \"a\"",
        ),
        (
            json!({"type": "string", "allOf": [{"minLength": 1}, {"maxLength": 1}]}),
            json!("ab"),
            "spec.x: Too long: may not be more than 1 bytes\n\
             <nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf)",
        ),
        (
            json!({"type": "string", "not": {"enum": ["x"]}}),
            json!("x"),
            "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"kind": "Pod"}),
            "spec.x.apiVersion: Required value: must not be empty",
        ),
    ];
    for (schema, value, wanted) in cases {
        let structural = Structural::parse(&with_spec(json!({ "x": schema })));
        let found = said(&structural.validate(&object(json!({"spec": {"x": value}})))).join("\n");
        assert_eq!(found, wanted, "{schema} {value}");
    }
}

#[test]
fn a_field_of_the_root_has_no_dot_before_it() {
    let schema = Structural::parse(&json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object"}, "status": {"type": "object", "required": ["nodes"], "properties": {
            "nodes": {"type": "array", "items": {"type": "string"}}}}}}));
    assert_eq!(said(&schema.validate(&object(json!({})))), ["spec: Required value"]);
    assert_eq!(
        said(&schema.validate_status(&object(json!({"status": {}})))),
        ["status.nodes: Required value"]
    );
    assert_eq!(said(&schema.validate_status(&object(json!({})))), Vec::<String>::new());
}

#[test]
fn a_schema_has_to_be_structural() {
    let fine = with_spec(json!({
        "size": {"type": "integer", "minimum": 0},
        "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["p"],
                  "items": {"type": "object", "required": ["p"], "properties": {"p": {"type": "integer"}}}},
    }));
    assert_eq!(judged(fine), Vec::<String>::new());
    let cases = [
        (json!({}), "s.type: Required value: must not be empty at the root"),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            "s.type: Invalid value: \"array\": must be object at the root",
        ),
        (
            with_spec(json!({"x": {}})),
            "s.properties[spec].properties[x].type: Required value: must not be empty for specified object fields",
        ),
        (
            with_spec(json!({"x": {"type": "array", "items": {}}})),
            "s.properties[spec].properties[x].items.type: Required value: must not be empty for specified array items",
        ),
        (
            with_spec(json!({"x": {"type": "array"}})),
            "s.properties[spec].properties[x].items: Required value: must be specified",
        ),
        (
            with_spec(json!({"x": {"type": "string", "anyOf": [{"type": "string"}]}})),
            "s.properties[spec].properties[x].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"y": {"minLength": 1}}}]}),
            "s.properties[y]: Required value: because it is defined in s.anyOf[0].properties[y]",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            "s.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            with_spec(json!({"x": {"type": "string", "pattern": "("}})),
            "s.properties[spec].properties[x].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error: unclosed group",
        ),
        (
            with_spec(json!({"x": {"type": "string", "$ref": "#/definitions/y"}})),
            "s.properties[spec].properties[x].$ref: Forbidden: $ref is not supported",
        ),
        (
            with_spec(json!({"x": {"type": "text"}})),
            "s.properties[spec].properties[x].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            with_spec(json!({"x": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}})),
            "s.properties[spec].properties[x].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            with_spec(
                json!({"x": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "heap"}}),
            ),
            "s.properties[spec].properties[x].x-kubernetes-list-type: Unsupported value: \"heap\": supported values: \"atomic\", \"set\", \"map\"",
        ),
        (
            with_spec(json!({"x": {"type": "integer", "minimum": 0, "default": -1}})),
            "s.properties[spec].properties[x].default: Invalid value: -1: s.properties[spec].properties[x].default in body should be greater than or equal to 0",
        ),
        (
            with_spec(json!({"x": {"type": "object", "default": {"y": 1}}})),
            "s.properties[spec].properties[x].default: Invalid value: {\"y\":1}: must not have unknown fields",
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "string", "default": "x"}}}),
            "s.properties[kind].default: Forbidden: must not be set in top-level metadata",
        ),
        (
            with_spec(json!({"x": {"type": "integer", "x-kubernetes-validations": [{"message": "m"}]}})),
            "s.properties[spec].properties[x].x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
    ];
    for (schema, wanted) in cases {
        assert_eq!(judged(schema.clone()).join("\n"), wanted, "{schema}");
    }
}

#[test]
fn rules_are_kept_for_whoever_evaluates_them() {
    let rule = json!([{"rule": "self >= 0"}]);
    let schema = with_spec(json!({"x": {"type": "integer", "x-kubernetes-validations": rule}}));
    assert!(Structural::parse(&schema).has_rules());
    assert!(!Structural::parse(&with_spec(json!({}))).has_rules());
    assert_eq!(Structural::parse(&schema).type_at(&["spec", "x"]), Some("integer"));
}
