//! HorizontalPodAutoscalers: one storage in the form of autoscaling/v2, served as v1 too.

use model::Object;
use serde_json::{Value, json};

use crate::cell::{self, NONE, UNSET};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status};
use crate::{Column, Kind, Storage, fill};

const GROUP: &str = "autoscaling";

/// The rows, the preferred version first.
pub fn kinds() -> Vec<Kind> {
    let row = |version: &'static str| {
        let kind = Kind::namespaced(GROUP, version, "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            .short(&["hpa"])
            .in_all()
            .with_status()
            .with_columns(columns())
            .with_hooks(|hooks| {
                hooks.default = default;
                hooks.prepare_create = |object| {
                    object.set(&["status"], json!({"desiredReplicas": 0, "currentReplicas": 0}));
                };
                hooks.prepare_update = keep_status;
                hooks.prepare_status = keep_all_but_status;
                hooks.validate = validate;
            });
        let storage =
            Storage::Collection { group: GROUP.into(), resource: "horizontalpodautoscalers".into() };
        Kind { storage, ..kind }
    };
    let old = row("v1").with_hooks(|hooks| {
        hooks.to_storage = to_v2;
        hooks.from_storage = Some(to_v1);
    });
    vec![row("v2"), old]
}

fn default(object: &mut Object) {
    let modern = object.str_at(&["apiVersion"]) != "autoscaling/v1";
    let Some(spec) = fill::spec(object) else { return };
    fill::value(spec, "minReplicas", 1);
    let unset = spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if modern && unset {
        spec.insert("metrics".to_owned(), json!([cpu_metric(80)]));
    }
}

fn cpu_metric(percent: i64) -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}
    }})
}

fn is_cpu(metric: &Value) -> bool {
    metric["resource"]["name"] == "cpu"
}

/// v1 knows one metric, the use of cpu in percent; the others it does not show.
fn to_v1(object: &mut Object) {
    object.set(&["apiVersion"], "autoscaling/v1");
    let metrics = object.take(&["spec", "metrics"]);
    let target = metrics.as_ref().and_then(Value::as_array).into_iter().flatten().find(|one| is_cpu(one));
    if let Some(percent) = target.map(|metric| metric["resource"]["target"]["averageUtilization"].clone()) {
        object.set(&["spec", "targetCPUUtilizationPercentage"], percent);
    }
    let current = object.take(&["status", "currentMetrics"]);
    let current = current.as_ref().and_then(Value::as_array).into_iter().flatten().find(|one| is_cpu(one));
    if let Some(percent) = current.map(|metric| metric["resource"]["current"]["averageUtilization"].clone()) {
        object.set(&["status", "currentCPUUtilizationPercentage"], percent);
    }
}

fn to_v2(object: &mut Object) {
    object.set(&["apiVersion"], "autoscaling/v2");
    let percent = object.take(&["spec", "targetCPUUtilizationPercentage"]);
    let percent = percent.as_ref().and_then(Value::as_i64).unwrap_or(80);
    object.set(&["spec", "metrics"], json!([cpu_metric(percent)]));
    if let Some(percent) = object.take(&["status", "currentCPUUtilizationPercentage"]) {
        let metric = json!([{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": percent}
        }}]);
        object.set(&["status", "currentMetrics"], metric);
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::text("Reference", "What it scales.", |object| {
            let text = |field| object.str_at(&["spec", "scaleTargetRef", field]);
            format!("{}/{}", text("kind"), text("name"))
        }),
        Column::text("Targets", "The metrics and what they are to be.", targets),
        Column::text("MinPods", "The least number of pods.", |object| {
            let least = object.at(&["spec", "minReplicas"]).and_then(Value::as_i64);
            least.map_or(UNSET.to_owned(), |least| least.to_string())
        }),
        Column::count("MaxPods", "The greatest number of pods.", |object| {
            cell::number(object, &["spec", "maxReplicas"])
        }),
        Column::count("Replicas", "How many pods there are.", |object| {
            cell::number(object, &["status", "currentReplicas"])
        }),
        Column::age(),
    ]
}

