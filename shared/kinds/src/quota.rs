//! What a namespace may use, in all (ResourceQuota) and for each thing in it (LimitRange).

use model::{Object, Quantity};
use serde_json::{Value, json};

use crate::{Column, Kind, fill};

/// `LimitRange`
pub fn limit_range() -> Kind {
    Kind::namespaced("", "v1", "LimitRange", "limitranges")
        .short(&["limits"])
        .with_columns(vec![Column::created_at()])
        .with_hooks(|hooks| hooks.default = default_limit_range)
}

/// A container's default limit is the maximum, its default request the default limit, else the minimum.
fn default_limit_range(object: &mut Object) {
    let Some(spec) = fill::object(object, "spec") else { return };
    for item in fill::objects(spec, "limits") {
        ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
            .iter()
            .for_each(|list| fill::resources(item, list));
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        for (list, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let Some(from) = item.get(from).and_then(Value::as_object).cloned() else { continue };
            if let Some(list) = fill::object_or_new(item, list) {
                fill::missing(list, &from);
            }
        }
    }
}

/// `ResourceQuota`
pub fn resource_quota() -> Kind {
    Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .with_status()
        .with_columns(vec![
            Column::text("Request", "What is used of what may be requested.", |object| {
                quota_use(object, false)
            }),
            Column::text("Limit", "What is used of what limits may sum up to.", |object| {
                quota_use(object, true)
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                if let Some(spec) = fill::object(object, "spec") {
                    fill::resources(spec, "hard");
                }
            };
            hooks.prepare_create = |object| object.set(&["status"], json!({}));
        })
}

/// `cpu: 1/2, memory: 0/1Gi` of the limits or of everything else.
fn quota_use(object: &Object, limits: bool) -> String {
    let used = |name: &str| {
        object.at(&["status", "used", name]).and_then(crate::field::quantity).unwrap_or(Quantity::ZERO)
    };
    let hard = object.at(&["status", "hard"]).and_then(Value::as_object).into_iter().flatten();
    let parts: Vec<String> = hard
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.as_str().unwrap_or_default()))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row};

    #[test]
    fn a_container_gets_its_default_from_the_bounds() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1024Ki"}},
            {"type": "Pod", "max": {"cpu": "2"}}
        ]}});
        let limits = defaulted(&limit_range(), range)["spec"]["limits"].clone();
        assert_eq!(
            limits[0],
            json!({"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}, "default": {"cpu": "1"},
                "defaultRequest": {"cpu": "1", "memory": "1Mi"}})
        );
        assert_eq!(limits[1], json!({"type": "Pod", "max": {"cpu": "2"}}));
        assert_eq!(headings(&limit_range()), "Name | Created At");
    }

    #[test]
    fn a_quota_shows_what_is_used_of_it() {
        let quota = object(json!({"metadata": {"name": "q"}, "status": {
            "hard": {"limits.cpu": "4", "pods": "10", "requests.cpu": "2"}, "used": {"pods": "3", "limits.cpu": "500m"}
        }}));
        assert_eq!(
            row(&resource_quota(), &quota),
            "q | pods: 3/10, requests.cpu: 0/2 | limits.cpu: 500m/4 | <unknown>"
        );
    }
}
