//! What the gateway needs to know of a pod: where it runs, and what else its node must have for it.

use std::collections::BTreeSet;

use model::Key;
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::Item;

/// A pod that has a node.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundPod {
    /// The pod as stored.
    pub item: Item,
    /// Its node.
    pub node: String,
    /// Secrets, config maps and claims that it refers to.
    pub references: BTreeSet<Key>,
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    volumes: Vec<Volume>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
    image_pull_secrets: Vec<Named>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Volume {
    name: String,
    config_map: Option<Named>,
    secret: Option<SecretVolume>,
    projected: Option<Projected>,
    persistent_volume_claim: Option<ClaimVolume>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SecretVolume {
    secret_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimVolume {
    claim_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Projected {
    sources: Vec<Source>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Source {
    config_map: Option<Named>,
    secret: Option<Named>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    env: Vec<EnvVar>,
    env_from: Vec<EnvFrom>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EnvVar {
    value_from: Option<ValueFrom>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ValueFrom {
    config_map_key_ref: Option<Named>,
    secret_key_ref: Option<Named>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EnvFrom {
    config_map_ref: Option<Named>,
    secret_ref: Option<Named>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

// === impl BoundPod ===

impl BoundPod {
    /// Reads a stored pod; `None` when it has no node, or is not a pod at all.
    pub fn read(item: &Item) -> Option<BoundPod> {
        let pod: Pod = serde_json::from_slice(&item.value).ok()?;
        if pod.spec.node_name.is_empty() {
            return None;
        }
        let namespace = item.key.namespace();
        let references = pod.spec.references(namespace, item.key.name());
        Some(BoundPod { item: item.clone(), node: pod.spec.node_name, references })
    }
}

// === impl Spec ===

impl Spec {
    fn references(&self, namespace: &str, pod: &str) -> BTreeSet<Key> {
        let volumes = self.volumes.iter().flat_map(Volume::references);
        let containers = [&self.containers, &self.init_containers, &self.ephemeral_containers];
        let containers = containers.into_iter().flatten().flat_map(Container::references);
        let pull = self.image_pull_secrets.iter().map(|secret| ("secrets", secret.name.as_str()));
        let named = volumes.chain(containers).chain(pull).filter(|(_, name)| !name.is_empty());
        let named = named.map(|(resource, name)| Key::object("", resource, namespace, name));
        let claims = self.volumes.iter().filter_map(|volume| volume.claim(pod));
        let claims = claims.map(|name| Key::object("", "persistentvolumeclaims", namespace, &name));
        named.chain(claims).collect()
    }
}

/// A resource and the name of an object of it.
type Reference<'a> = (&'static str, &'a str);

fn either<'a>(
    config_map: Option<&'a Named>,
    secret: Option<&'a Named>,
) -> impl Iterator<Item = Reference<'a>> {
    let config_map = config_map.map(|named| ("configmaps", named.name.as_str()));
    let secret = secret.map(|named| ("secrets", named.name.as_str()));
    config_map.into_iter().chain(secret)
}

// === impl Volume ===

impl Volume {
    fn references(&self) -> impl Iterator<Item = Reference<'_>> {
        let secret = self.secret.as_ref().map(|secret| ("secrets", secret.secret_name.as_str()));
        let sources = self.projected.iter().flat_map(|projected| &projected.sources);
        let projected = sources.flat_map(|source| either(source.config_map.as_ref(), source.secret.as_ref()));
        either(self.config_map.as_ref(), None).chain(secret).chain(projected)
    }

    /// The claim of a volume that has one; one that lives as long as its pod is named after both.
    fn claim(&self, pod: &str) -> Option<String> {
        let named = self.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
        let own = || self.ephemeral.as_ref().map(|_| format!("{pod}-{}", self.name));
        named.or_else(own).filter(|name| !name.is_empty())
    }
}

// === impl Container ===

impl Container {
    fn references(&self) -> impl Iterator<Item = Reference<'_>> {
        let values = self.env.iter().filter_map(|env| env.value_from.as_ref());
        let values =
            values.flat_map(|from| either(from.config_map_key_ref.as_ref(), from.secret_key_ref.as_ref()));
        let all = self.env_from.iter();
        values.chain(all.flat_map(|from| either(from.config_map_ref.as_ref(), from.secret_ref.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::Revision;
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_pod_refers_to_is_found() {
        let pod = json!({"metadata": {"name": "a", "namespace": "ns"}, "spec": {
            "nodeName": "n",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "files"}},
                {"name": "b", "secret": {"secretName": "keys"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "ca"}}, {"secret": {"name": "token"}}]}},
                {"name": "d", "emptyDir": {}},
                {"name": "e", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "f", "ephemeral": {"volumeClaimTemplate": {}}}
            ],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "k"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}
            ]}]
        }});
        let item = Item {
            key: Key::object("", "pods", "ns", "a"),
            revision: Revision(1),
            created: Revision(1),
            value: Bytes::from(pod.to_string()),
        };
        let pod = BoundPod::read(&item).expect("a bound pod");
        assert_eq!(pod.node, "n");
        let names: Vec<&str> = pod.references.iter().map(Key::as_str).collect();
        assert_eq!(
            names,
            [
                "core/configmaps/ns/ca",
                "core/configmaps/ns/files",
                "core/persistentvolumeclaims/ns/a-f",
                "core/persistentvolumeclaims/ns/data",
                "core/secrets/ns/env",
                "core/secrets/ns/init",
                "core/secrets/ns/keys",
                "core/secrets/ns/pull",
                "core/secrets/ns/token",
            ]
        );
    }
}
