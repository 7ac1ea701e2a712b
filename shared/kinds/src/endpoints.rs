//! Endpoints and EndpointSlices: the addresses behind a Service.

use std::collections::HashSet;
use std::net::IpAddr;

use model::{Object, names};
use serde_json::Value;

use crate::cell::{self, NONE, UNSET};
use crate::field::{Errors, Field, IMMUTABLE};
use crate::service::{PROTOCOLS, port_number, usable_address};
use crate::{Column, Kind, fill};

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
/// As upstream: what one endpoint may be reached at.
const ADDRESSES_MAX: usize = 100;
/// As upstream: more would make one change of one pod too large an object to send to every node.
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;

/// The row of Endpoints.
pub fn endpoints() -> Kind {
    Kind::namespaced("", "v1", "Endpoints", "endpoints")
        .short(&["ep"])
        .with_columns(vec![
            Column::text("Endpoints", "The addresses that are ready.", addresses),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                for subset in fill::objects(object, "subsets") {
                    fill::objects(subset, "ports").for_each(|port| fill::text(port, "protocol", "TCP"));
                }
            };
            hooks.validate = validate_endpoints;
        })
}

/// The row of EndpointSlices.
pub fn slice() -> Kind {
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
        .with_generation()
        .with_columns(vec![
            Column::text("AddressType", "What its addresses are.", |object| {
                object.str_at(&["addressType"]).to_owned()
            }),
            Column::text("Ports", "Its ports.", slice_ports),
            Column::text("Endpoints", "Its addresses.", slice_addresses),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                for port in fill::objects(object, "ports") {
                    fill::value(port, "name", "");
                    fill::text(port, "protocol", "TCP");
                }
            };
            hooks.validate = validate_slice;
            hooks.validate_update = |new, old| {
                let (new, old) = (Field::of(new, "addressType"), Field::of(old, "addressType"));
                if new.value == old.value { Vec::new() } else { vec![new.invalid(IMMUTABLE)] }
            };
        })
}

fn addresses(object: &Object) -> String {
    let mut all = Vec::new();
    for subset in cell::list(object, &["subsets"]) {
        let list = |field: &str| subset[field].as_array().cloned().unwrap_or_default();
        let ips: Vec<String> =
            list("addresses").iter().filter_map(|one| one["ip"].as_str()).map(str::to_owned).collect();
        match list("ports").as_slice() {
            [] => all.extend(ips),
            ports => {
                all.extend(ports.iter().flat_map(|port| ips.iter().map(|ip| host_port(ip, &port["port"]))))
            }
        }
    }
    cell::first_three(&all, NONE)
}

fn host_port(host: &str, port: &Value) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn slice_ports(object: &Object) -> String {
    let text = |port: &Value| match (port["port"].as_i64(), port["name"].as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) if !name.is_empty() => name.to_owned(),
        _ => "*".to_owned(),
    };
    let ports: Vec<String> = cell::list(object, &["ports"]).iter().map(text).collect();
    cell::first_three(&ports, UNSET)
}

fn slice_addresses(object: &Object) -> String {
    let endpoints = cell::list(object, &["endpoints"]).iter();
    let addresses =
        endpoints.filter_map(|one| one["addresses"].as_array()).flatten().filter_map(Value::as_str);
    let addresses: Vec<String> = addresses.map(str::to_owned).collect();
    cell::first_three(&addresses, UNSET)
}

fn validate_endpoints(object: &Object) -> Errors {
    let mut errors = Errors::new();
    for subset in Field::of(object, "subsets").items() {
        let (ready, waiting, ports) =
            (subset.at("addresses"), subset.at("notReadyAddresses"), subset.at("ports"));
        if ready.is_empty() && waiting.is_empty() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in ready.items().chain(waiting.items()) {
            usable_address(&address.at("ip"), &mut errors);
            address.at("hostname").may(names::dns_label, &mut errors);
            address.at("nodeName").may(names::dns_subdomain, &mut errors);
        }
        for port in ports.items() {
            let name = port.at("name");
            if ports.len() > 1 && name.text().is_empty() {
                errors.push(name.required(""));
            }
            name.may(names::dns_label, &mut errors);
            port_number(&port.at("port"), &mut errors);
            port.at("protocol").one_of(&PROTOCOLS, &mut errors);
        }
    }
    errors
}

