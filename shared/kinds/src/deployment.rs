//! Deployments.

use model::Object;
use serde_json::json;

use crate::cell::{number, template_columns};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status};
use crate::scale::Scale;
use crate::workload::{at_most_all, count_or_percent, is_nothing};
use crate::{Column, Kind, fill, workload};

/// The row.
pub fn kind() -> Kind {
    let mut columns = vec![
        Column::text("Ready", "How many pods are ready, of how many.", |object| {
            format!(
                "{}/{}",
                number(object, &["status", "readyReplicas"]),
                number(object, &["spec", "replicas"])
            )
        }),
        Column::count("Up-to-date", "How many pods are of the newest template.", |object| {
            number(object, &["status", "updatedReplicas"])
        }),
        Column::count("Available", "How many pods have been ready for long enough.", |object| {
            number(object, &["status", "availableReplicas"])
        }),
        Column::age(),
    ];
    columns.extend(template_columns(&["spec"], true));
    Kind::namespaced("apps", "v1", "Deployment", "deployments")
        .short(&["deploy"])
        .in_all()
        .with_status()
        .with_scale(Scale::workload())
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create = |object| object.set(&["status"], json!({}));
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_update = workload::selector_unchanged;
            hooks.validate_status = |new, _| {
                let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
                workload::validate_counts(new, "replicas", &parts)
            };
        })
}

fn default(object: &mut Object) {
    let Some(spec) = workload::default_spec(object) else { return };
    fill::value(spec, "replicas", 1);
    if let Some(strategy) = fill::object_or_new(spec, "strategy") {
        fill::text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = fill::object_or_new(strategy, "rollingUpdate")
        {
            fill::value(rolling, "maxUnavailable", "25%");
            fill::value(rolling, "maxSurge", "25%");
        }
    }
    fill::value(spec, "revisionHistoryLimit", 10);
    fill::value(spec, "progressDeadlineSeconds", 600);
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    spec.at("replicas").not_negative(&mut errors);
    workload::selector_and_template(
        &spec,
        "ReplicaSet",
        "empty selector is invalid for deployment",
        &mut errors,
    );
    validate_strategy(&spec.at("strategy"), &mut errors);
    let (settle, deadline) = (spec.at("minReadySeconds"), spec.at("progressDeadlineSeconds"));
    settle.not_negative(&mut errors);
    spec.at("revisionHistoryLimit").not_negative(&mut errors);
    deadline.not_negative(&mut errors);
    if deadline.number().is_some_and(|deadline| deadline <= settle.number().unwrap_or(0)) {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    errors
}

fn validate_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let (kind, rolling) = (strategy.at("type"), strategy.at("rollingUpdate"));
    match kind.text() {
        "Recreate" if rolling.is_set() => {
            errors.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
        }
        "Recreate" => (),
        "RollingUpdate" => {
            let (missing, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            count_or_percent(&missing, errors);
            count_or_percent(&surge, errors);
            if is_nothing(&missing) && is_nothing(&surge) {
                errors.push(missing.invalid("may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(&missing, errors);
        }
        _ => errors.push(kind.not_supported(&["Recreate", "RollingUpdate"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};
    use serde_json::Value;

    fn web(change: Value) -> Object {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
        });
        for (name, value) in change.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let mut deployment = object(json!({"metadata": {"name": "web"}, "spec": spec}));
        default(&mut deployment);
        deployment
    }

    #[test]
    fn defaults() {
        let shown = defaulted(&kind(), web(json!({})).into_value());
        let mut spec = shown["spec"].clone();
        spec.as_object_mut().expect("a spec").remove("template");
        assert_eq!(
            spec,
            json!({
                "replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
            })
        );
        assert_eq!(shown["spec"]["template"]["spec"]["restartPolicy"], "Always");
        let recreate = web(json!({"strategy": {"type": "Recreate"}}));
        assert_eq!(recreate.at(&["spec", "strategy"]), Some(&json!({"type": "Recreate"})));
    }

    #[test]
    fn each_rule_names_its_field() {
        let rolling = |missing: Value, surge: Value| json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": missing, "maxSurge": surge}}});
        let cases = [
            (json!({}), ""),
            (json!({"replicas": -1}), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
            (json!({"selector": null}), "spec.selector: Required value"),
            (
                json!({"selector": {}}),
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ),
            (
                json!({"selector": {"matchLabels": {"app": "db"}}}),
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ),
            (
                json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}}),
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator\n\
                 spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Like\"}]}: invalid label selector",
            ),
            (
                json!({"minReadySeconds": 600}),
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ),
            (
                json!({"strategy": {"type": "Leap"}}),
                "spec.strategy.type: Unsupported value: \"Leap\": supported values: \"Recreate\", \"RollingUpdate\"",
            ),
            (
                json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                rolling(json!(0), json!("0%")),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                rolling(json!("101%"), json!("x")),
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": must be an integer or percentage (e.g '5%%')\n\
                 spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never",
                    "activeDeadlineSeconds": 5, "containers": [{"name": "a", "image": "i"}]}}}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"\n\
                 spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ),
        ];
        for (change, wrong) in cases {
            assert_eq!(said(validate(&web(change.clone()))), wrong, "{change}");
        }
    }

    #[test]
    fn the_selector_stays() {
        let other = web(json!({"selector": {"matchLabels": {"app": "web", "tier": "x"}}}));
        assert_eq!(
            said((kind().hooks.validate_update)(&other, &web(json!({})))),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"tier\":\"x\"}}: field is immutable"
        );
    }

    #[test]
    fn columns() {
        let mut deployment = web(json!({"replicas": 3}));
        deployment
            .set(&["status"], json!({"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}));
        assert_eq!(
            headings(&kind()),
            "Name | Ready | Up-to-date | Available | Age | (Containers) | (Images) | (Selector)"
        );
        assert_eq!(row(&kind(), &deployment), "web | 2/3 | 3 | 1 | <unknown> | a | i | app=web");
    }
}
