//! Rows against the types of the API: what a row names exists, and what its defaults make has the form of its type.

use kinds::Table;
use model::Object;
use schema::Schemas;
use serde_json::{Value, json};

fn pod_template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {
        "hostNetwork": true, "serviceAccountName": "sa", "schedulerName": "",
        "initContainers": [{"name": "i", "image": "i:1", "restartPolicy": "Always"}],
        "containers": [{
            "name": "a", "image": "i", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1500u", "memory": "1Gi"}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
            "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 80}},
            "lifecycle": {"preStop": {"httpGet": {"port": "http"}}}
        }],
        "volumes": [{"name": "e"}, {"name": "h", "hostPath": {"path": "/x"}}, {"name": "s", "secret": {"secretName": "s"}},
            {"name": "c", "configMap": {"name": "c"}}, {"name": "o", "image": {"reference": "i"}},
            {"name": "q", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]
    }})
}

/// An object of each kind that has defaults, with something in it for each of them.
fn sample(kind: &str) -> Value {
    let selector = || json!({"matchLabels": {"app": "web"}});
    let workload = || json!({"selector": selector(), "template": pod_template()});
    let spec = match kind {
        "Pod" => pod_template()["spec"].clone(),
        "PodTemplate" => return json!({"template": pod_template()}),
        "Deployment" | "ReplicaSet" | "DaemonSet" => workload(),
        "StatefulSet" => {
            let mut spec = workload();
            spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1024Mi"}}}}]);
            spec
        }
        "ReplicationController" => json!({"template": pod_template()}),
        "Job" => json!({"template": pod_template()}),
        "CronJob" => json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": pod_template()}}}),
        "Service" => json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}),
        "PersistentVolume" => json!({"capacity": {"storage": "1024Mi"}, "hostPath": {"path": "/x"},
            "claimRef": {"name": "c"}}),
        "PersistentVolumeClaim" => json!({"resources": {"requests": {"storage": "1024Mi"}}}),
        "Ingress" => {
            json!({"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "s"}}}]}}]})
        }
        "NetworkPolicy" => json!({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}),
        "HorizontalPodAutoscaler" => {
            json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}})
        }
        "LimitRange" => json!({"limits": [{"type": "Container", "max": {"cpu": "1"}}]}),
        "ResourceQuota" => json!({"hard": {"cpu": "1000m"}}),
        "Node" => return json!({"status": {"capacity": {"cpu": "2"}}}),
        "Secret" => return json!({"stringData": {"a": "b"}}),
        "Endpoints" => {
            return json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]});
        }
        "EndpointSlice" => {
            return json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]});
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            return json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
        }
        "StorageClass" => return json!({"provisioner": "x.io/y"}),
        _ => return json!({}),
    };
    json!({ "spec": spec })
}

#[test]
fn every_row_and_every_body_of_a_part_has_a_type() {
    let schemas = Schemas::builtin();
    for kind in Table::builtin().iter() {
        let name = kind.qualified_plural();
        assert!(schemas.resource(&kind.group, &kind.version, &kind.kind).is_some(), "{name}");
        for part in &kind.subresources {
            // Options of a connection come in the query, never as a body.
            if part.kind.ends_with("Options") {
                continue;
            }
            assert!(
                schemas.resource(&part.group, &part.version, &part.kind).is_some(),
                "{name}/{}",
                part.name
            );
        }
    }
}

#[test]
fn defaults_have_the_form_of_their_type() {
    let schemas = Schemas::builtin();
    for kind in Table::builtin().iter() {
        let name = format!("{} {}", kind.api_version(), kind.kind);
        let mut object = Object::from_value(sample(&kind.kind)).expect("an object");
        object.set(&["metadata", "name"], "a");
        object.set(&["metadata", "uid"], "b7a1c7a1-7f4e-4a0a-9b5a-0f8f6a3a1c11");
        kind.stamp(&mut object);
        (kind.hooks.default)(&mut object);
        (kind.hooks.prepare_create)(&mut object);
        let ty = schemas.resource(&kind.group, &kind.version, &kind.kind).expect("a type");
        let mut value = object.clone().into_value();
        let report = schema::fields::check(schemas, ty, &mut value);
        assert_eq!((report.unknown, report.wrong), (Vec::new(), Vec::new()), "{name}");
        let mut again = Object::from_value(value).expect("an object");
        (kind.hooks.default)(&mut again);
        assert_eq!(again, object, "{name}: what is read again and written again is the same");
    }
}
