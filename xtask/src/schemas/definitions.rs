//! The definitions in the form that Kubernetes publishes: what kubernetes-validate changed is undone.
//!
//! It rewrites them for JSON Schema 2020-12: optional types may be null, `apiVersion` and `kind` list what they
//! may be, references point into `$defs`, and the two types that are a string or a number are a choice.
//! It also leaves out defaults; the few that matter are added here.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

/// A definition's name, as `io.k8s.api.core.v1.Pod`, and the definition.
pub type Definitions = BTreeMap<String, Value>;

/// Defaults that clients merge by: the keys of a list, and numbers that are counted with.
const DEFAULTS: [(&str, &str, &str); 6] = [
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "\"TCP\""),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "\"TCP\""),
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "replicas", "1"),
    ("io.k8s.api.resource.v1.DeviceToleration", "operator", "\"Equal\""),
    ("io.k8s.api.resource.v1beta1.DeviceToleration", "operator", "\"Equal\""),
    ("io.k8s.api.resource.v1beta2.DeviceToleration", "operator", "\"Equal\""),
];

const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// Undoes the edits.
pub fn restore(raw: &Value) -> anyhow::Result<Definitions> {
    let raw = raw.as_object().context("the definitions are no object")?;
    let mut restored: Definitions =
        raw.iter().map(|(name, definition)| (name.clone(), schema(definition))).collect();
    restored.insert(
        INT_OR_STRING.to_owned(),
        json!({"type": "string", "format": "int-or-string",
               "description": "A 32-bit number or a string, as a port that is given by number or by name."}),
    );
    restored.insert(
        QUANTITY.to_owned(),
        json!({"type": "string",
               "description": "An amount such as 500m, 1.5 or 2Gi: a number with a decimal or binary suffix."}),
    );
    for (name, field, default) in DEFAULTS {
        let property = restored
            .get_mut(name)
            .and_then(|definition| definition.pointer_mut(&format!("/properties/{field}")))
            .with_context(|| format!("{name} has no field {field}"))?;
        property["default"] = serde_json::from_str(default)?;
    }
    ensure!(restored.contains_key("io.k8s.api.core.v1.Pod"), "there is no Pod among the definitions");
    Ok(restored)
}

fn schema(edited: &Value) -> Value {
    let Some(edited) = edited.as_object() else { return edited.clone() };
    let mut out = Map::new();
    for (word, value) in edited {
        let value = match word.as_str() {
            "type" => without_null(value),
            "$ref" => json!(value.as_str().unwrap_or_default().replace("#/$defs/", "#/definitions/")),
            "items" | "additionalProperties" => schema(value),
            "properties" => properties(value),
            _ => value.clone(),
        };
        out.insert(word.clone(), value);
    }
    Value::Object(out)
}

fn properties(edited: &Value) -> Value {
    let fields = edited.as_object().into_iter().flatten().map(|(name, property)| {
        let mut property = schema(property);
        if let (true, Value::Object(words)) = (name == "apiVersion" || name == "kind", &mut property) {
            words.remove("enum");
        }
        (name.clone(), property)
    });
    Value::Object(fields.collect())
}

fn without_null(types: &Value) -> Value {
    match types.as_array().map(Vec::as_slice) {
        Some([one, Value::String(null)]) if null == "null" => one.clone(),
        _ => types.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_kubernetes_validate_are_undone() {
        let edited = json!({
            "type": ["object", "null"],
            "properties": {
                "kind": {"type": ["string", "null"], "enum": ["Pod"]},
                "ports": {"type": ["array", "null"], "items": {"$ref": "#/$defs/io.k8s.Port"}},
                "type": {"type": "string"},
            }
        });
        assert_eq!(
            schema(&edited),
            json!({
                "type": "object",
                "properties": {
                    "kind": {"type": "string"},
                    "ports": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.Port"}},
                    "type": {"type": "string"},
                }
            })
        );
    }
}
