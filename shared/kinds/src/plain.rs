//! Rows of kinds without behaviour.

use crate::Kind;

/// The rows.
pub fn rows() -> Vec<Kind> {
    vec![
        Kind::cluster("", "v1", "Namespace", "namespaces").short(&["ns"]).with_status(),
        Kind::cluster("", "v1", "Node", "nodes").short(&["no"]).with_status(),
        Kind::namespaced("", "v1", "Pod", "pods").short(&["po"]).in_all().with_status(),
        Kind::namespaced("", "v1", "ConfigMap", "configmaps").short(&["cm"]),
        Kind::namespaced("", "v1", "Secret", "secrets"),
        Kind::namespaced("", "v1", "Service", "services").short(&["svc"]).in_all().with_status(),
        Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts").short(&["sa"]),
        Kind::namespaced("", "v1", "Event", "events").short(&["ev"]),
        Kind::namespaced("apps", "v1", "Deployment", "deployments").short(&["deploy"]).in_all().with_status(),
        Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets").short(&["rs"]).in_all().with_status(),
    ]
}
