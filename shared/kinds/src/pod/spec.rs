//! The rules of a pod's spec, one after the other.

use std::collections::HashSet;
use std::net::IpAddr;

use model::{FieldError, names};

use super::{containers, placement, volumes};
use crate::field::{Errors, Field};
use crate::metadata::labels;

/// Whose spec it is: a template leaves more to be said later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A pod's.
    Pod,
    /// A template's.
    Template,
}

const MAX_ID: i64 = i32::MAX as i64;
/// The limits of the resolver in libc, and of those that came after it.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// Judges the spec of a pod.
pub fn validate(spec: &Field<'_>, of: Of, errors: &mut Errors) {
    let known = volumes::validate(&spec.at("volumes"), errors);
    containers::validate(spec, &known, of, errors);
    spec.at("restartPolicy").one_of(&["Always", "OnFailure", "Never"], errors);
    spec.at("dnsPolicy").one_of(&DNS_POLICIES, errors);
    labels(&spec.at("nodeSelector"), errors);
    security_context(spec, errors);
    dns_config(spec, errors);
    placement::validate(spec, errors);
    spec.at("serviceAccountName").may(names::dns_subdomain, errors);
    spec.at("nodeName").may(names::dns_subdomain, errors);
    spec.at("activeDeadlineSeconds").in_range(1, MAX_ID, errors);
    spec.at("hostname").may(names::dns_label, errors);
    spec.at("subdomain").may(names::dns_label, errors);
    spec.at("priorityClassName").may(names::dns_subdomain, errors);
    spec.at("runtimeClassName").may(names::dns_subdomain, errors);
    spec.at("preemptionPolicy").may_be_one_of(&["PreemptLowerPriority", "Never"], errors);
    for gate in spec.at("readinessGates").items() {
        gate.at("conditionType").must(names::qualified_name, errors);
    }
    scheduling_gates(&spec.at("schedulingGates"), errors);
    host_aliases(&spec.at("hostAliases"), errors);
    os(spec, errors);
    crate::resource::requirements(&spec.at("resources"), errors);
    for (name, amount) in spec.at("overhead").entries() {
        crate::resource::amount(name, &amount, errors);
    }
}

fn security_context(spec: &Field<'_>, errors: &mut Errors) {
    let context = spec.at("securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        context.at(field).in_range(0, MAX_ID, errors);
    }
    for group in context.at("supplementalGroups").items() {
        group.in_range(0, MAX_ID, errors);
    }
    context.at("fsGroupChangePolicy").may_be_one_of(&["OnRootMismatch", "Always"], errors);
    context.at("supplementalGroupsPolicy").may_be_one_of(&["Merge", "Strict"], errors);
    let shared = spec.at("shareProcessNamespace");
    if shared.truth() && spec.at("hostPID").truth() {
        let path = format!("{}.shareProcessNamespace", spec.path);
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path, true, detail));
    }
    sysctls(&context.at("sysctls"), errors);
    profile(&context.at("seccompProfile"), errors);
    profile(&context.at("appArmorProfile"), errors);
}

/// Judges a seccomp or AppArmor profile of a pod or a container.
pub fn profile(profile: &Field<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    profile.at("type").one_of(&["Localhost", "RuntimeDefault", "Unconfined"], errors);
    let file = profile.at("localhostProfile");
    match (profile.at("type").text() == "Localhost", file.text().is_empty()) {
        (true, true) => errors.push(file.required("must be set when seccomp type is Localhost")),
        (false, false) => errors.push(file.invalid("can only be set when seccomp type is Localhost")),
        _ => (),
    }
}

fn sysctls(sysctls: &Field<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.at("name");
        match name.text() {
            "" => errors.push(name.required("")),
            text if !is_sysctl(text) => {
                errors.push(name.invalid("must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
            }
            text if !seen.insert(text) => errors.push(name.duplicate()),
            _ => (),
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(is_segment)
}

fn dns_config(spec: &Field<'_>, errors: &mut Errors) {
    let config = spec.at("dnsConfig");
    let (servers, searches) = (config.at("nameservers"), config.at("searches"));
    if spec.at("dnsPolicy").text() == "None" {
        if !config.is_set() {
            errors.push(config.required("must provide `dnsConfig` when `dnsPolicy` is None"));
            return;
        }
        if servers.is_empty() {
            errors
                .push(servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None"));
            return;
        }
    }
    if servers.len() > NAMESERVERS_MAX {
        errors.push(servers.invalid(format!("must not have more than {NAMESERVERS_MAX} nameservers")));
    }
    servers.items().for_each(|server| address(&server, errors));
    if searches.len() > SEARCHES_MAX {
        errors.push(searches.invalid(format!("must not have more than {SEARCHES_MAX} search paths")));
    }
    let bytes: usize = searches.texts().map(|path| path.len() + 1).sum();
    if bytes > SEARCH_BYTES_MAX + 1 {
        let detail = format!(
            "must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list"
        );
        errors.push(searches.invalid(detail));
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        // A domain may end with a dot, and a label may begin with an underscore.
        let name = search.text().strip_suffix('.').unwrap_or(search.text()).replace('_', "x");
        errors.extend(names::dns_subdomain(&name).into_iter().map(|why| search.invalid(why)));
    }
    for option in config.at("options").items().filter(|option| option.at("name").text().is_empty()) {
        errors.push(option.required("must not be empty"));
    }
}

fn address(field: &Field<'_>, errors: &mut Errors) {
    if field.text().parse::<IpAddr>().is_err() {
        errors.push(field.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
}

fn scheduling_gates(gates: &Field<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for gate in gates.items() {
        let name = gate.at("name");
        errors.extend(names::qualified_name(name.text()).into_iter().map(|why| gate.invalid(why)));
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&gate.path, name.text()));
        }
    }
}

fn host_aliases(aliases: &Field<'_>, errors: &mut Errors) {
    for alias in aliases.items() {
        address(&alias.at("ip"), errors);
        alias.at("hostnames").items().for_each(|name| name.must(names::dns_subdomain, errors));
    }
}

fn os(spec: &Field<'_>, errors: &mut Errors) {
    let os = spec.at("os");
    if os.is_set() {
        os.at("name").one_of(&["linux", "windows"], errors);
    }
}
