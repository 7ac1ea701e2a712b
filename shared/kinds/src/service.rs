//! Services. Addresses and node ports are allocated by admission; here is what a client may ask for.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use model::{FieldError, Object, names};
use serde_json::{Value, json};

use crate::cell::{self, NONE, or};
use crate::field::{Errors, Field};
use crate::metadata::{keep_all_but_status, keep_status, labels};
use crate::{Column, Kind, NameRule, Subresource, Verb, fill};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
/// Three hours.
const AFFINITY_SECONDS: i64 = 10_800;
/// A day.
const AFFINITY_SECONDS_MAX: i64 = 86_400;

/// The protocols of a port, in the order in which upstream lists them.
pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The row.
pub fn kind() -> Kind {
    let all = [Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
    Kind::namespaced("", "v1", "Service", "services")
        .short(&["svc"])
        .in_all()
        .with_names(NameRule::Label1035)
        .with_status()
        .with_subresource(Subresource::new("proxy", "", "v1", "ServiceProxyOptions", &all))
        .with_columns(columns())
        .with_fields(&[
            ("spec.clusterIP", |object| object.str_at(&["spec", "clusterIP"]).to_owned()),
            ("spec.type", |object| object.str_at(&["spec", "type"]).to_owned()),
        ])
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.prepare_create = |object| object.set(&["status"], json!({"loadBalancer": {}}));
            hooks.prepare_update = |new, old| {
                keep_status(new, old);
                keep_allocated(new, old);
            };
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate;
            hooks.validate_update = validate_update;
        })
}

fn columns() -> Vec<Column> {
    vec![
        Column::text("Type", "How it is reached.", |object| object.str_at(&["spec", "type"]).to_owned()),
        Column::text("Cluster-IP", "Its address in the cluster.", |object| {
            let first = cell::list(object, &["spec", "clusterIPs"]).first().and_then(Value::as_str);
            first.unwrap_or(NONE).to_owned()
        }),
        Column::text("External-IP", "Its address outside.", external_ip),
        Column::text("Port(s)", "Its ports.", |object| {
            let ports: Vec<String> = cell::list(object, &["spec", "ports"]).iter().map(port_text).collect();
            or(&ports.join(","), NONE).to_owned()
        }),
        Column::age(),
        Column::text("Selector", "Labels of the pods behind it.", |object| {
            cell::labels_text(object.at(&["spec", "selector"]).and_then(Value::as_object))
        })
        .wide(),
    ]
}

fn port_text(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    match port["nodePort"].as_i64().unwrap_or(0) {
        0 => format!("{}/{protocol}", port["port"]),
        node => format!("{}:{node}/{protocol}", port["port"]),
    }
}

