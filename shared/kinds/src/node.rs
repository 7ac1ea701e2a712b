//! Nodes.

use std::collections::{BTreeSet, HashSet};

use model::{FieldError, FieldErrorKind, Object, names};
use serde_json::Value;

use crate::cell::{self, NONE, or};
use crate::field::{Errors, Field};
use crate::metadata::{condition, keep_all_but_status, keep_status};
use crate::{Column, Kind, Subresource, Verb, age, fill};

/// What a taint or a toleration does.
pub const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const ONLY: &str = "node updates may only change labels, taints, or capacity (or configSource, if the \
                    DynamicKubeletConfig feature gate is enabled)";

/// The row.
pub fn kind() -> Kind {
    let all = [Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
    Kind::cluster("", "v1", "Node", "nodes")
        .short(&["no"])
        .with_status()
        .with_subresource(Subresource::new("proxy", "", "v1", "NodeProxyOptions", &all))
        .with_columns(columns())
        .with_fields(&[("spec.unschedulable", |object| {
            Field::of(object, "spec").at("unschedulable").truth().to_string()
        })])
        .with_hooks(|hooks| {
            hooks.default = default;
            // A node registers itself with its status.
            hooks.prepare_create = |_| ();
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_update = validate_update;
            hooks.validate_status = |new, _| {
                let mut errors = Errors::new();
                validate_node_status(new, &mut errors);
                errors
            };
        })
}

fn default(object: &mut Object) {
    let Some(status) = fill::object(object, "status") else { return };
    fill::resources(status, "capacity");
    fill::resources(status, "allocatable");
    if let Some(capacity) = status.get("capacity").cloned() {
        fill::value(status, "allocatable", capacity);
    }
}

fn columns() -> Vec<Column> {
    fn info(object: &Object, field: &str) -> String {
        or(object.str_at(&["status", "nodeInfo", field]), age::UNKNOWN).to_owned()
    }
    vec![
        Column::text("Status", "Whether the node works and takes pods.", status),
        Column::text("Roles", "What it is for.", roles),
        Column::age(),
        Column::text("Version", "Version of its agent.", |object| {
            object.str_at(&["status", "nodeInfo", "kubeletVersion"]).to_owned()
        }),
        Column::text("Internal-IP", "Its address in the cluster.", |object| address(object, "InternalIP"))
            .wide(),
        Column::text("External-IP", "Its address outside.", |object| address(object, "ExternalIP")).wide(),
        Column::text("OS-Image", "Its operating system.", |object| info(object, "osImage")).wide(),
        Column::text("Kernel-Version", "Its kernel.", |object| info(object, "kernelVersion")).wide(),
        Column::text("Container-Runtime", "What runs its containers.", |object| {
            info(object, "containerRuntimeVersion")
        })
        .wide(),
    ]
}

fn status(object: &Object) -> String {
    let ready = match condition(object, "Ready") {
        None => "Unknown",
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
    };
    match Field::of(object, "spec").at("unschedulable").truth() {
        true => format!("{ready},SchedulingDisabled"),
        false => ready.to_owned(),
    }
}

fn roles(object: &Object) -> String {
    let labels = object.at(&["metadata", "labels"]).and_then(Value::as_object).into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or(&roles.into_iter().collect::<Vec<_>>().join(","), NONE).to_owned()
}

fn address(object: &Object, kind: &str) -> String {
    let addresses = cell::list(object, &["status", "addresses"]);
    let found = addresses.iter().find(|one| one["type"] == kind).and_then(|one| one["address"].as_str());
    found.unwrap_or(NONE).to_owned()
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    // Upstream looks for the taints of the spec here.
    taints(&Field::new("metadata.taints", spec.at("taints").value), &mut errors);
    validate_node_status(object, &mut errors);
    let cidrs = spec.at("podCIDRs");
    let mut seen = HashSet::new();
    for cidr in cidrs.items() {
        if !is_cidr(cidr.text()) {
            errors.push(cidr.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
        }
        if !seen.insert(cidr.text()) {
            errors.push(cidr.duplicate());
        }
    }
    errors
}

fn taints(taints: &Field<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.at("key"), taint.at("value"), taint.at("effect"));
        key.must(names::qualified_name, errors);
        let wrong = names::label_value(value.text());
        if !wrong.is_empty() {
            errors.push(value.invalid(wrong.join(";")));
        }
        effect.one_of(&EFFECTS, errors);
        if !seen.insert((key.text(), effect.text())) {
            let detail = "taints must be unique by key and effect pair";
            errors.push(FieldError::new(FieldErrorKind::Duplicate, &taint.path, taint.value.clone(), detail));
        }
    }
}

