//! DaemonSets.

use model::Object;
use serde_json::{Value, json};

use crate::cell::{labels_text, number, template_columns};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status};
use crate::workload::{at_most_all, count_or_percent, is_nothing};
use crate::{Column, Kind, fill, workload};

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![
        Column::integer("Desired", "How many nodes are to run it.", |o| {
            number(o, &["status", "desiredNumberScheduled"])
        }),
        Column::integer("Current", "How many of them do.", |o| {
            number(o, &["status", "currentNumberScheduled"])
        }),
        Column::integer("Ready", "How many pods are ready.", |o| number(o, &["status", "numberReady"])),
        Column::integer("Up-to-date", "How many pods are of the newest template.", |o| {
            number(o, &["status", "updatedNumberScheduled"])
        }),
        Column::integer("Available", "How many pods have been ready for long enough.", |o| {
            number(o, &["status", "numberAvailable"])
        }),
        Column::text("Node Selector", "Labels of the nodes that are to run it.", |object| {
            labels_text(object.at(&["spec", "template", "spec", "nodeSelector"]).and_then(Value::as_object))
        }),
        Column::age(),
    ];
    columns.extend(template_columns(&["spec"], true));
    Kind::namespaced("apps", "v1", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .in_all()
        .with_status()
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create = |object| {
                let status = json!({
                    "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0
                });
                object.set(&["status"], status);
            };
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_update = workload::selector_unchanged;
        })
}

fn default(object: &mut Object) {
    let Some(spec) = workload::default_spec(object) else { return };
    if let Some(strategy) = fill::object_or_new(spec, "updateStrategy") {
        fill::text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = fill::object_or_new(strategy, "rollingUpdate")
        {
            fill::value(rolling, "maxUnavailable", 1);
            fill::value(rolling, "maxSurge", 0);
        }
    }
    fill::value(spec, "revisionHistoryLimit", 10);
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    let empty = "empty selector is invalid for daemonset";
    workload::selector_and_template(&spec, "DaemonSet", empty, &mut errors);
    spec.at("minReadySeconds").not_negative(&mut errors);
    spec.at("revisionHistoryLimit").not_negative(&mut errors);
    let strategy = spec.at("updateStrategy");
    match strategy.at("type").text() {
        "OnDelete" => (),
        "RollingUpdate" => validate_rolling(&strategy.at("rollingUpdate"), &mut errors),
        _ => errors.push(strategy.at("type").not_supported(&["RollingUpdate", "OnDelete"])),
    }
    errors
}

fn validate_rolling(rolling: &Field<'_>, errors: &mut Errors) {
    let (missing, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
    for field in [&missing, &surge] {
        count_or_percent(field, errors);
        at_most_all(field, errors);
    }
    match (is_nothing(&missing), is_nothing(&surge)) {
        (false, false) => errors.push(surge.invalid("may not be set when maxUnavailable is non-zero")),
        (true, true) => errors.push(missing.required("cannot be 0 when maxSurge is 0")),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headings, object, row, said};

    fn agent(change: Value) -> Object {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}},
                "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "a", "image": "i"}]}}
        });
        for (name, value) in change.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let mut set = object(json!({"metadata": {"name": "agent"}, "spec": spec}));
        default(&mut set);
        set
    }

    #[test]
    fn defaults_and_rules() {
        let set = agent(json!({}));
        assert_eq!(
            set.at(&["spec", "updateStrategy"]),
            Some(&json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}))
        );
        assert_eq!(said(validate(&set)), "");
        let rolling = |missing: i64, surge: i64| {
            agent(
                json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": missing, "maxSurge": surge}}}),
            )
        };
        assert_eq!(
            said(validate(&rolling(1, 1))),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
        );
        assert_eq!(
            said(validate(&rolling(0, 0))),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
        );
    }

    #[test]
    fn columns() {
        assert_eq!(
            headings(&kind()),
            "Name | Desired | Current | Ready | Up-to-date | Available | Node Selector | Age | (Containers) | (Images) | \
             (Selector)"
        );
        assert_eq!(
            row(&kind(), &agent(json!({}))),
            "agent | 0 | 0 | 0 | 0 | 0 | disk=ssd | <unknown> | a | i | app=x"
        );
    }
}
