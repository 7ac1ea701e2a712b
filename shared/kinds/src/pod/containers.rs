//! The rules of containers.

use std::collections::HashSet;

use model::{FieldError, names};
use serde_json::Value;

use super::probes;
use super::spec::{Of, profile};
use super::volumes::{self, Known};
use crate::field::{Errors, Field};
use crate::service::PROTOCOLS;

const MAX_ID: i64 = i32::MAX as i64;
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
/// What a variable can be made from.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const INIT_ONLY: &str = "may not be set for init containers without restartPolicy=Always";

/// Judges every container of a pod.
pub fn validate(spec: &Field<'_>, volumes: &Known, of: Of, errors: &mut Errors) {
    let (main, init) = (spec.at("containers"), spec.at("initContainers"));
    if main.is_empty() {
        errors.push(main.required(""));
    }
    let mut names = HashSet::new();
    let mut host_ports = HashSet::new();
    for container in main.items() {
        validate_one(&container, volumes, &mut names, errors);
        host_ports_once(&container, &mut host_ports, errors);
    }
    for container in init.items() {
        validate_one(&container, volumes, &mut names, errors);
        validate_init(&container, errors);
    }
    for container in spec.at("ephemeralContainers").items() {
        validate_one(&container, volumes, &mut names, errors);
    }
    if spec.at("hostNetwork").truth() {
        main.items().chain(init.items()).for_each(|container| ports_of_the_host(&container, of, errors));
    }
}

fn validate_one<'a>(
    container: &Field<'a>,
    volumes: &Known,
    names_seen: &mut HashSet<&'a str>,
    errors: &mut Errors,
) {
    let name = container.at("name");
    name.must_have(names::dns_label, errors);
    if !name.text().is_empty() && !names_seen.insert(name.text()) {
        errors.push(name.duplicate());
    }
    let image = container.at("image");
    if image.text().is_empty() {
        errors.push(image.required(""));
    }
    container.at("restartPolicy").may_be_one_of(&["Always", "OnFailure", "Never"], errors);
    probes::validate(container, errors);
    let policy = container.at("terminationMessagePolicy");
    const POLICY: &str = "must be 'File' or 'FallbackToLogsOnError'";
    match policy.text() {
        "" => errors.push(policy.required(POLICY)),
        "File" | "FallbackToLogsOnError" => (),
        _ => errors.push(policy.invalid(POLICY)),
    }
    ports(&container.at("ports"), errors);
    env(&container.at("env"), errors);
    env_from(&container.at("envFrom"), errors);
    volumes::validate_mounts(container, volumes, errors);
    container.at("imagePullPolicy").one_of(&PULL_POLICIES, errors);
    crate::resource::requirements(&container.at("resources"), errors);
    security_context(&container.at("securityContext"), errors);
}

fn validate_init(container: &Field<'_>, errors: &mut Errors) {
    if container.at("restartPolicy").text() == "Always" {
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if container.at(field).is_set() {
            errors.push(container.at(field).forbidden(INIT_ONLY));
        }
    }
}

fn ports(ports: &Field<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for port in ports.items() {
        let name = port.at("name");
        if !name.text().is_empty() {
            let wrong = names::port_name(name.text());
            if wrong.is_empty() && !seen.insert(name.text()) {
                errors.push(name.duplicate());
            }
            errors.extend(wrong.into_iter().map(|why| name.invalid(why)));
        }
        let number = port.at("containerPort");
        match number.number().unwrap_or(0) {
            0 => errors.push(number.required("")),
            _ => number.in_range(1, 65_535, errors),
        }
        let on_host = port.at("hostPort");
        if on_host.number() != Some(0) {
            on_host.in_range(1, 65_535, errors);
        }
        port.at("protocol").one_of(&PROTOCOLS, errors);
    }
}

fn host_ports_once(container: &Field<'_>, seen: &mut HashSet<String>, errors: &mut Errors) {
    for port in container.at("ports").items() {
        let on_host = port.at("hostPort");
        let Some(number) = on_host.number().filter(|number| *number != 0) else { continue };
        let text = format!("{}/{}/{number}", port.at("protocol").text(), port.at("hostIP").text());
        if !seen.insert(text.clone()) {
            errors.push(FieldError::duplicate(&on_host.path, text));
        }
    }
}

/// In the host's network a port is the host's; a template may leave that to the pod's defaults.
fn ports_of_the_host(container: &Field<'_>, of: Of, errors: &mut Errors) {
    for port in container.at("ports").items() {
        let on_host = port.at("hostPort");
        let (outer, inner) = (on_host.number().unwrap_or(0), port.at("containerPort").number().unwrap_or(0));
        let unsaid = of == Of::Template && outer == 0;
        if !unsaid && outer != inner {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(FieldError::invalid(&on_host.path, outer, detail));
        }
    }
}

fn env(variables: &Field<'_>, errors: &mut Errors) {
    for variable in variables.items() {
        variable.at("name").must_have(names::env_var_name, errors);
        let from = variable.at("valueFrom");
        if from.is_set() {
            value_from(&from, !variable.at("value").text().is_empty(), errors);
        }
    }
}