fn validate_node_status(object: &Object, errors: &mut Errors) {
    let status = Field::of(object, "status");
    for list in ["capacity", "allocatable"] {
        for (name, amount) in status.at(list).entries() {
            crate::resource::amount(name, &Field::new(format!("status.{list}.{name}"), amount.value), errors);
        }
    }
    let mut seen = HashSet::new();
    for address in status.at("addresses").items() {
        if !seen.insert((address.at("type").text(), address.at("address").text())) {
            errors.push(address.duplicate());
        }
    }
}

fn validate_update(new: &Object, old: &Object) -> Errors {
    let (new, old) = (Field::of(new, "spec"), Field::of(old, "spec"));
    let mut errors = Errors::new();
    for (field, list) in [("podCIDR", false), ("podCIDRs", true), ("providerID", false)] {
        let (new, old) = (new.at(field), old.at(field));
        let unset = if list { old.is_empty() } else { old.text().is_empty() };
        if !unset && new.value != old.value {
            errors.push(
                new.forbidden(format!("node updates may not change {field} except from \"\" to valid")),
            );
        }
    }
    const FREE: [&str; 6] = ["podCIDR", "podCIDRs", "providerID", "unschedulable", "taints", "configSource"];
    let names: BTreeSet<&str> = new.entries().chain(old.entries()).map(|(name, _)| name).collect();
    if names.into_iter().any(|name| !FREE.contains(&name) && new.at(name).value != old.at(name).value) {
        errors.push(FieldError::forbidden("[]", ONLY));
    }
    errors
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};
    use serde_json::json;

    #[test]
    fn allocatable_is_the_capacity_unless_said() {
        assert_eq!(
            defaulted(&kind(), json!({"status": {"capacity": {"cpu": 2, "memory": "1024Mi"}}})),
            json!({"status": {"capacity": {"cpu": "2", "memory": "1Gi"}, "allocatable": {"cpu": "2", "memory": "1Gi"}}})
        );
    }

    #[test]
    fn columns() {
        let node = object(json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-02T11:50:00Z",
                "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian", "kernelVersion": "6.1"}
            }
        }));
        assert_eq!(
            headings(&kind()),
            "Name | Status | Roles | Age | Version | (Internal-IP) | (External-IP) | (OS-Image) | (Kernel-Version) | \
             (Container-Runtime)"
        );
        assert_eq!(
            row(&kind(), &node),
            "a | Ready,SchedulingDisabled | edge,worker | 10m | v1.35.0 | 10.0.0.1 | <none> | Debian | 6.1 | <unknown>"
        );
        let silent = object(json!({"metadata": {"name": "b"}}));
        assert!(row(&kind(), &silent).starts_with("b | Unknown | <none> | <unknown> | "));
        let down = object(json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        assert_eq!(status(&down), "NotReady");
    }

    #[test]
    fn taints_and_amounts_are_judged() {
        let node = object(json!({
            "spec": {"podCIDRs": ["10.0.0.0/33"], "taints": [
                {"key": "a b", "effect": "Never"},
                {"key": "c", "effect": "NoSchedule"},
                {"key": "c", "effect": "NoSchedule"}
            ]},
            "status": {"capacity": {"cpu": "-1", "pods": "1.5"}}
        }));
        let found = said(validate(&node));
        let lines: Vec<&str> = found.lines().collect();
        assert!(
            lines[0].starts_with("metadata.taints[0].key: Invalid value: \"a b\": name part must"),
            "{found}"
        );
        assert_eq!(
            lines[1..],
            [
                "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
                 \"PreferNoSchedule\", \"NoExecute\"",
                "metadata.taints[2]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"c\"}: taints must be unique \
                 by key and effect pair",
                "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.capacity.pods: Invalid value: \"1.5\": must be an integer",
                "spec.podCIDRs[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
                 2001:db8::/64)",
            ]
        );
    }

    #[test]
    fn an_update_may_cordon_and_taint_and_no_more() {
        let old = object(json!({"spec": {"providerID": "x"}}));
        let cordoned =
            object(json!({"spec": {"providerID": "x", "unschedulable": true, "taints": [{"key": "a"}]}}));
        assert_eq!(said(validate_update(&cordoned, &old)), "");
        let moved = object(json!({"spec": {"providerID": "y", "externalID": "z"}}));
        assert_eq!(
            said(validate_update(&moved, &old)),
            format!(
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid\n[]: Forbidden: {ONLY}"
            )
        );
    }
}
