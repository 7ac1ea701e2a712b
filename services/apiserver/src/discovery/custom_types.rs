//! The types of custom kinds for OpenAPI: the schema as its author wrote it, with what every object has.
//!
//! Version 2 has fewer words than version 3, and clients of it take an untyped value for "anything", so what it
//! cannot say is left open.

use kinds::Kind;
use schema::{Schemas, TypeId};
use serde_json::{Map, Value, json};

/// Which version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With references into `#/definitions/`.
    V2,
    /// With references into `#/components/schemas/`.
    V3,
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents.";
const METADATA: &str = "Standard object's metadata.";

/// The name of a kind's type: `com.example.cache.v1alpha1.Memcached`.
pub fn name(kind: &Kind) -> String {
    named(kind, &kind.kind)
}

/// The name of the type of its lists.
pub fn list_name(kind: &Kind) -> String {
    named(kind, &kind.list_kind())
}

fn named(kind: &Kind, name: &str) -> String {
    let group: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{name}", group.join("."), kind.version)
}

/// The built-in types that those of custom kinds refer to.
pub fn roots() -> impl Iterator<Item = TypeId> {
    [OBJECT_META, LIST_META].into_iter().filter_map(|name| Schemas::builtin().definition(name))
}

/// The types of a custom kind, by name; none for a built-in one.
pub fn schemas(kind: &Kind, form: Form) -> Vec<(String, Value)> {
    let Some(custom) = &kind.custom else { return Vec::new() };
    let object = object(custom.open_api_schema(), kind, form);
    vec![(name(kind), object), (list_name(kind), list(kind, form))]
}

fn object(schema: Value, kind: &Kind, form: Form) -> Value {
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    let mut schema = match form {
        // Clients of version 2 take every field that is not named for an unknown one.
        Form::V2 if preserves => json!({"type": "object"}),
        Form::V2 => with_meta(narrowed(schema), form),
        Form::V3 => with_meta(widened(schema), form),
    };
    schema["x-kubernetes-group-version-kind"] = json!([about(kind, &kind.kind)]);
    schema
}

fn list(kind: &Kind, form: Form) -> Value {
    let items = json!({
        "description": format!("List of {}. More info: the definition of {}.", kind.plural, kind.qualified_plural()),
        "type": "array", "items": reference(&name(kind), form),
    });
    json!({
        "description": format!("{} is a list of {}", kind.list_kind(), kind.kind),
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"},
            "kind": {"description": KIND, "type": "string"},
            "metadata": described(reference(LIST_META, form), "Standard list metadata.", form),
            "items": items,
        },
        "x-kubernetes-group-version-kind": [about(kind, &kind.list_kind())],
    })
}

fn about(kind: &Kind, name: &str) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": name})
}

fn reference(name: &str, form: Form) -> Value {
    match form {
        Form::V2 => json!({"$ref": format!("#/definitions/{name}")}),
        Form::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
    }
}

/// Version 3 ignores what stands beside a reference, so it is wrapped.
fn described(reference: Value, description: &str, form: Form) -> Value {
    match form {
        Form::V2 => json!({"description": description, "$ref": reference["$ref"]}),
        Form::V3 => json!({"description": description, "allOf": [reference]}),
    }
}

/// The fields that every object has, in place of what the schema may say of them.
fn with_meta(mut schema: Value, form: Form) -> Value {
    let Some(words) = schema.as_object_mut() else { return schema };
    let properties = words.entry("properties").or_insert_with(|| json!({}));
    properties["apiVersion"] = json!({"description": API_VERSION, "type": "string"});
    properties["kind"] = json!({"description": KIND, "type": "string"});
    properties["metadata"] = described(reference(OBJECT_META, form), METADATA, form);
    schema
}

/// Runs `change` on a schema and all that are in it.
fn each(schema: Value, change: &impl Fn(&mut Map<String, Value>)) -> Value {
    let Value::Object(mut words) = schema else { return schema };
    change(&mut words);
    if let Some(Value::Object(properties)) = words.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = each(property.take(), change));
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = words.get_mut(word) {
            *inner = each(inner.take(), change);
        }
    }
    Value::Object(words)
}

