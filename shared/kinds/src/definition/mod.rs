//! `CustomResourceDefinition`: the kind whose objects are kinds.

mod rules;

#[cfg(test)]
mod tests;

use model::Object;
use schema::structural::{Structural, is_known_format};
use serde_json::{Value, json};

use crate::{Column, Kind, fill, metadata};

/// Holds a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Where a definition is kept.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Where a definition is kept.
pub const PLURAL: &str = "customresourcedefinitions";

/// `CustomResourceDefinition`
pub fn kind() -> Kind {
    let kind = Kind::cluster(GROUP, "v1", "CustomResourceDefinition", PLURAL)
        .short(&["crd", "crds"])
        .with_status()
        .with_generation()
        .with_columns(vec![Column::created_at()])
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create = |object| {
                metadata::clear_status(object);
                note_storage_version(object);
            };
            hooks.prepare_update = |new, old| {
                metadata::keep_status(new, old);
                note_storage_version(new);
            };
            hooks.validate = rules::validate;
            hooks.validate_update = rules::validate_update;
            hooks.validate_status = |new, _| rules::validate_status(new);
            hooks.warnings = warnings;
        });
    Kind { categories: vec!["api-extensions".into()], unconditional_update: false, ..kind }
}

/// What becomes of a definition that is deleted: its objects go first.
pub fn mark_terminating(object: &mut Object, now: &str) {
    let condition = metadata::new_condition(
        "Terminating",
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will occur soon",
    );
    set_condition(object, condition, now);
}

/// Puts a condition among those of the status; the time is that of the last change of its status.
pub fn set_condition(object: &mut Object, mut condition: Value, now: &str) {
    let mut conditions =
        object.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    condition["lastTransitionTime"] = json!(now);
    match conditions.iter_mut().find(|one| one["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
    object.set(&["status", "conditions"], conditions);
}

fn default(object: &mut Object) {
    let kind = object.str_at(&["spec", "names", "kind"]).to_owned();
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    if let Some(names) = fill::object(spec, "names").filter(|_| !kind.is_empty()) {
        fill::text(names, "singular", &kind.to_lowercase());
        fill::text(names, "listKind", &format!("{kind}List"));
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(service) =
        conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut)
    {
        service.entry("port").or_insert_with(|| json!(443));
    }
}

/// Every version that objects were ever stored in is remembered until somebody says that there are none any more.
fn note_storage_version(object: &mut Object) {
    let storage = versions(object).find(|version| version["storage"] == true);
    let Some(name) = storage.map(|version| version["name"].clone()) else { return };
    let mut stored =
        object.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if !stored.contains(&name) {
        stored.push(name);
        object.set(&["status", "storedVersions"], stored);
    }
}

fn warnings(object: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    for version in versions(object) {
        let (name, schema) = (&version["name"], &version["schema"]["openAPIV3Schema"]);
        let mut formats = Vec::new();
        each_format(schema, &mut formats);
        let unknown = formats.into_iter().filter(|format| !is_known_format(format));
        warnings.extend(unknown.map(|format| format!("unrecognized format {format:?}")));
        if Structural::parse(schema).has_rules() {
            let name = name.as_str().unwrap_or_default();
            warnings
                .push(format!("version {name}: x-kubernetes-validations are kept, but not evaluated yet"));
        }
    }
    if object.str_at(&["spec", "conversion", "strategy"]) == "Webhook" && versions(object).count() > 1 {
        let why = "conversion webhooks are not called yet: only the storage version is served";
        warnings.push(format!("spec.conversion.strategy: {why}"));
    }
    warnings
}

fn each_format(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(words) => {
            if let Some(format) = words.get("format").and_then(Value::as_str)
                && !found.iter().any(|one| one == format)
            {
                found.push(format.to_owned());
            }
            words
                .iter()
                .filter(|(word, _)| *word != "default")
                .for_each(|(_, value)| each_format(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| each_format(item, found)),
        _ => {}
    }
}

fn versions(object: &Object) -> impl Iterator<Item = &Value> {
    object.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten()
}
