//! What may change of a pod that exists.

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use super::placement::{narrower_selector, tolerations};
use crate::SubresourceUpdate;
use crate::field::{Errors, Field};

const MAX_SECONDS: i64 = i32::MAX as i64;
const ONLY: &str = "pod updates may not change fields other than \
                    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                    `spec.tolerations` (only additions to existing tolerations),\
                    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// A long list of changes helps nobody.
const CHANGES_SHOWN: usize = 10;

/// `pods/ephemeralcontainers`
pub const EPHEMERAL_CONTAINERS: SubresourceUpdate =
    SubresourceUpdate { prepare: prepare_ephemeral_containers, validate: validate_ephemeral_containers };
/// `pods/resize`
pub const RESIZE: SubresourceUpdate =
    SubresourceUpdate { prepare: prepare_resize, validate: validate_resize };

/// Judges an update of the main resource.
pub fn validate(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    mirror_annotation(new, old, &mut errors);
    let (spec, before) = (Field::of(new, "spec"), Field::of(old, "spec"));
    for list in ["containers", "initContainers"] {
        if spec.at(list).len() != before.at(list).len() {
            errors.push(spec.at(list).forbidden("pod updates may not add or remove containers"));
            return errors;
        }
    }
    let broken = errors.len();
    deadline(&spec.at("activeDeadlineSeconds"), &before.at("activeDeadlineSeconds"), &mut errors);
    if errors.len() > broken {
        return errors;
    }
    gates(&spec.at("schedulingGates"), &before.at("schedulingGates"), &mut errors);
    added_tolerations(&spec.at("tolerations"), &before.at("tolerations"), &mut errors);
    let gated = !before.at("schedulingGates").is_empty();
    if gated && spec.at("nodeSelector").value != before.at("nodeSelector").value {
        narrower_selector(&spec.at("nodeSelector"), &before.at("nodeSelector"), &mut errors);
    }
    let changes = changed_fields("spec", &with_free_fields(spec.value, before.value, gated), before.value);
    if !changes.is_empty() {
        let shown: Vec<&str> = changes.iter().take(CHANGES_SHOWN).map(String::as_str).collect();
        errors.push(spec.forbidden(format!("{ONLY}\n{}", shown.join("\n"))));
    }
    errors
}

/// The new spec with the old values of what may change.
fn with_free_fields(new: &Value, old: &Value, gated: bool) -> Value {
    let mut spec = new.clone();
    for list in ["containers", "initContainers"] {
        let images = old[list].as_array().into_iter().flatten().map(|one| one["image"].clone());
        for (container, image) in spec[list].as_array_mut().into_iter().flatten().zip(images) {
            container["image"] = image;
        }
    }
    let mut free = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    if gated {
        free.push("nodeSelector");
    }
    let grace = |spec: &Value| spec["terminationGracePeriodSeconds"].as_i64();
    if grace(new) == Some(1) && grace(old).is_some_and(|seconds| seconds < 0) {
        free.push("terminationGracePeriodSeconds");
    }
    if let Some(fields) = spec.as_object_mut() {
        for field in free {
            match old.get(field) {
                Some(value) => fields.insert(field.to_owned(), value.clone()),
                None => fields.remove(field),
            };
        }
        // The other containers come and go through a path of their own.
        fields.remove("ephemeralContainers");
        if let Some(containers) = old.get("ephemeralContainers") {
            fields.insert("ephemeralContainers".to_owned(), containers.clone());
        }
    }
    spec
}

/// The paths at which two values differ, each with both values.
fn changed_fields(path: &str, new: &Value, old: &Value) -> Vec<String> {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            let at = |fields: &serde_json::Map<String, Value>, name: &str| {
                fields.get(name).cloned().unwrap_or_default()
            };
            names
                .flat_map(|name| changed_fields(&format!("{path}.{name}"), &at(new, name), &at(old, name)))
                .collect()
        }
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            let pairs = new.iter().zip(old).enumerate();
            pairs
                .flat_map(|(index, (new, old))| changed_fields(&format!("{path}[{index}]"), new, old))
                .collect()
        }
        _ if new == old => Vec::new(),
        _ => vec![format!("{path}: {old} -> {new}")],
    }
}

fn deadline(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    match (new.number(), old.number()) {
        (Some(seconds), _) if !(0..=MAX_SECONDS).contains(&seconds) => {
            errors.push(new.invalid(names::out_of_range(0, MAX_SECONDS)));
        }
        (Some(seconds), Some(before)) if before < seconds => {
            errors.push(new.invalid("must be less than or equal to previous value"));
        }
        (None, Some(_)) => errors.push(new.invalid("must not update from a positive integer to nil value")),
        _ => (),
    }
}

fn gates(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let before: Vec<&str> = old.items().map(|gate| gate.at("name").text()).collect();
    for gate in new.items().filter(|gate| !before.contains(&gate.at("name").text())) {
        let name = gate.at("name").text();
        errors.push(
            gate.forbidden(format!("only deletion is allowed, but found new scheduling gate '{name}'")),
        );
    }
}