fn validate_slice(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let kind = Field::of(object, "addressType");
    kind.one_of(&ADDRESS_TYPES, &mut errors);
    let endpoints = Field::of(object, "endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(too_many(&endpoints, ENDPOINTS_MAX));
        return errors;
    }
    for endpoint in endpoints.items() {
        validate_endpoint(kind.text(), &endpoint, &mut errors);
    }
    validate_slice_ports(&Field::of(object, "ports"), &mut errors);
    errors
}

fn validate_endpoint(kind: &str, endpoint: &Field<'_>, errors: &mut Errors) {
    let addresses = endpoint.at("addresses");
    match addresses.len() {
        0 => errors.push(addresses.required("must contain at least 1 address")),
        count if count > ADDRESSES_MAX => errors.push(too_many(&addresses, ADDRESSES_MAX)),
        _ => (),
    }
    for address in addresses.items() {
        match (kind, address.text().parse::<IpAddr>()) {
            ("FQDN", _) => address.must(names::dns_subdomain, errors),
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => usable_address(&address, errors),
            ("IPv4" | "IPv6", _) => errors.push(address.invalid(format!("must be a valid {kind} address"))),
            _ => (),
        }
    }
    endpoint.at("hostname").may(names::dns_label, errors);
    endpoint.at("nodeName").may(names::dns_subdomain, errors);
}

fn validate_slice_ports(ports: &Field<'_>, errors: &mut Errors) {
    if ports.len() > PORTS_MAX {
        errors.push(too_many(ports, PORTS_MAX));
        return;
    }
    let mut seen = HashSet::new();
    for port in ports.items() {
        let name = port.at("name");
        name.may(names::dns_label, errors);
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        if port.at("port").is_set() {
            port_number(&port.at("port"), errors);
        }
        port.at("protocol").one_of(&PROTOCOLS, errors);
    }
}

fn too_many(field: &Field<'_>, max: usize) -> model::FieldError {
    let detail = format!("must have at most {max} items");
    model::FieldError::new(model::FieldErrorKind::TooMany, &field.path, field.len(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row, said};
    use serde_json::json;

    #[test]
    fn a_port_is_of_tcp_unless_said() {
        assert_eq!(
            defaulted(&endpoints(), json!({"subsets": [{"ports": [{"port": 80}]}]})),
            json!({"subsets": [{"ports": [{"port": 80, "protocol": "TCP"}]}]})
        );
        assert_eq!(
            defaulted(&slice(), json!({"ports": [{"port": 80}]})),
            json!({"ports": [{"name": "", "port": 80, "protocol": "TCP"}]})
        );
    }

    #[test]
    fn columns_show_the_first_addresses() {
        let one = object(json!({"metadata": {"name": "a"}, "subsets": [{
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 443}]
        }]}));
        assert_eq!(
            row(&endpoints(), &one),
            "a | 10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more... | <unknown>"
        );
        assert_eq!(row(&endpoints(), &object(json!({"metadata": {"name": "a"}}))), "a | <none> | <unknown>");
        let one = object(json!({"metadata": {"name": "a"}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}));
        assert_eq!(headings(&slice()), "Name | AddressType | Ports | Endpoints | Age");
        assert_eq!(row(&slice(), &one), "a | IPv4 | 80 | 10.0.0.1 | <unknown>");
        assert_eq!(row(&slice(), &object(json!({}))), " |  | <unset> | <unset> | <unknown>");
    }

    #[test]
    fn addresses_are_judged() {
        let wrong = object(
            json!({"subsets": [{}, {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"protocol": "TCP"}]}]}),
        );
        assert_eq!(
            said(validate_endpoints(&wrong)),
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`\n\
             subsets[1].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)\n\
             subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
        );
        let wrong =
            object(json!({"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": []}]}));
        assert_eq!(
            said(validate_slice(&wrong)),
            "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address\n\
             endpoints[1].addresses: Required value: must contain at least 1 address"
        );
        let good = object(json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "a", "port": 80, "protocol": "TCP"}]}));
        assert_eq!(said(validate_slice(&good)), "");
    }
}
