//! Rows of kinds without behaviour, or with so little that it fits in a line.

use model::Object;
use serde_json::{Value, json};

use crate::cell::{self, NONE, UNSET, or};
use crate::field::Field;
use crate::{Column, Kind, Storage, Verb, Verbs, fill};

/// `Binding`: posted to bind a pod, never kept.
pub fn binding() -> Kind {
    Kind {
        storage: Storage::Virtual,
        verbs: Verbs::of(&[Verb::Create]),
        columns: vec![Column::name(), Column::created_at()],
        ..Kind::namespaced("", "v1", "Binding", "bindings")
    }
}

/// `PodTemplate`
pub fn pod_template() -> Kind {
    let labels = |object: &Object| {
        cell::labels_text(object.at(&["template", "metadata", "labels"]).and_then(Value::as_object))
    };
    let mut columns: Vec<Column> = cell::template_columns(&[], false);
    columns.iter_mut().for_each(|column| column.priority = 0);
    columns.push(Column::text("Pod Labels", "The labels of the template.", labels));
    Kind::namespaced("", "v1", "PodTemplate", "podtemplates")
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = |object| {
                crate::pod::template::default_in(&mut object.0);
            };
        })
}

/// `ServiceAccount`
pub fn service_account() -> Kind {
    let token =
        crate::Subresource::new("token", "authentication.k8s.io", "v1", "TokenRequest", &[Verb::Create]);
    Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .with_subresource(token)
        .with_columns(vec![
            Column::count("Secrets", "How many secrets its pods may use.", |object| {
                cell::count(object, &["secrets"])
            }),
            Column::age(),
        ])
}

/// `ControllerRevision`
pub fn controller_revision() -> Kind {
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions")
        .with_columns(vec![
            Column::text("Controller", "The owner that controls it.", controller_name),
            Column::count("Revision", "Its place in the history.", |object| {
                cell::number(object, &["revision"])
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.validate = |object| {
                let mut errors = Vec::new();
                let data = Field::of(object, "data");
                if !data.is_set() {
                    errors.push(data.required("data is mandatory"));
                }
                Field::of(object, "revision").not_negative(&mut errors);
                errors
            };
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let data = |object| Field::of(object, "data");
                data(new).unchanged(&data(old), &mut errors);
                errors
            };
        })
}

fn controller_name(object: &Object) -> String {
    let Some(owner) = crate::metadata::controller(object) else { return NONE.to_owned() };
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let group = text("apiVersion").split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", text("kind").to_lowercase(), text("name"))
}

/// `PriorityClass`
pub fn priority_class() -> Kind {
    Kind::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        .short(&["pc"])
        .with_generation()
        .with_columns(vec![
            Column::integer("Value", "The priority of its pods.", |object| cell::number(object, &["value"])),
            Column::new("Global-Default", "boolean", "Whether pods without a class have it.", |object, _| {
                object.get("globalDefault").and_then(Value::as_bool).unwrap_or(false).into()
            }),
            Column::age(),
            Column::text("PreemptionPolicy", "Whether its pods displace others.", |object| {
                object.str_at(&["preemptionPolicy"]).to_owned()
            }),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                fill::text(object, "preemptionPolicy", "PreemptLowerPriority");
            };
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let field = |object, name| Field::of(object, name);
                if field(new, "value").value != field(old, "value").value {
                    errors.push(model::FieldError::forbidden("value", "may not be changed in an update."));
                }
                field(new, "preemptionPolicy").unchanged(&field(old, "preemptionPolicy"), &mut errors);
                errors
            };
        })
}

/// `PodDisruptionBudget`
pub fn pod_disruption_budget() -> Kind {
    fn bound(object: &Object, field: &str) -> String {
        match object.at(&["spec", field]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => "N/A".to_owned(),
        }
    }
    let kind = Kind::namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .with_status()
        .with_generation()
        .with_columns(vec![
            Column::text("Min Available", "How many pods must stay.", |object| bound(object, "minAvailable")),
            Column::text("Max Unavailable", "How many pods may be missing.", |object| {
                bound(object, "maxUnavailable")
            }),
            Column::integer("Allowed Disruptions", "How many pods may be evicted now.", |object| {
                cell::number(object, &["status", "disruptionsAllowed"])
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.prepare_create = |object| {
                let status = json!({
                    "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0
                });
                object.set(&["status"], status);
            };
            hooks.validate = |object| {
                let spec = Field::of(object, "spec");
                let mut errors = Vec::new();
                if spec.at("minAvailable").is_set() && spec.at("maxUnavailable").is_set() {
                    errors.push(spec.invalid("minAvailable and maxUnavailable cannot be both set"));
                }
                crate::metadata::label_selector(&spec.at("selector"), &mut errors);
                errors
            };
        });
    Kind { unconditional_update: false, ..kind }
}

/// The text at a path of the spec, or what stands for unset.
pub fn spec_or_unset(object: &Object, field: &str) -> String {
    or(object.str_at(&["spec", field]), UNSET).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};

    #[test]
    fn a_priority_stays() {
        let class = |value: i64| {
            object(json!({"metadata": {"name": "p"}, "value": value, "preemptionPolicy": "Never"}))
        };
        assert_eq!(row(&priority_class(), &class(7)), "p | 7 | false | <unknown> | Never");
        assert_eq!(
            said((priority_class().hooks.validate_update)(&class(8), &class(7))),
            "value: Forbidden: may not be changed in an update."
        );
    }

    #[test]
    fn a_revision_shows_whose_it_is() {
        let revision = object(json!({"metadata": {"name": "r", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}
        ]}, "revision": 2}));
        assert_eq!(row(&controller_revision(), &revision), "r | statefulset.apps/db | 2 | <unknown>");
        assert_eq!(
            said((controller_revision().hooks.validate)(&revision)),
            "data: Required value: data is mandatory"
        );
    }

    #[test]
    fn a_budget_has_one_bound() {
        let budget =
            object(json!({"metadata": {"name": "b"}, "spec": {"minAvailable": "50%", "maxUnavailable": 1},
            "status": {"disruptionsAllowed": 2}}));
        assert_eq!(row(&pod_disruption_budget(), &budget), "b | 50% | 1 | 2 | <unknown>");
        assert!(
            said((pod_disruption_budget().hooks.validate)(&budget))
                .ends_with("minAvailable and maxUnavailable cannot be both set")
        );
    }

    #[test]
    fn templates_and_accounts() {
        let template = json!({"metadata": {"name": "t"}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        let shown = defaulted(&pod_template(), template);
        assert_eq!(shown["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(headings(&pod_template()), "Name | Containers | Images | Pod Labels");
        assert_eq!(row(&pod_template(), &object(shown)), "t | c | i | a=b");
        let account = object(json!({"metadata": {"name": "default"}}));
        assert_eq!(row(&service_account(), &account), "default | 0 | <unknown>");
    }
}
