//! The rules of probes and of handlers in a container's life.

use model::names;

use crate::field::{Errors, Field};
use crate::service::port_number_or_name;

const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOKS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

/// Judges the probes and the lifecycle of a container.
pub fn validate(container: &Field<'_>, errors: &mut Errors) {
    let lifecycle = container.at("lifecycle");
    for hook in ["postStart", "preStop"].map(|name| lifecycle.at(name)).iter().filter(|hook| hook.is_set()) {
        handler(hook, &HOOKS, errors);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.at(name);
        if probe.is_set() {
            validate_probe(&probe, name != "readinessProbe", errors);
        }
    }
}

fn validate_probe(probe: &Field<'_>, succeeds_once: bool, errors: &mut Errors) {
    handler(probe, &HANDLERS, errors);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        probe.at(field).not_negative(errors);
    }
    let grace = probe.at("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|seconds| seconds <= 0) {
        errors.push(grace.invalid("must be greater than 0"));
    }
    let threshold = probe.at("successThreshold");
    if succeeds_once && threshold.number() != Some(1) {
        errors.push(threshold.invalid("must be 1"));
    }
}

fn handler(field: &Field<'_>, kinds: &[&str], errors: &mut Errors) {
    let mut given = kinds.iter().map(|kind| field.at(kind)).filter(Field::is_set);
    let Some(first) = given.next() else {
        return errors.push(field.required("must specify a handler type"));
    };
    errors.extend(given.map(|more| more.forbidden("may not specify more than 1 handler type")));
    match first.path.rsplit('.').next() {
        Some("exec") if first.at("command").is_empty() => errors.push(first.at("command").required("")),
        Some("httpGet") => http_get(&first, errors),
        Some("tcpSocket") => port_number_or_name(&first.at("port"), errors),
        Some("grpc") => crate::service::port_number(&first.at("port"), errors),
        Some("sleep") => first.at("seconds").not_negative(errors),
        _ => (),
    }
}

fn http_get(http: &Field<'_>, errors: &mut Errors) {
    if http.at("path").text().is_empty() {
        errors.push(http.at("path").required(""));
    }
    port_number_or_name(&http.at("port"), errors);
    http.at("scheme").one_of(&["HTTP", "HTTPS"], errors);
    let headers = http.at("httpHeaders");
    for header in headers.items() {
        let name = header.at("name").text();
        let wrong = names::http_header_name(name).into_iter();
        errors.extend(wrong.map(|why| model::FieldError::invalid(&headers.path, name, why)));
    }
}
