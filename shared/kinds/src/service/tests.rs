use super::*;
use crate::testing::{defaulted, headings, object, row, said};

fn valid(change: Value) -> Object {
    let mut service = json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "web"}}});
    for (name, value) in change.as_object().expect("fields") {
        service["spec"][name] = value.clone();
    }
    let mut service = object(service);
    default(&mut service);
    service
}

#[test]
fn defaults() {
    assert_eq!(
        defaulted(&kind(), json!({"spec": {"ports": [{"port": 80}, {"port": 443, "targetPort": "https"}]}})),
        json!({"spec": {
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 443, "protocol": "TCP", "targetPort": "https"}
            ]
        }})
    );
    let balanced = valid(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}));
    assert_eq!(balanced.str_at(&["spec", "externalTrafficPolicy"]), "Cluster");
    assert_eq!(balanced.at(&["spec", "allocateLoadBalancerNodePorts"]), Some(&json!(true)));
    assert_eq!(
        balanced.at(&["spec", "sessionAffinityConfig"]),
        Some(&json!({"clientIP": {"timeoutSeconds": 10_800}}))
    );
    let headless = valid(json!({"clusterIP": "None", "selector": {}}));
    assert_eq!(headless.at(&["spec", "clusterIPs"]), Some(&json!(["None"])));
    assert_eq!(headless.str_at(&["spec", "ipFamilyPolicy"]), "RequireDualStack");
    let name = valid(json!({"type": "ExternalName", "externalName": "a.b", "ports": []}));
    assert_eq!(name.at(&["spec", "ipFamilies"]), None);
    assert_eq!(name.at(&["spec", "internalTrafficPolicy"]), None);
}

#[test]
fn each_rule_names_its_field() {
    let port = |change: Value| {
        let mut port = json!({"port": 80, "protocol": "TCP"});
        for (name, value) in change.as_object().expect("fields") {
            port[name] = value.clone();
        }
        json!({"ports": [port]})
    };
    let cases = [
        (json!({}), ""),
        (json!({"ports": []}), "spec.ports: Required value"),
        (json!({"clusterIP": "None", "ports": []}), ""),
        (
            json!({"type": "Magic"}),
            "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", ",
        ),
        (json!({"type": "ExternalName", "ports": []}), "spec.externalName: Required value"),
        (json!({"type": "ExternalName", "ports": [], "externalName": "a.b."}), ""),
        (
            json!({"type": "NodePort", "clusterIP": "None"}),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            port(json!({"port": 0})),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            port(json!({"protocol": "XTP"})),
            "spec.ports[0].protocol: Unsupported value: \"XTP\": supported values: \"SC",
        ),
        (
            port(json!({"targetPort": "Bad_Name"})),
            "spec.ports[0].targetPort: Invalid value: \"Bad_Name\": must contain",
        ),
        (
            port(json!({"nodePort": 30_000})),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}),
            "spec.ports[1].name: Duplicate value: \"a\"",
        ),
        (json!({"ports": [{"port": 1, "name": "a"}, {"port": 2}]}), "spec.ports[1].name: Required value"),
        (
            json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}),
            "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
        ),
        (json!({"selector": {"a": "-"}}), "spec.selector: Invalid value: \"-\": a valid label"),
        (json!({"sessionAffinity": "Cookie"}), "spec.sessionAffinity: Unsupported value: \"Cookie\""),
        (
            json!({"clusterIP": "ten"}),
            "spec.clusterIPs[0]: Invalid value: \"ten\": must be a valid IP address",
        ),
        (
            json!({"externalIPs": ["127.0.0.1"]}),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the l",
        ),
        (json!({"externalTrafficPolicy": "Far"}), "spec.externalTrafficPolicy: Unsupported value: \"Far\""),
    ];
    for (change, wrong) in cases {
        let found = said(validate(&valid(change.clone())));
        assert!(found.starts_with(wrong) && found.is_empty() == wrong.is_empty(), "{change}: {found}");
    }
}

#[test]
fn an_update_keeps_what_was_allocated() {
    let old = valid(
        json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30_000}]}),
    );
    let update = |change: Value| {
        let mut new = valid(change);
        (kind().hooks.prepare_update)(&mut new, &old);
        new
    };
    let same = update(json!({"type": "NodePort"}));
    assert_eq!(same.at(&["spec", "clusterIPs"]), Some(&json!(["10.0.0.1"])));
    assert_eq!(same.str_at(&["spec", "clusterIP"]), "10.0.0.1");
    assert_eq!(cell::list(&same, &["spec", "ports"])[0]["nodePort"], 30_000);

    let inner = update(json!({"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30_000}]}));
    assert_eq!(cell::list(&inner, &["spec", "ports"])[0]["nodePort"], Value::Null);

    let name = update(json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.0.0.1"}));
    assert_eq!(name.at(&["spec", "clusterIP"]), None);

    let moved = update(json!({"type": "NodePort", "clusterIP": "10.0.0.2"}));
    assert_eq!(
        said(validate_update(&moved, &old)),
        "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"
    );
}

#[test]
fn columns_show_addresses_and_ports() {
    assert_eq!(headings(&kind()), "Name | Type | Cluster-IP | External-IP | Port(s) | Age | (Selector)");
    let mut service = valid(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1",
        "ports": [{"port": 80, "nodePort": 30_000}, {"port": 53, "protocol": "UDP"}]}));
    service.set(&["metadata", "name"], "a");
    assert_eq!(
        row(&kind(), &service),
        "a | LoadBalancer | 10.0.0.1 | <pending> | 80:30000/TCP,53/UDP | <unknown> | app=web"
    );
    service.set(&["status", "loadBalancer", "ingress"], json!([{"hostname": "z"}, {"ip": "1.2.3.4"}]));
    assert_eq!(external_ip(&service), "1.2.3.4,z");
    let name = valid(json!({"type": "ExternalName", "externalName": "a.b", "ports": [], "selector": {}}));
    assert_eq!(row(&kind(), &name), " | ExternalName | <none> | a.b | <none> | <unknown> | <none>");
}
