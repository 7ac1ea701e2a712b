//! Ingresses, their classes, and network policies.

use model::Object;
use serde_json::{Value, json};

use crate::cell::{self, NONE, or};
use crate::{Column, Kind, fill};

const GROUP: &str = "networking.k8s.io";

/// `IngressClass`, `Ingress` and `NetworkPolicy`
pub fn kinds() -> Vec<Kind> {
    let class =
        Kind::cluster(GROUP, "v1", "IngressClass", "ingressclasses").with_generation().with_columns(vec![
            Column::text("Controller", "Who serves ingresses of this class.", |object| {
                object.str_at(&["spec", "controller"]).to_owned()
            }),
            Column::text("Parameters", "An object with further parameters.", class_parameters),
            Column::age(),
        ]);
    let policy = Kind::namespaced(GROUP, "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .with_generation()
        .with_columns(vec![
            Column::text("Pod-Selector", "The pods that it is about.", |object| {
                let text = object.at(&["spec", "podSelector"]).map(cell::selector_text).unwrap_or_default();
                or(&text, NONE).to_owned()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| hooks.default = default_network_policy);
    vec![class, ingress(), policy]
}

fn default_network_policy(object: &mut Object) {
    let Some(spec) = fill::spec(object) else { return };
    for direction in ["ingress", "egress"] {
        for rule in fill::objects(spec, direction) {
            fill::objects(rule, "ports").for_each(|port| fill::text(port, "protocol", "TCP"));
        }
    }
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
        spec.insert(
            "policyTypes".to_owned(),
            if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) },
        );
    }
}

fn class_parameters(object: &Object) -> String {
    let Some(parameters) = object.at(&["spec", "parameters"]) else { return NONE.to_owned() };
    let text = |field: &str| parameters[field].as_str().unwrap_or_default();
    let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", text("kind"), text("name"))
}

fn ingress() -> Kind {
    Kind::namespaced(GROUP, "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .with_status()
        .with_generation()
        .with_columns(vec![
            Column::text("Class", "The class of the controller that serves it.", |object| {
                or(object.str_at(&["spec", "ingressClassName"]), NONE).to_owned()
            }),
            Column::text("Hosts", "The hosts that its rules are about.", ingress_hosts),
            Column::text("Address", "Where it is served.", crate::service::load_balancer_addresses),
            Column::text("Ports", "The ports that are open.", |object| {
                let tls = !cell::list(object, &["spec", "tls"]).is_empty();
                if tls { "80, 443" } else { "80" }.to_owned()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.default = |object| {
                let Some(spec) = fill::object(object, "spec") else { return };
                for rule in fill::objects(spec, "rules") {
                    let Some(http) = fill::object(rule, "http") else { continue };
                    fill::objects(http, "paths")
                        .for_each(|path| fill::text(path, "pathType", "ImplementationSpecific"));
                }
            };
            hooks.prepare_create = |object| object.set(&["status"], json!({"loadBalancer": {}}));
        })
}

fn ingress_hosts(object: &Object) -> String {
    let rules = cell::list(object, &["spec", "rules"]);
    let hosts = rules.iter().filter_map(|rule| rule["host"].as_str()).filter(|host| !host.is_empty());
    let hosts: Vec<String> = hosts.map(str::to_owned).collect();
    cell::first_three(&hosts, "*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, headings, object, row};

    fn kind(name: &str) -> Kind {
        kinds().into_iter().find(|kind| kind.kind == name).expect("a row")
    }

    #[test]
    fn a_policy_is_about_what_it_has_rules_for() {
        let types = |spec: Value| {
            defaulted(&kind("NetworkPolicy"), json!({"spec": spec}))["spec"]["policyTypes"].clone()
        };
        assert_eq!(types(json!({})), json!(["Ingress"]));
        assert_eq!(types(json!({"egress": [{}]})), json!(["Ingress", "Egress"]));
        assert_eq!(types(json!({"policyTypes": ["Egress"]})), json!(["Egress"]));
        let port = json!({"spec": {"ingress": [{"ports": [{"port": 80}]}]}});
        let shown = defaulted(&kind("NetworkPolicy"), port);
        assert_eq!(shown["spec"]["ingress"][0]["ports"][0]["protocol"], "TCP");
    }

    #[test]
    fn columns() {
        let ingress = object(
            json!({"metadata": {"name": "i"}, "spec": {"ingressClassName": "nginx", "tls": [{}],
            "rules": [{"host": "a.b"}, {}, {"host": "c.d"}]}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        );
        assert_eq!(headings(&kind("Ingress")), "Name | Class | Hosts | Address | Ports | Age");
        assert_eq!(row(&kind("Ingress"), &ingress), "i | nginx | a.b,c.d | 1.2.3.4 | 80, 443 | <unknown>");
        let class = object(json!({"metadata": {"name": "c"}, "spec": {"controller": "x.io/y",
            "parameters": {"apiGroup": "x.io", "kind": "P", "name": "p"}}}));
        assert_eq!(row(&kind("IngressClass"), &class), "c | x.io/y | P.x.io/p | <unknown>");
        let policy = object(json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}}));
        assert_eq!(row(&kind("NetworkPolicy"), &policy), "p | <none> | <unknown>");
    }
}
