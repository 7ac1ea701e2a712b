//! Pods.
//!
//! ```text
//!   defaults ─> prepare ─> validate (spec: containers, volumes, placement) ─> stored ─> update ─> columns
//!                 └ qos                └─────── template: the same for workloads
//! ```

mod columns;
mod containers;
mod defaults;
pub mod placement;
mod probes;
mod resources;
mod spec;
pub mod template;
mod update;
pub mod volumes;

pub use resources::{QosClass, qos_class, requests};

use model::Object;
use serde_json::{Value, json};

use crate::descriptor::FieldFn;
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status, new_condition};
use crate::{Kind, Subresource, Verb, fill};

/// The row.
pub fn kind() -> Kind {
    let connect = [Verb::Create, Verb::Get];
    let change = [Verb::Get, Verb::Patch, Verb::Update];
    let all = [Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
    let own = |name, update| Subresource {
        update: Some(update),
        ..Subresource::new(name, "", "v1", "Pod", &change)
    };
    Kind::namespaced("", "v1", "Pod", "pods")
        .short(&["po"])
        .in_all()
        .with_generation()
        .with_subresource(Subresource::new("attach", "", "v1", "PodAttachOptions", &connect))
        .with_subresource(Subresource::new("binding", "", "v1", "Binding", &[Verb::Create]))
        .with_subresource(own("ephemeralcontainers", update::EPHEMERAL_CONTAINERS))
        .with_subresource(Subresource::new("eviction", "policy", "v1", "Eviction", &[Verb::Create]))
        .with_subresource(Subresource::new("exec", "", "v1", "PodExecOptions", &connect))
        .with_subresource(Subresource::new("log", "", "v1", "Pod", &[Verb::Get]))
        .with_subresource(Subresource::new("portforward", "", "v1", "PodPortForwardOptions", &connect))
        .with_subresource(Subresource::new("proxy", "", "v1", "PodProxyOptions", &all))
        .with_subresource(own("resize", update::RESIZE))
        .with_status()
        .with_columns(columns::columns())
        .with_fields(&FIELDS)
        .with_hooks(|hooks| {
            hooks.default = defaults::default;
            hooks.prepare_create = prepare_create;
            hooks.prepare_update = keep_status;
            hooks.prepare_status = prepare_status;
            hooks.validate = validate;
            hooks.validate_create = validate_create;
            hooks.validate_update = update::validate;
            hooks.validate_status = update::validate_status;
        })
}

const FIELDS: [(&str, FieldFn); 9] = [
    ("spec.hostNetwork", |pod| Field::of(pod, "spec").at("hostNetwork").truth().to_string()),
    ("spec.nodeName", |pod| node_name(pod).to_owned()),
    ("spec.restartPolicy", |pod| pod.str_at(&["spec", "restartPolicy"]).to_owned()),
    ("spec.schedulerName", |pod| pod.str_at(&["spec", "schedulerName"]).to_owned()),
    ("spec.serviceAccountName", |pod| pod.str_at(&["spec", "serviceAccountName"]).to_owned()),
    ("status.nominatedNodeName", |pod| pod.str_at(&["status", "nominatedNodeName"]).to_owned()),
    ("status.phase", |pod| phase(pod).to_owned()),
    ("status.podIP", |pod| pod_ip(pod).to_owned()),
    ("status.podIPs", |pod| pod_ip(pod).to_owned()),
];

/// The node that the pod is bound to, empty before.
pub fn node_name(pod: &Object) -> &str {
    pod.str_at(&["spec", "nodeName"])
}

/// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
pub fn phase(pod: &Object) -> &str {
    pod.str_at(&["status", "phase"])
}

/// Whether it has ended and will not run again.
pub fn is_terminal(pod: &Object) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it says that it is ready.
pub fn is_ready(pod: &Object) -> bool {
    crate::metadata::is_true(pod, "Ready")
}

fn pod_ip(pod: &Object) -> &str {
    let first = crate::cell::list(pod, &["status", "podIPs"]).first().and_then(|ip| ip["ip"].as_str());
    first.unwrap_or_else(|| pod.str_at(&["status", "podIP"]))
}

/// The status of a pod that nobody has looked at yet.
fn prepare_create(pod: &mut Object) {
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(pod).as_str()});
    if !Field::of(pod, "spec").at("schedulingGates").is_empty() {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        status["conditions"] = json!([new_condition("PodScheduled", "False", "SchedulingGated", message)]);
    }
    pod.set(&["status"], status);
}

/// A status may not say who owns the pod nor of what class it is, and its two spellings of addresses agree.
fn prepare_status(new: &mut Object, old: &Object) {
    keep_all_but_status(new, old);
    match old.at(&["metadata", "ownerReferences"]) {
        Some(owners) => new.set(&["metadata", "ownerReferences"], owners.clone()),
        None => drop(new.take(&["metadata", "ownerReferences"])),
    }
    let class = old.at(&["status", "qosClass"]).cloned();
    let Some(status) = fill::object(new, "status") else { return };
    if let Some(class) = class {
        fill::value(status, "qosClass", class);
    }
    for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let first = status.get(many).and_then(|ips| ips[0]["ip"].as_str()).map(str::to_owned);
        let single = status.get(one).and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
        match (single, first) {
            (Some(ip), None) => status.insert(many.to_owned(), json!([{"ip": ip}])),
            (_, Some(ip)) => status.insert(one.to_owned(), ip.into()),
            (None, None) => None,
        };
    }
}

fn validate(pod: &Object) -> Errors {
    let mut errors = Errors::new();
    let spec = Field::of(pod, "spec");
    spec::validate(&spec, spec::Of::Pod, &mut errors);
    for container in spec.at("containers").items().chain(spec.at("initContainers").items()) {
        let image = container.at("image");
        if image.text().trim() != image.text() {
            errors.push(image.invalid("must not have leading or trailing whitespace"));
        }
    }
    mirror_annotation(pod, &spec, &mut errors);
    errors
}

fn mirror_annotation(pod: &Object, spec: &Field<'_>, errors: &mut Errors) {
    let mirror = Field::of(pod, "metadata").at("annotations").key("kubernetes.io/config.mirror");
    if mirror.is_set() && spec.at("nodeName").text().is_empty() {
        errors.push(mirror.invalid("must set spec.nodeName if mirror pod annotation is set"));
    }
}

fn validate_create(pod: &Object) -> Errors {
    let spec = Field::of(pod, "spec");
    let mut errors = Errors::new();
    if !spec.at("ephemeralContainers").is_empty() {
        errors.push(spec.at("ephemeralContainers").forbidden("cannot be set on create"));
    }
    if !spec.at("schedulingGates").is_empty() && !spec.at("nodeName").text().is_empty() {
        errors
            .push(spec.at("nodeName").forbidden("cannot be set until all schedulingGates have been cleared"));
    }
    errors
}

#[cfg(test)]
mod tests;
