//! StatefulSets.

use model::{FieldError, Object};
use serde_json::{Value, json};

use crate::cell::{number, template_columns};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status};
use crate::scale::Scale;
use crate::{Column, Kind, NameRule, fill, workload};

/// What an update may change.
const FREE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const ONLY: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                    'minReadySeconds' are forbidden";

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
        Column::age(),
    ];
    columns.extend(template_columns(&["spec"], false));
    Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .in_all()
        // Its pods are named after it and have that as their host name.
        .with_names(NameRule::Label)
        .with_status()
        .with_scale(Scale::workload())
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create =
                |object| object.set(&["status"], json!({"replicas": 0, "availableReplicas": 0}));
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_update = validate_update;
            hooks.validate_status = |new, _| {
                let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
                workload::validate_counts(new, "replicas", &parts)
            };
        })
}

fn default(object: &mut Object) {
    let Some(spec) = workload::default_spec(object) else { return };
    fill::text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = fill::object_or_new(spec, "updateStrategy") {
        fill::text(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate"
            && let Some(rolling) = fill::object_or_new(strategy, "rollingUpdate")
        {
            fill::value(rolling, "partition", 0);
        }
    }
    if let Some(policy) = fill::object_or_new(spec, "persistentVolumeClaimRetentionPolicy") {
        fill::text(policy, "whenDeleted", "Retain");
        fill::text(policy, "whenScaled", "Retain");
    }
    fill::value(spec, "replicas", 1);
    fill::value(spec, "revisionHistoryLimit", 10);
    for claim in fill::objects(spec, "volumeClaimTemplates") {
        fill::text(claim, "kind", "PersistentVolumeClaim");
        fill::text(claim, "apiVersion", "v1");
        if let Some(spec) = fill::object_or_new(claim, "spec") {
            crate::volume::default_claim_spec(spec);
        }
        if let Some(status) = fill::object_or_new(claim, "status") {
            fill::text(status, "phase", "Pending");
        }
    }
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    let policy = spec.at("podManagementPolicy");
    match policy.text() {
        "" => errors.push(policy.required("")),
        "OrderedReady" | "Parallel" => (),
        _ => errors.push(policy.invalid("must be 'OrderedReady' or 'Parallel'")),
    }
    validate_strategy(&spec.at("updateStrategy"), &mut errors);
    let retention = spec.at("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        retention.at(field).may_be_one_of(&["Retain", "Delete"], &mut errors);
    }
    for field in ["replicas", "minReadySeconds"] {
        spec.at(field).not_negative(&mut errors);
    }
    spec.at("ordinals").at("start").not_negative(&mut errors);
    let with_claims = claims_as_volumes(object);
    let whole = Field::of(&with_claims, "spec");
    let empty = "empty selector is invalid for statefulset";
    workload::selector_and_template(&whole, "StatefulSet", empty, &mut errors);
    errors
}

/// A pod's mounts may name the set's claims: they become volumes of the pod, over those of the template.
fn claims_as_volumes(object: &Object) -> Object {
    let mut object = object.clone();
    let claims =
        object.at(&["spec", "volumeClaimTemplates"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<String> =
        claims.iter().filter_map(|claim| claim["metadata"]["name"].as_str()).map(str::to_owned).collect();
    if names.is_empty() {
        return object;
    }
    let path = ["spec", "template", "spec", "volumes"];
    let mut volumes = object.take(&path).and_then(|volumes| volumes.as_array().cloned()).unwrap_or_default();
    volumes.retain(|volume| !names.iter().any(|name| volume["name"] == name.as_str()));
    let claimed =
        names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    volumes.extend(claimed);
    object.set(&path, volumes);
    object
}

fn validate_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let (kind, rolling) = (strategy.at("type"), strategy.at("rollingUpdate"));
    match kind.text() {
        "" => errors.push(strategy.required("")),
        "OnDelete" if rolling.is_set() => {
            errors.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
        }
        "OnDelete" => (),
        "RollingUpdate" => {
            rolling.at("partition").not_negative(errors);
            let missing = rolling.at("maxUnavailable");
            if missing.is_set() {
                workload::count_or_percent(&missing, errors);
                if workload::is_nothing(&missing) {
                    errors.push(missing.invalid("cannot be 0"));
                }
                workload::at_most_all(&missing, errors);
            }
        }
        _ => errors.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

fn validate_update(new: &Object, old: &Object) -> Errors {
    let fixed = |object: &Object| -> fill::Fields {
        let fields = object.get("spec").and_then(Value::as_object).into_iter().flatten();
        let fields = fields.filter(|(name, _)| !FREE.contains(&name.as_str()));
        fields.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    match fixed(new) == fixed(old) {
        true => Vec::new(),
        false => vec![FieldError::forbidden("spec", ONLY)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headings, object, row, said};

    fn db(change: Value) -> Object {
        let mut spec = json!({
            "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [
                {"name": "a", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
            ]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
        });
        for (name, value) in change.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let mut set = object(json!({"metadata": {"name": "db"}, "spec": spec}));
        default(&mut set);
        let once = set.clone();
        default(&mut set);
        assert_eq!(set, once);
        set
    }

    #[test]
    fn defaults() {
        let set = db(json!({}));
        let at = |path: &[&str]| set.at(&[&["spec"], path].concat()).cloned().expect("a default");
        assert_eq!(
            at(&["updateStrategy"]),
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        assert_eq!(
            at(&["persistentVolumeClaimRetentionPolicy"]),
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        assert_eq!((at(&["podManagementPolicy"]), at(&["replicas"])), (json!("OrderedReady"), json!(1)));
        assert_eq!(
            at(&["volumeClaimTemplates"])[0],
            json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {}},
                "status": {"phase": "Pending"}})
        );
    }

    #[test]
    fn each_rule_names_its_field() {
        let cases = [
            (json!({}), ""),
            (
                json!({"volumeClaimTemplates": []}),
                "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
            ),
            (
                json!({"podManagementPolicy": "Chaos"}),
                "spec.podManagementPolicy: Invalid value: \"Chaos\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
            ),
            (
                json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": -1}}}),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"selector": {}}),
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ),
        ];
        for (change, wrong) in cases {
            assert_eq!(said(validate(&db(change.clone()))), wrong, "{change}");
        }
    }

    #[test]
    fn an_update_changes_replicas_template_and_strategy() {
        assert_eq!(
            said(validate_update(&db(json!({"replicas": 3, "minReadySeconds": 1})), &db(json!({})))),
            ""
        );
        assert_eq!(
            said(validate_update(&db(json!({"serviceName": "x"})), &db(json!({})))),
            format!("spec: Forbidden: {ONLY}")
        );
    }

    #[test]
    fn columns() {
        assert_eq!(headings(&kind()), "Name | Ready | Age | (Containers) | (Images)");
        assert_eq!(row(&kind(), &db(json!({"replicas": 2}))), "db | 0/2 | <unknown> | a | i");
    }
}