fn targets(object: &Object) -> String {
    let mut object = object.clone();
    if object.str_at(&["apiVersion"]) == "autoscaling/v1" {
        to_v2(&mut object);
    }
    let current = cell::list(&object, &["status", "currentMetrics"]);
    let metrics = cell::list(&object, &["spec", "metrics"]).iter().enumerate();
    let all: Vec<String> = metrics.map(|(index, metric)| target(metric, current.get(index))).collect();
    match all.len() {
        0 => NONE.to_owned(),
        1 | 2 => all.join(", "),
        count => format!("{} + {} more...", all[..2].join(", "), count - 2),
    }
}

/// `cpu: 20%/80%` of a resource, `3/10` of anything else, `(avg)` when it is per pod.
fn target(metric: &Value, current: Option<&Value>) -> String {
    let (source, named) = match metric["type"].as_str() {
        Some("Resource") => ("resource", true),
        Some("ContainerResource") => ("containerResource", true),
        Some("Pods") => ("pods", false),
        Some("Object") => ("object", false),
        Some("External") => ("external", false),
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = &metric[source]["target"];
    let now =
        |field: &str| current.map(|one| &one[source]["current"][field]).filter(|value| !value.is_null());
    let text = |value: Option<&Value>, unit: &str| match value {
        Some(Value::String(text)) => format!("{text}{unit}"),
        Some(value) if !value.is_null() => format!("{value}{unit}"),
        _ => crate::age::UNKNOWN.to_owned(),
    };
    let pair =
        |field: &str, unit: &str| format!("{}/{}", text(now(field), unit), text(wanted.get(field), unit));
    let name = metric[source]["name"].as_str().unwrap_or_default();
    match (named, wanted.get("averageValue").is_some()) {
        (true, true) => format!("{name}: {}", pair("averageValue", "")),
        (true, false) => format!("{name}: {}", pair("averageUtilization", "%")),
        (false, true) if source == "pods" => pair("averageValue", ""),
        (false, true) => format!("{} (avg)", pair("averageValue", "")),
        (false, false) => pair("value", ""),
    }
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    let (least, most) = (spec.at("minReplicas"), spec.at("maxReplicas"));
    if least.number().is_some_and(|least| least < 1) {
        errors.push(least.invalid("must be greater than or equal to 1"));
    }
    if most.number().is_none_or(|most| most < 1) {
        errors.push(model::FieldError::invalid(
            &most.path,
            most.number().unwrap_or(0),
            "must be greater than 0",
        ));
    }
    if let (Some(least), Some(number)) = (least.number(), most.number())
        && number < least
    {
        errors.push(most.invalid("must be greater than or equal to `minReplicas`"));
    }
    for field in ["kind", "name"].map(|name| spec.at("scaleTargetRef").at(name)) {
        field.must_have(model::names::path_segment, &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, object, row, said};

    #[test]
    fn v1_and_v2_show_one_autoscaler() {
        let stored = object(
            json!({"apiVersion": "autoscaling/v2", "spec": {"maxReplicas": 5, "metrics": [cpu_metric(50)]},
            "status": {"currentReplicas": 2, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 20}}}
            ]}}),
        );
        let mut shown = stored.clone();
        to_v1(&mut shown);
        assert_eq!(
            shown.clone().into_value(),
            json!({"apiVersion": "autoscaling/v1", "spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 50},
                "status": {"currentReplicas": 2, "currentCPUUtilizationPercentage": 20}})
        );
        assert_eq!(row(&kinds()[1], &shown), row(&kinds()[0], &stored));
        assert_eq!(row(&kinds()[0], &stored), " | / | cpu: 20%/50% | <unset> | 5 | 2 | <unknown>");
        to_v2(&mut shown);
        assert_eq!(shown, stored);
    }

    #[test]
    fn defaults_and_rules() {
        assert_eq!(
            defaulted(&kinds()[0], json!({"spec": {"maxReplicas": 3}})),
            json!({"spec": {"maxReplicas": 3, "minReplicas": 1, "metrics": [cpu_metric(80)]}})
        );
        let wrong = object(
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment"}}}),
        );
        assert_eq!(
            said(validate(&wrong)),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`\n\
             spec.scaleTargetRef.name: Required value"
        );
    }
}
