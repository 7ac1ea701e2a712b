//! What a cluster has from the beginning: its roles, its namespaces, the two system priority classes, a storage class
//! and its own service.

use std::net::Ipv4Addr;

use futures::{StreamExt, TryStreamExt, stream};
use model::{Key, Reason, Status};
use serde_json::{Value, json};

use super::{Registry, body, decode};
use crate::admission::SYSTEM_CLASSES;
use crate::authorization::policy::{self, Default};
use crate::authorization::{GROUP, MASTERS};
use crate::identity::AUTHENTICATED;
use crate::verbs::{self, Context, Identity, Target, WriteOptions};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Roles that are made at a time: they share a few messages of the log.
const ROLES: usize = 128;
/// The address under which pods find the API server.
pub const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Makes what is missing; several API servers may do so at the same time.
///
/// `port` is where clients outside of the cluster reach this server.
pub async fn ensure(registry: &Registry, context: &Context, port: u16) -> Result<(), Status> {
    let context = Context { identity: own_identity(), ..context.clone() };
    for name in NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": name});
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        make(registry, &context, ("", "v1", "namespaces"), "", namespace).await?;
    }
    roles(registry, &context).await?;
    // Every other namespace is given its account by a controller; here the first pods need not wait for it.
    let account = json!({"metadata": {"name": "default"}});
    make(registry, &context, ("", "v1", "serviceaccounts"), "default", account).await?;
    for (name, value) in SYSTEM_CLASSES {
        let class = json!({
            "metadata": {"name": name},
            "value": value,
            "description": "Used for system critical pods that must not be moved from their current node.",
        });
        make(registry, &context, ("scheduling.k8s.io", "v1", "priorityclasses"), "", class).await?;
    }
    make(registry, &context, ("storage.k8s.io", "v1", "storageclasses"), "", default_class()).await?;
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

/// Volumes on the disk of whichever node their first pod gets. Who wants another default takes the mark off: the
/// class itself comes back.
fn default_class() -> Value {
    json!({
        "metadata": {
            "name": "local-path",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "sampan.io/local-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// Who an API server itself is.
pub fn own_identity() -> Identity {
    Identity {
        user: "system:apiserver".to_owned(),
        groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()],
        ..Identity::default()
    }
}

/// Makes the default roles and bindings, or brings those that are there up to what they should be.
async fn roles(registry: &Registry, context: &Context) -> Result<(), Status> {
    registry.catch_up("").await?;
    let roles = stream::iter(policy::defaults()).map(|wanted| role(registry, context, wanted));
    roles.buffer_unordered(ROLES).try_collect::<()>().await
}

async fn role(registry: &Registry, context: &Context, wanted: Default) -> Result<(), Status> {
    let Some(kind) = registry.kind(GROUP, "v1", wanted.plural) else { return Ok(()) };
    let (namespace, name) = (wanted.object.namespace().to_owned(), wanted.object.name().to_owned());
    let there = registry.store().get(&Key::object(GROUP, wanted.plural, &namespace, &name));
    let there = there.as_ref().map(decode).transpose()?;
    let Some(object) = policy::reconciled(&wanted.object, there.as_ref()) else { return Ok(()) };
    let sent = verbs::Body { object, ..verbs::Body::default() };
    let options = WriteOptions::default();
    let written = match there {
        None => verbs::create(registry, context, &Target::collection(kind, &namespace), sent, &options).await,
        Some(_) => {
            let target = Target::object(kind, &namespace, &name);
            verbs::update(registry, context, &target, sent, &options).await
        }
    };
    match written {
        // Another API server was first, with the same.
        Err(status) if !matches!(status.reason, Reason::AlreadyExists | Reason::Conflict) => Err(status),
        _ => Ok(()),
    }
}

pub(super) async fn make(
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