fn is_true(words: &Map<String, Value>, word: &str) -> bool {
    words.get(word).and_then(Value::as_bool).unwrap_or(false)
}

/// What version 3 says in words of its own.
fn widened(schema: Value) -> Value {
    each(schema, &|words| {
        if is_true(words, "x-kubernetes-int-or-string")
            && !words.contains_key("anyOf")
            && !words.contains_key("allOf")
        {
            words.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
        }
        if is_true(words, "x-kubernetes-embedded-resource") {
            let embedded = with_meta(Value::Object(std::mem::take(words)), Form::V3);
            *words = embedded.as_object().cloned().unwrap_or_default();
        }
    })
}

/// What version 2 can say.
fn narrowed(schema: Value) -> Value {
    each(schema, &|words| {
        for junctor in ["allOf", "anyOf", "oneOf", "not"] {
            words.remove(junctor);
        }
        let nullable = words.remove("nullable") == Some(json!(true));
        let preserves = is_true(words, "x-kubernetes-preserve-unknown-fields");
        if nullable || preserves {
            words.remove("items");
            words.remove("properties");
        }
        let is = |words: &Map<String, Value>, ty: &str| words.get("type") == Some(&json!(ty));
        let without_items = is(words, "array") && !words.contains_key("items");
        if nullable || without_items || (preserves && is(words, "object")) {
            words.remove("type");
        }
    })
}

#[cfg(test)]
mod tests {
    use model::{Object, Revision};

    use super::*;

    fn memcached() -> std::sync::Arc<Kind> {
        let definition = json!({
            "metadata": {"name": "memcacheds.cache.example.com", "uid": "u"},
            "spec": {"group": "cache.example.com", "scope": "Namespaced", "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "description": "A cache.", "properties": {"spec": {"type": "object", "properties": {
                        "size": {"type": "integer", "description": "How many."},
                        "port": {"x-kubernetes-int-or-string": true},
                        "maybe": {"type": "string", "nullable": true},
                        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "one": {"type": "string", "oneOf": [{"minLength": 1}]},
                    }}},
                }},
            }]},
            "status": {"acceptedNames": {"plural": "memcacheds", "kind": "Memcached", "listKind": "MemcachedList"},
                       "conditions": [{"type": "Established", "status": "True"}]},
        });
        let definition = Object::from_value(definition).expect("an object");
        kinds::custom::rows(&definition, &definition.encode(), Revision::ZERO).served.remove(0)
    }

    #[test]
    fn types_have_names_and_say_whose_they_are() {
        let types = schemas(&memcached(), Form::V3);
        let names: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["com.example.cache.v1.Memcached", "com.example.cache.v1.MemcachedList"]);
        assert_eq!(
            types[0].1["x-kubernetes-group-version-kind"],
            json!([{"group": "cache.example.com", "version": "v1", "kind": "Memcached"}])
        );
        let properties = &types[0].1["properties"];
        assert_eq!(properties["spec"]["properties"]["size"]["description"], "How many.");
        let metadata = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(properties["metadata"]["allOf"], json!([{"$ref": metadata}]));
        let port = &properties["spec"]["properties"]["port"];
        assert_eq!(port["anyOf"], json!([{"type": "integer"}, {"type": "string"}]));
        let items = &types[1].1["properties"]["items"]["items"];
        assert_eq!(items, &json!({"$ref": "#/components/schemas/com.example.cache.v1.Memcached"}));
    }

    #[test]
    fn version_two_leaves_open_what_it_cannot_say() {
        let types = schemas(&memcached(), Form::V2);
        let spec = &types[0].1["properties"]["spec"]["properties"];
        assert_eq!(spec["maybe"], json!({}));
        assert_eq!(spec["any"], json!({"x-kubernetes-preserve-unknown-fields": true}));
        assert_eq!(spec["one"], json!({"type": "string"}));
        let metadata = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(types[0].1["properties"]["metadata"]["$ref"], metadata);
    }
}
