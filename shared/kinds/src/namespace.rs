//! Namespaces.

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use crate::field::{Errors, Field};
use crate::metadata::{keep, keep_all_but_status};
use crate::{Column, Kind, NameRule, Subresource, SubresourceUpdate, Verb, Verbs, fill};

/// The finalizer that empties a namespace.
pub const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const STANDARD_FINALIZERS: [&str; 3] = [FINALIZER, "orphan", "foregroundDeletion"];

/// The row.
pub fn kind() -> Kind {
    let every_verb =
        [Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
    let kind = Kind::cluster("", "v1", "Namespace", "namespaces")
        .short(&["ns"])
        .with_names(NameRule::Label)
        .with_status()
        .with_subresource(Subresource {
            update: Some(SubresourceUpdate { prepare: prepare_finalize, validate: |_, _| Vec::new() }),
            ..Subresource::new("finalize", "", "v1", "Namespace", &[Verb::Update])
        })
        .with_columns(vec![Column::text("Status", "Whether it is there to stay.", phase), Column::age()])
        .with_fields(&[("status.phase", phase)])
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create = prepare_create;
            hooks.prepare_update = |new, old| {
                keep(new, old, "spec");
                keep(new, old, "status");
            };
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_status = validate_status;
        });
    Kind { verbs: Verbs::of(&every_verb), ..kind }
}

fn phase(object: &Object) -> String {
    object.str_at(&["status", "phase"]).to_owned()
}

fn default(object: &mut Object) {
    label_with_name(object);
    if let Some(status) = fill::object_or_new(object, "status") {
        fill::text(status, "phase", "Active");
    }
}

fn label_with_name(object: &mut Object) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        object.set(&["metadata", "labels", NAME_LABEL], name);
    }
}

fn prepare_create(object: &mut Object) {
    label_with_name(object);
    object.set(&["status"], json!({"phase": "Active"}));
    let Some(spec) = fill::spec(object) else { return };
    fill::value(spec, "finalizers", json!([]));
    let Some(finalizers) = spec.get_mut("finalizers").and_then(Value::as_array_mut) else { return };
    if !finalizers.iter().any(|one| one == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
}

/// What `namespaces/finalize` may change: the finalizers of the spec, nothing else.
fn prepare_finalize(new: &mut Object, old: &Object) {
    let finalizers = new.take(&["spec", "finalizers"]);
    new.0.clone_from(&old.0);
    new.set(&["spec"], json!({}));
    if let Some(finalizers) = finalizers {
        new.set(&["spec", "finalizers"], finalizers);
    }
}

fn validate(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let path = "spec.finalizers";
    for name in Field::of(object, "spec").at("finalizers").texts() {
        errors
            .extend(names::qualified_name(name).into_iter().map(|why| FieldError::invalid(path, name, why)));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, name, why));
        }
    }
    errors
}

fn validate_status(new: &Object, _old: &Object) -> Errors {
    let phase = Field::new("status.Phase", new.at(&["status", "phase"]).unwrap_or(&Value::Null));
    match (new.deletion_timestamp().is_some(), phase.text()) {
        (false, "Active") | (true, "Terminating") => Vec::new(),
        (false, _) => vec![phase.invalid("may only be 'Active' if `deletionTimestamp` is empty")],
        (true, _) => vec![phase.invalid("may only be 'Terminating' if `deletionTimestamp` is not empty")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, object, row, said};

    #[test]
    fn a_new_namespace_is_active_labelled_and_guarded() {
        assert_eq!(
            defaulted(&kind(), json!({"metadata": {"name": "a"}})),
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}}, "status": {"phase": "Active"}})
        );
        let mut namespace = object(json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["x.io/y"]},
            "status": {"phase": "Terminating"}}));
        prepare_create(&mut namespace);
        prepare_create(&mut namespace);
        assert_eq!(
            namespace.into_value(),
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["x.io/y", "kubernetes"]}, "status": {"phase": "Active"}})
        );
    }

    #[test]
    fn only_finalize_changes_the_finalizers() {
        let old = object(json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}));
        let mut update = object(json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}}));
        let mut finalize = update.clone();
        (kind().hooks.prepare_update)(&mut update, &old);
        assert_eq!(update, old);
        prepare_finalize(&mut finalize, &old);
        assert_eq!(finalize.into_value(), json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}}));
    }

    #[test]
    fn finalizers_and_phases_are_judged() {
        let wrong = object(json!({"spec": {"finalizers": ["kubernetes", "x.io/y", "mine"]}}));
        assert_eq!(
            said(validate(&wrong)),
            "spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
        );
        let gone = object(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Active"}}),
        );
        assert_eq!(
            said(validate_status(&gone, &gone)),
            "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty"
        );
    }

    #[test]
    fn columns() {
        let namespace =
            object(json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T12:00:00Z"},
            "status": {"phase": "Active"}}));
        assert_eq!(row(&kind(), &namespace), "a | Active | 24h");
        assert!(!kind().verbs.contains(Verb::DeleteCollection));
    }
}
