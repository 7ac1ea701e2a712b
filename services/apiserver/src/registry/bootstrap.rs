//! What a cluster has from the beginning: its namespaces, the two system priority classes and its own service.

use std::net::Ipv4Addr;

use model::{Reason, Status};
use serde_json::{Value, json};

use super::{Registry, body};
use crate::admission::SYSTEM_CLASSES;
use crate::verbs::{self, Context, Identity, Target, WriteOptions};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The address under which pods find the API server.
pub const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Makes what is missing; several API servers may do so at the same time.
///
/// `port` is where clients outside of the cluster reach this server.
pub async fn ensure(registry: &Registry, context: &Context, port: u16) -> Result<(), Status> {
    let context = Context { identity: apiserver(), ..context.clone() };
    for name in NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": name});
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        make(registry, &context, ("", "v1", "namespaces"), "", namespace).await?;
    }
    for (name, value) in SYSTEM_CLASSES {
        let class = json!({
            "metadata": {"name": name},
            "value": value,
            "description": "Used for system critical pods that must not be moved from their current node.",
        });
        make(registry, &context, ("scheduling.k8s.io", "v1", "priorityclasses"), "", class).await?;
    }
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": SERVICE_ADDRESS.to_string(),
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "type": "ClusterIP",
        },
    });
    make(registry, &context, ("", "v1", "services"), "default", service).await
}

fn apiserver() -> Identity {
    Identity {
        user: "system:apiserver".to_owned(),
        groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    }
}

async fn make(
    registry: &Registry,
    context: &Context,
    (group, version, plural): (&str, &str, &str),
    namespace: &str,
    object: Value,
) -> Result<(), Status> {
    // A kind that is not served yet has nothing to begin with.
    let Some(kind) = registry.kind(group, version, plural) else { return Ok(()) };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let key = super::key_of(&kind, namespace, name)?;
    if registry.store().get(&key).is_some() {
        return Ok(());
    }
    let sent =
        body::decode(registry.schemas(), &kind.api_version(), &kind.kind, object.to_string().as_bytes())?;
    let target = Target::collection(kind, namespace);
    match verbs::create(registry, context, &target, sent, &WriteOptions::default()).await {
        Err(status) if status.reason != Reason::AlreadyExists => Err(status),
        _ => Ok(()),
    }
}
