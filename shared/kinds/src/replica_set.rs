//! ReplicaSets, and ReplicationControllers, which came before them.

use model::Object;
use serde_json::{Map, Value, json};

use crate::cell::{number, template_columns};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status, labels};
use crate::scale::Scale;
use crate::{Column, Kind, fill, workload};

const PARTS: [&str; 3] = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

/// The row of ReplicaSets.
pub fn replica_set() -> Kind {
    row(Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets").short(&["rs"])).with_hooks(|hooks| {
        hooks.default = |object| {
            if let Some(spec) = workload::default_spec(object) {
                fill::value(spec, "replicas", 1);
            }
        };
        hooks.validate = |object| {
            let spec = Field::of(object, "spec");
            let mut errors = Errors::new();
            validate_numbers(&spec, &mut errors);
            let empty = "empty selector is invalid for deployment";
            workload::selector_and_template(&spec, "ReplicaSet", empty, &mut errors);
            errors
        };
        hooks.validate_update = workload::selector_unchanged;
    })
}

/// The row of ReplicationControllers.
pub fn replication_controller() -> Kind {
    row(Kind::namespaced("", "v1", "ReplicationController", "replicationcontrollers").short(&["rc"]))
        .with_hooks(|hooks| {
            hooks.default = default_controller;
            hooks.validate = validate_controller;
        })
}

fn row(kind: Kind) -> Kind {
    let mut columns = vec![
        Column::integer("Desired", "How many pods there are to be.", |object| {
            number(object, &["spec", "replicas"])
        }),
        Column::integer("Current", "How many pods there are.", |object| {
            number(object, &["status", "replicas"])
        }),
        Column::integer("Ready", "How many pods are ready.", |object| {
            number(object, &["status", "readyReplicas"])
        }),
        Column::age(),
    ];
    columns.extend(template_columns(&["spec"], true));
    kind.in_all()
        .with_status()
        .with_scale(Scale::workload())
        .with_generation()
        .with_columns(columns)
        .with_fields(&[("status.replicas", |object| number(object, &["status", "replicas"]).to_string())])
        .with_hooks(|hooks| {
            hooks.prepare_create = |object| object.set(&["status"], json!({"replicas": 0}));
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate_status = |new, _| workload::validate_counts(new, "replicas", &PARTS);
        })
}

/// The template's labels are the selector's and the object's own, unless said.
fn default_controller(object: &mut Object) {
    let Some(spec) = workload::default_spec(object) else { return };
    fill::value(spec, "replicas", 1);
    let template =
        spec.get("template").and_then(|template| template["metadata"]["labels"].as_object()).cloned();
    let Some(template) = template else { return };
    if spec.get("selector").and_then(Value::as_object).is_none_or(Map::is_empty) {
        spec.insert("selector".to_owned(), template.clone().into());
    }
    let own = object.at(&["metadata", "labels"]).and_then(Value::as_object);
    if own.is_none_or(Map::is_empty) && object.get("metadata").is_some() {
        object.set(&["metadata", "labels"], template);
    }
}

fn validate_numbers(spec: &Field<'_>, errors: &mut Errors) {
    spec.at("replicas").not_negative(errors);
    spec.at("minReadySeconds").not_negative(errors);
}

fn validate_controller(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    validate_numbers(&spec, &mut errors);
    let (selector, template) = (spec.at("selector"), spec.at("template"));
    if selector.is_empty() {
        errors.push(selector.required(""));
    }
    labels(&selector, &mut errors);
    if !template.is_set() {
        errors.push(template.required(""));
        return errors;
    }
    let own = template.at("metadata").at("labels");
    if selector.entries().any(|(key, value)| own.key(key).value != value.value) {
        errors.push(own.invalid("`selector` does not match template `labels`"));
    }
    workload::validate_template(&template, "ReplicationController", &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}})
    }

    #[test]
    fn a_controller_selects_what_its_template_is_labelled() {
        let shown = defaulted(
            &replication_controller(),
            json!({"metadata": {"name": "a"}, "spec": {"template": template()}}),
        );
        assert_eq!(shown["spec"]["selector"], json!({"app": "web"}));
        assert_eq!(shown["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(shown["spec"]["replicas"], 1);
        assert_eq!(said(validate_controller(&object(shown.clone()))), "");
        let mut other = shown;
        other["spec"]["selector"] = json!({"app": "db"});
        assert_eq!(
            said(validate_controller(&object(other))),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"
        );
    }

    #[test]
    fn a_set_says_what_it_selects() {
        let set = |selector: Value| {
            let set =
                json!({"metadata": {"name": "a"}, "spec": {"selector": selector, "template": template()}});
            object(defaulted(&replica_set(), set))
        };
        let validate = replica_set().hooks.validate;
        assert_eq!(said(validate(&set(json!({"matchLabels": {"app": "web"}})))), "");
        assert_eq!(said(validate(&set(Value::Null))), "spec.selector: Required value");
        let mut counted = set(json!({"matchLabels": {"app": "web"}}));
        counted.set(&["status"], json!({"replicas": 1, "readyReplicas": 2}));
        assert_eq!(
            said((replica_set().hooks.validate_status)(&counted, &counted)),
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
        );
        assert_eq!(
            headings(&replica_set()),
            "Name | Desired | Current | Ready | Age | (Containers) | (Images) | (Selector)"
        );
        assert_eq!(row(&replica_set(), &counted), "a | 1 | 1 | 2 | <unknown> | a | i | app=web");
        assert_eq!(replica_set().field(&counted, "status.replicas"), Some("1".to_owned()));
    }
}