fn value_from(from: &Field<'_>, has_value: bool, errors: &mut Errors) {
    const SOURCES: &str =
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
    if from.at("fieldRef").is_set() {
        field_ref(&from.at("fieldRef"), &ENV_FIELDS, errors);
    }
    if from.at("resourceFieldRef").is_set() {
        resource_ref(&from.at("resourceFieldRef"), false, errors);
    }
    for selector in
        ["configMapKeyRef", "secretKeyRef"].map(|name| from.at(name)).iter().filter(|one| one.is_set())
    {
        selector.at("name").must(names::dns_subdomain, errors);
        selector.at("key").must_have(names::config_key, errors);
    }
    let detail = match (from.len(), has_value) {
        (0, _) => SOURCES,
        (_, true) => "may not be specified when `value` is not empty",
        (2.., _) => "may not have more than one field specified at a time",
        _ => return,
    };
    errors.push(FieldError::invalid(&from.path, "", detail));
}

/// Judges a reference to a field of the pod, as `metadata.labels['app']`.
pub fn field_ref(reference: &Field<'_>, fields: &[&str], errors: &mut Errors) {
    let (version, path) = (reference.at("apiVersion"), reference.at("fieldPath"));
    if version.text().is_empty() {
        return errors.push(version.required(""));
    }
    if path.text().is_empty() {
        return errors.push(path.required(""));
    }
    let subscript = path.text().strip_suffix("']").and_then(|text| text.split_once("['"));
    match subscript {
        Some((map @ ("metadata.labels" | "metadata.annotations"), key)) => {
            let key = if map == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
            let wrong = names::qualified_name(&key).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(&reference.path, key.as_str(), why)));
        }
        Some((other, _)) => {
            errors.push(FieldError::invalid(&reference.path, other, "does not support subscript"));
        }
        None if is_pod_field(path.text()) => {
            if !fields.contains(&path.text()) {
                errors.push(path.not_supported(fields));
            }
        }
        None => {
            let detail = format!("error converting fieldPath: field label not supported: {}", path.text());
            errors.push(path.invalid(detail));
        }
    }
}

fn is_pod_field(path: &str) -> bool {
    const FURTHER: [&str; 6] = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
        "spec.hostNetwork",
    ];
    ENV_FIELDS.contains(&path) || FURTHER.contains(&path)
}

/// Judges a reference to what a container asks for or is limited to.
pub fn resource_ref(reference: &Field<'_>, names_container: bool, errors: &mut Errors) {
    let (container, resource) = (reference.at("containerName"), reference.at("resource"));
    let pages = |text: &str| {
        text.strip_prefix("limits.")
            .or(text.strip_prefix("requests."))
            .is_some_and(|name| name.starts_with("hugepages-"))
    };
    match resource.text() {
        _ if names_container && container.text().is_empty() => errors.push(container.required("")),
        "" => errors.push(resource.required("")),
        text if !RESOURCE_FIELDS.contains(&text) && !pages(text) => {
            errors.push(resource.not_supported(&RESOURCE_FIELDS));
        }
        _ => divisor(&reference.at("divisor"), resource.text(), errors),
    }
}

fn divisor(divisor: &Field<'_>, resource: &str, errors: &mut Errors) {
    let Some(amount) = divisor.quantity().filter(|amount| !amount.is_zero()) else { return };
    const BYTES: [&str; 13] =
        ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let text = amount.to_string();
    let (fits, supported, kind) = match resource {
        "limits.cpu" | "requests.cpu" => (["1m", "1"].contains(&text.as_str()), "1m and 1".to_owned(), "cpu"),
        "limits.memory" | "requests.memory" => (BYTES.contains(&text.as_str()), BYTES.join(", "), "memory"),
        _ => (BYTES.contains(&text.as_str()), BYTES.join(", "), "local ephemeral storage"),
    };
    if !fits {
        let detail = format!("only divisor's values {supported} are supported with the {kind} resource");
        errors.push(FieldError::invalid(&divisor.path, resource, detail));
    }
}

fn env_from(sources: &Field<'_>, errors: &mut Errors) {
    for source in sources.items() {
        source.at("prefix").may(names::env_var_name, errors);
        let references = ["configMapRef", "secretRef"].map(|name| source.at(name));
        for reference in references.iter().filter(|one| one.is_set()) {
            reference.at("name").must_have(names::dns_subdomain, errors);
        }
        let detail = match references.iter().filter(|one| one.is_set()).count() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            2 => "may not have more than one field specified at a time",
            _ => continue,
        };
        errors.push(FieldError::invalid(&sources.path, "", detail));
    }
}

fn security_context(context: &Field<'_>, errors: &mut Errors) {
    if !context.is_set() {
        return;
    }
    for field in ["runAsUser", "runAsGroup"] {
        context.at(field).in_range(0, MAX_ID, errors);
    }
    context.at("procMount").may_be_one_of(&["Default", "Unmasked"], errors);
    profile(&context.at("seccompProfile"), errors);
    profile(&context.at("appArmorProfile"), errors);
    let escalation = context.at("allowPrivilegeEscalation");
    if escalation.value == &Value::Bool(false) {
        if context.at("privileged").truth() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(escalation.invalid(detail));
        }
        if context
            .at("capabilities")
            .at("add")
            .texts()
            .any(|one| one == "CAP_SYS_ADMIN" || one == "SYS_ADMIN")
        {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(escalation.invalid(detail));
        }
    }
}
