//! What machines outside are told of this cluster, and the token that it begins with.

use bus::join::Token;
use model::{Object, Reason, Status};
use serde_json::{Value, json};

use super::bootstrap::{make, own_identity};
use super::{Part, Registry, key_of, pipeline};
use crate::identity::bootstrap;
use crate::verbs::{Context, Target, WriteOptions};

/// The ConfigMap in `kube-public` that tells it, named and laid out as upstream's.
pub const NAME: &str = "cluster-info";

/// What is told.
#[derive(Clone, Debug, Default)]
pub struct ClusterInfo {
    /// Where the API is reached, as `https://host:6443`.
    pub server: String,
    /// The cluster's CA, as PEM.
    pub ca: String,
    /// Where the bus is reached, if machines outside reach it.
    pub bus: Option<String>,
    /// The CA of the bus, as PEM, where it speaks TLS.
    pub bus_ca: Option<String>,
    /// A token that never expires.
    pub token: Option<Token>,
}

/// Makes it so.
pub async fn publish(registry: &Registry, context: &Context, info: &ClusterInfo) -> Result<(), Status> {
    let context = Context { identity: own_identity(), ..context.clone() };
    if let Some(token) = &info.token {
        make(registry, &context, ("", "v1", "secrets"), bootstrap::NAMESPACE, secret(token)).await?;
    }
    let data = data(info);
    let wanted = json!({"metadata": {"name": NAME}, "data": data});
    make(registry, &context, ("", "v1", "configmaps"), "kube-public", wanted).await?;
    let Some(kind) = registry.kind("", "v1", "configmaps") else { return Ok(()) };
    let there = registry.store().get(&key_of(&kind, "kube-public", NAME)?);
    let is_right = |item: &store::Item| {
        super::decode(item).is_ok_and(|map| map.get("data").is_some_and(|present| covers(present, &data)))
    };
    if there.as_ref().is_some_and(is_right) {
        return Ok(());
    }
    let target = Target::object(kind, "kube-public", NAME);
    let refresh = |present: &Object| {
        let mut map = present.clone();
        for (field, text) in data.as_object().into_iter().flatten() {
            map.set(&["data", field], text.clone());
        }
        Ok(map)
    };
    let options = WriteOptions::default();
    match pipeline::change(registry, &context, &target, &Part::Whole, &options, refresh).await {
        Err(status) if status.reason != Reason::NotFound => Err(status),
        _ => Ok(()),
    }
}

fn covers(present: &Value, wanted: &Value) -> bool {
    wanted.as_object().into_iter().flatten().all(|(field, text)| present.get(field) == Some(text))
}

fn data(info: &ClusterInfo) -> Value {
    use base64::Engine;
    let ca = base64::engine::general_purpose::STANDARD.encode(&info.ca);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "contexts": [], "users": [], "current-context": "",
        "clusters": [{"name": "", "cluster": {"certificate-authority-data": ca, "server": info.server}}],
    });
    let kubeconfig = serde_saphyr::to_string(&kubeconfig).unwrap_or_else(|_| kubeconfig.to_string());
    let mut data = json!({"kubeconfig": kubeconfig});
    for (field, text) in [("bus", &info.bus), ("bus-ca", &info.bus_ca)] {
        if let Some(text) = text {
            data[field] = json!(text);
        }
    }
    data
}

fn secret(token: &Token) -> Value {
    json!({
        "metadata": {"name": bootstrap::key(token.id()).name()},
        "type": bootstrap::TYPE,
        "stringData": {
            "description": "Made at the start, from a file of the API server.",
            "token-id": token.id(),
            "token-secret": token.secret(),
            "usage-bootstrap-authentication": "true",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_beside_it_stays() {
        let info = ClusterInfo { server: "https://a:6443".to_owned(), ..ClusterInfo::default() };
        let mut present = data(&info);
        present["jws-kubeconfig-abcdef"] = json!("signature");
        assert!(covers(&present, &data(&info)));
        let moved = ClusterInfo { bus: Some("tls://a:4222".to_owned()), ..info };
        assert!(!covers(&present, &data(&moved)));
        assert!(
            data(&moved)["kubeconfig"].as_str().is_some_and(|text| text.contains("server: https://a:6443"))
        );
    }
}