fn external_ip(object: &Object) -> String {
    let external = cell::list(object, &["spec", "externalIPs"]).iter().filter_map(Value::as_str);
    let external: Vec<&str> = external.collect();
    match object.str_at(&["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(&external.join(","), NONE).to_owned(),
        "LoadBalancer" => {
            let balanced = load_balancer_addresses(object);
            let all: Vec<&str> =
                Some(balanced.as_str()).into_iter().filter(|text| !text.is_empty()).chain(external).collect();
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => object.str_at(&["spec", "externalName"]).to_owned(),
        _ => crate::age::UNKNOWN.to_owned(),
    }
}

/// The addresses in `status.loadBalancer` of a Service or an Ingress, sorted.
pub fn load_balancer_addresses(object: &Object) -> String {
    let addresses = cell::list(object, &["status", "loadBalancer", "ingress"]);
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let addresses: BTreeSet<String> = addresses
        .iter()
        .map(|one| or(&text(one, "ip"), &text(one, "hostname")).to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    addresses.into_iter().collect::<Vec<_>>().join(",")
}

fn default(object: &mut Object) {
    let Some(spec) = fill::spec(object) else { return };
    fill::text(spec, "sessionAffinity", "None");
    default_affinity(spec);
    fill::text(spec, "type", "ClusterIP");
    for port in fill::objects(spec, "ports") {
        fill::text(port, "protocol", "TCP");
        let unset = port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!(""));
        if let (true, Some(number)) = (unset, port.get("port").cloned()) {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let kind = text_of(spec, "type").to_owned();
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    if outside || (kind == "ClusterIP" && external_ips) {
        fill::text(spec, "externalTrafficPolicy", "Cluster");
    }
    if outside || kind == "ClusterIP" {
        fill::value(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill::value(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        default_addresses(spec);
    }
}

fn default_affinity(spec: &mut fill::Fields) {
    if text_of(spec, "sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
    } else if text_of(spec, "sessionAffinity") == "ClientIP"
        && let Some(config) = fill::object_or_new(spec, "sessionAffinityConfig")
        && let Some(client) = fill::object_or_new(config, "clientIP")
    {
        fill::value(client, "timeoutSeconds", AFFINITY_SECONDS);
    }
}

/// `clusterIP` is the first of `clusterIPs`. A service without pods and without an address is of every family.
fn default_addresses(spec: &mut fill::Fields) {
    let first = text_of(spec, "clusterIP").to_owned();
    if !first.is_empty() {
        fill::value(spec, "clusterIPs", json!([first]));
    } else if let Some(first) = spec.get("clusterIPs").and_then(|ips| ips.get(0)).cloned() {
        spec.insert("clusterIP".to_owned(), first);
    }
    let selects =
        spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let (families, policy) = match text_of(spec, "clusterIP") {
        "None" if !selects => (json!(FAMILIES), "RequireDualStack"),
        address if address.contains(':') => (json!(["IPv6"]), "SingleStack"),
        _ => (json!(["IPv4"]), "SingleStack"),
    };
    fill::value(spec, "ipFamilies", families);
    fill::value(spec, "ipFamilyPolicy", policy);
}

fn text_of<'a>(fields: &'a fill::Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// An update that leaves out what was allocated means to keep it; one that changes to a type that has no use
/// for it gives it up.
fn keep_allocated(new: &mut Object, old: &Object) {
    let kind = new.str_at(&["spec", "type"]).to_owned();
    let old_kind = old.str_at(&["spec", "type"]);
    let (Some(new), Some(old)) = (fill::spec(new), old.get("spec").and_then(Value::as_object)) else {
        return;
    };
    if kind == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if new.get(field) == old.get(field) {
                new.remove(field);
            }
        }
    } else if old_kind != "ExternalName" {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.get(field) {
                fill::value(new, field, value.clone());
            }
        }
        if text_of(new, "clusterIP").is_empty() && !text_of(old, "clusterIP").is_empty() {
            new.insert("clusterIP".to_owned(), old["clusterIP"].clone());
        }
    }
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    match (has_node_ports(&kind), has_node_ports(old_kind)) {
        (true, true) => keep_node_ports(new, old),
        (false, true) => drop_node_ports(new, old),
        _ => (),
    }
}

fn node_port(port: &fill::Fields) -> i64 {
    port.get("nodePort").and_then(Value::as_i64).unwrap_or(0)
}

fn ports(spec: &fill::Fields) -> impl Iterator<Item = &fill::Fields> {
    spec.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// A port of the same name keeps its node port, unless the update gives that to another.
fn keep_node_ports(new: &mut fill::Fields, old: &fill::Fields) {
    let mut taken: HashSet<i64> = ports(new).map(node_port).collect();
    let before: Vec<(String, i64)> =
        ports(old).map(|port| (text_of(port, "name").to_owned(), node_port(port))).collect();
    for port in fill::objects(new, "ports").filter(|port| node_port(port) == 0) {
        let name = text_of(port, "name");
        let found =
            before.iter().find(|(one, number)| one == name && *number != 0 && !taken.contains(number));
        if let Some((_, number)) = found {
            taken.insert(*number);
            port.insert("nodePort".to_owned(), (*number).into());
        }
    }
}

fn drop_node_ports(new: &mut fill::Fields, old: &fill::Fields) {
    let before: HashSet<i64> = ports(old).map(node_port).collect();
    for port in fill::objects(new, "ports").filter(|port| before.contains(&node_port(port))) {
        port.remove("nodePort");
    }
    if new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy") {
        new.remove("externalTrafficPolicy");
    }
    new.remove("allocateLoadBalancerNodePorts");
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    let kind = spec.at("type");
    let headless = spec.at("clusterIP").text() == "None";
    if spec.at("ports").is_empty() && !headless && kind.text() != "ExternalName" {
        errors.push(spec.at("ports").required(""));
    }
    validate_type(&spec, headless, &mut errors);
    validate_ports(&spec, &mut errors);
    labels(&spec.at("selector"), &mut errors);
    spec.at("sessionAffinity").one_of(&AFFINITIES, &mut errors);
    if spec.at("sessionAffinity").text() == "ClientIP" {
        let timeout = spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds");
        if timeout.number().is_none_or(|seconds| !(1..=AFFINITY_SECONDS_MAX).contains(&seconds)) {
            errors.push(
                timeout.invalid(format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}")),
            );
        }
    }
    validate_addresses(&spec, &mut errors);
    kind.one_of(&TYPES, &mut errors);
    for policy in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        spec.at(policy).may_be_one_of(&["Cluster", "Local"], &mut errors);
    }
    spec.at("ipFamilyPolicy").may_be_one_of(&FAMILY_POLICIES, &mut errors);
    spec.at("ipFamilies").items().for_each(|family| family.one_of(&FAMILIES, &mut errors));
    errors
}

fn validate_type(spec: &Field<'_>, headless: bool, errors: &mut Errors) {
    let address = Field::new("spec.clusterIPs[0]", spec.at("clusterIP").value);
    match spec.at("type").text() {
        "LoadBalancer" if headless => {
            errors.push(address.invalid("may not be set to 'None' for LoadBalancer services"));
        }
        "NodePort" if headless => {
            errors.push(address.invalid("may not be set to 'None' for NodePort services"))
        }
        "ExternalName" => {
            if !spec.at("clusterIPs").is_empty() || !spec.at("clusterIP").text().is_empty() {
                errors.push(spec.at("clusterIPs").forbidden("may not be set for ExternalName services"));
            }
            let name = spec.at("externalName");
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            match text {
                "" => errors.push(name.required("")),
                _ => errors.extend(names::dns_subdomain(text).into_iter().map(|why| name.invalid(why))),
            }
        }
        _ => (),
    }
}

fn validate_ports(spec: &Field<'_>, errors: &mut Errors) {
    let ports = spec.at("ports");
    let internal = spec.at("type").text() == "ClusterIP";
    let (mut seen_names, mut seen_ports, mut seen_node_ports) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    for port in ports.items() {
        let (name, protocol) = (port.at("name"), port.at("protocol"));
        if ports.len() > 1 && name.text().is_empty() {
            errors.push(name.required(""));
        }
        name.may(names::dns_label, errors);
        if !name.text().is_empty() && !seen_names.insert(name.text()) {
            errors.push(name.duplicate());
        }
        port_number(&port.at("port"), errors);
        protocol.one_of(&PROTOCOLS, errors);
        port_number_or_name(&port.at("targetPort"), errors);
        let node_port = port.at("nodePort");
        let number = node_port.number().unwrap_or(0);
        if internal && number != 0 {
            errors.push(node_port.forbidden("may not be used when `type` is 'ClusterIP'"));
        }
        if number != 0 && !seen_node_ports.insert((protocol.text(), number)) {
            errors.push(node_port.duplicate());
        }
        if !seen_ports.insert((protocol.text(), port.at("port").number())) {
            let value = json!({"protocol": protocol.text(), "port": port.at("port").number()});
            errors.push(FieldError::duplicate(&port.path, value));
        }
    }
}

/// Judges the number of a port that must be there.
pub fn port_number(port: &Field<'_>, errors: &mut Errors) {
    if port.number().is_none_or(|number| !(1..=65_535).contains(&number)) {
        let value = port.number().unwrap_or(0);
        errors.push(FieldError::invalid(&port.path, value, names::out_of_range(1, 65_535)));
    }
}

/// Judges a port by number or by name.
pub fn port_number_or_name(port: &Field<'_>, errors: &mut Errors) {
    match port.value {
        Value::String(_) => port.must(names::port_name, errors),
        _ => port_number(port, errors),
    }
}

fn validate_addresses(spec: &Field<'_>, errors: &mut Errors) {
    let (first, all) = (spec.at("clusterIP"), spec.at("clusterIPs"));
    for address in all.items().filter(|address| !matches!(address.text(), "" | "None")) {
        if address.text().parse::<IpAddr>().is_err() {
            errors.push(address.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
    if let Some(one) = all.items().next()
        && one.text() != first.text()
    {
        errors.push(all.invalid("first value must match `clusterIP`"));
    }
    for address in spec.at("externalIPs").items() {
        usable_address(&address, errors);
    }
}

/// Judges an address that traffic is to be sent to: not this host, not nowhere, not the link.
pub fn usable_address(field: &Field<'_>, errors: &mut Errors) {
    let Ok(address) = field.text().parse::<IpAddr>() else {
        errors.push(field.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        return;
    };
    let (link_local, link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (address.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    errors.extend(rules.into_iter().filter(|(broken, _)| *broken).map(|(_, why)| field.invalid(why)));
}

/// An address stays while the service has one.
fn validate_update(new: &Object, old: &Object) -> Errors {
    let (new, old) = (Field::of(new, "spec"), Field::of(old, "spec"));
    let mut errors = Errors::new();
    let named = |spec: &Field<'_>| spec.at("type").text() == "ExternalName";
    let before = old.at("clusterIP").text();
    if !named(&new) && !named(&old) && !before.is_empty() && new.at("clusterIP").text() != before {
        let value = new.at("clusterIPs").value.clone();
        errors.push(FieldError::invalid("spec.clusterIPs[0]", value, "may not change once set"));
    }
    errors
}

#[cfg(test)]
mod tests;