fn added_tolerations(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let but_for_time = |toleration: &Value| {
        let mut toleration = toleration.clone();
        toleration.as_object_mut().map(|fields| fields.remove("tolerationSeconds"));
        toleration
    };
    let kept: Vec<Value> = new.items().map(|one| but_for_time(one.value)).collect();
    if old.items().any(|one| !kept.contains(&but_for_time(one.value))) {
        errors.push(new.forbidden("existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    tolerations(new, errors);
}

fn mirror_annotation(new: &Object, old: &Object, errors: &mut Errors) {
    let mirror = |object| Field::of(object, "metadata").at("annotations").key(MIRROR);
    let (new, old) = (mirror(new), mirror(old));
    match (new.is_set(), old.is_set()) {
        (true, false) => errors.push(new.forbidden("may not add mirror pod annotation")),
        (_, true) if new.value != old.value => {
            errors.push(new.forbidden("may not remove or update mirror pod annotation"));
        }
        _ => (),
    }
}

/// Judges an update of the status.
pub fn validate_status(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let (status, before) = (Field::of(new, "status"), Field::of(old, "status"));
    let nominated = status.at("nominatedNodeName");
    if nominated.value != before.at("nominatedNodeName").value {
        nominated.may(names::dns_subdomain, &mut errors);
    }
    let policy = old.str_at(&["spec", "restartPolicy"]);
    if policy != "Always" {
        stays_terminated(
            &status.at("containerStatuses"),
            &before.at("containerStatuses"),
            policy,
            &mut errors,
        );
    }
    errors
}

/// What has ended and is not to be started again does not run again.
fn stays_terminated(new: &Field<'_>, old: &Field<'_>, policy: &str, errors: &mut Errors) {
    let ended = |status: &Field<'_>| status.at("state").at("terminated").is_set();
    for before in old.items().filter(|one| ended(one)) {
        let failed = before.at("state").at("terminated").at("exitCode").number() != Some(0);
        if failed && policy == "OnFailure" {
            continue;
        }
        let name = before.at("name").text();
        let index = before.path.rsplit('[').next().unwrap_or_default();
        if new.items().any(|one| one.at("name").text() == name && !ended(&one)) {
            let path = format!("{}[{index}.state", new.path);
            errors.push(FieldError::forbidden(path, "may not be transitioned to non-terminated state"));
        }
    }
}

/// `pods/ephemeralcontainers` changes those containers, with the defaults of any, and nothing else.
fn prepare_ephemeral_containers(new: &mut Object, old: &Object) {
    let containers = new.take(&["spec", "ephemeralContainers"]);
    new.0.clone_from(&old.0);
    new.take(&["spec", "ephemeralContainers"]);
    if let Some(containers) = containers {
        new.set(&["spec", "ephemeralContainers"], containers);
    }
}

/// They may be added, and that is all.
fn validate_ephemeral_containers(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    let containers = |object| Field::of(object, "spec").at("ephemeralContainers");
    let (new, old) = (containers(new), containers(old));
    for before in old.items() {
        let name = before.at("name").text();
        match new.items().find(|one| one.at("name").text() == name) {
            None => errors
                .push(new.forbidden(format!("existing ephemeral containers {name:?} may not be removed\n"))),
            Some(now) if now.value != before.value => {
                errors.push(
                    new.forbidden(format!("existing ephemeral containers {name:?} may not be changed\n")),
                );
            }
            Some(_) => (),
        }
    }
    errors
}

/// `pods/resize` changes what containers ask for and how they are resized, and nothing else.
fn prepare_resize(new: &mut Object, old: &Object) {
    let wanted = new.clone();
    new.0.clone_from(&old.0);
    for list in ["containers", "initContainers"] {
        let wanted = crate::cell::list(&wanted, &["spec", list]);
        let Some(spec) = crate::fill::object(new, "spec") else { return };
        for container in crate::fill::objects(spec, list) {
            let Some(change) = wanted.iter().find(|one| one["name"] == container["name"]) else { continue };
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = change.get(field) {
                    container.insert(field.to_owned(), value.clone());
                }
            }
        }
    }
}

/// A resize changes cpu and memory, takes no resource away, and leaves the pod in its class.
fn validate_resize(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    if super::qos_class(new) != super::qos_class(old) {
        errors.push(FieldError::invalid(
            "spec",
            json!(super::qos_class(new).as_str()),
            "Pod QOS Class may not change as a result of resizing",
        ));
    }
    let (new, old) = (Field::of(new, "spec"), Field::of(old, "spec"));
    for list in ["containers", "initContainers"] {
        for (container, before) in new.at(list).items().zip(old.at(list).items()) {
            for kind in ["requests", "limits"] {
                let (now, was) = (container.at("resources").at(kind), before.at("resources").at(kind));
                if was.entries().any(|(name, _)| !now.key(name).is_set()) {
                    errors.push(now.forbidden(format!("resource {kind} cannot be removed")));
                }
                let other = |(name, value): (&str, Field<'_>)| {
                    !matches!(name, "cpu" | "memory") && was.key(name).value != value.value
                };
                if now.entries().any(other) {
                    errors.push(now.forbidden("only cpu and memory resources are mutable"));
                }
            }
        }
    }
    errors
}
