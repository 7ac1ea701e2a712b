//! What is wanted of this node: a plain map that changes are applied to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::node;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use model::Key;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::spec::References;

/// The pods of this node, what they refer to, and the Services that they find in their environment.
#[derive(Default)]
pub struct Wanted {
    pods: BTreeMap<Key, Arc<Pod>>,
    config_maps: BTreeMap<Key, ConfigMap>,
    secrets: BTreeMap<Key, Secret>,
    claims: BTreeMap<Key, PersistentVolumeClaim>,
    volumes: BTreeMap<Key, PersistentVolume>,
    services: BTreeMap<Key, Service>,
}

/// What a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This pod.
    Pod(Key),
    /// Something that pods of this namespace may refer to.
    Reference {
        /// The namespace.
        namespace: String,
    },
    /// A volume that any pod may refer to by its claim.
    Volume,
    /// Nothing that concerns a pod which is there.
    Nothing,
}

// === impl Wanted ===

impl Wanted {
    /// Only what a snapshot holds.
    pub fn from_snapshot(objects: Vec<node::Wanted>) -> Self {
        let mut wanted = Wanted::default();
        for object in objects {
            wanted.apply(object);
        }
        wanted
    }

    /// Takes in one change. An object that cannot be read is passed over: the others are none the worse for it.
    pub fn apply(&mut self, change: node::Wanted) -> Changed {
        let key = Key::from_raw(&change.key);
        let reference = || Changed::Reference { namespace: key.namespace().to_owned() };
        match (key.group(), key.resource()) {
            ("", "pods") => {
                put(&mut self.pods, &key, change.object.map(|json| read(&key, &json).map(Arc::new)));
                Changed::Pod(key)
            }
            ("", "configmaps") => {
                put(&mut self.config_maps, &key, change.object.map(|json| read(&key, &json)));
                reference()
            }
            ("", "secrets") => {
                put(&mut self.secrets, &key, change.object.map(|json| read(&key, &json)));
                reference()
            }
            ("", "persistentvolumeclaims") => {
                put(&mut self.claims, &key, change.object.map(|json| read(&key, &json)));
                reference()
            }
            ("", "persistentvolumes") => {
                put(&mut self.volumes, &key, change.object.map(|json| read(&key, &json)));
                Changed::Volume
            }
            ("", "services") => {
                put(&mut self.services, &key, change.object.map(|json| read(&key, &json)));
                // A container keeps the environment that it was made with.
                Changed::Nothing
            }
            _ => Changed::Nothing,
        }
    }

    /// The pod of that name.
    pub fn pod(&self, key: &Key) -> Option<&Arc<Pod>> {
        self.pods.get(key)
    }

    /// Every volume that the node knows of.
    pub fn volumes(&self) -> impl Iterator<Item = &PersistentVolume> {
        self.volumes.values()
    }

    /// Every pod.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }
}

impl References for Wanted {
    fn config_map(&self, namespace: &str, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(&Key::object("", "configmaps", namespace, name))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        self.secrets.get(&Key::object("", "secrets", namespace, name))
    }

    fn claim(&self, namespace: &str, name: &str) -> Option<&PersistentVolumeClaim> {
        self.claims.get(&Key::object("", "persistentvolumeclaims", namespace, name))
    }

    fn volume(&self, name: &str) -> Option<&PersistentVolume> {
        self.volumes.get(&Key::object("", "persistentvolumes", "", name))
    }

    fn services(&self, namespace: &str) -> Vec<&Service> {
        let prefix = Key::prefix("", "services", Some(namespace));
        let from = self.services.range(Key::from_raw(&prefix)..);
        from.take_while(|(key, _)| key.as_str().starts_with(&prefix)).map(|(_, service)| service).collect()
    }
}

fn put<T>(map: &mut BTreeMap<Key, T>, key: &Key, object: Option<Option<T>>) {
    match object {
        None => {
            map.remove(key);
        }
        Some(Some(object)) => {
            map.insert(key.clone(), object);
        }
        Some(None) => (),
    }
}

fn read<T: DeserializeOwned>(key: &Key, json: &[u8]) -> Option<T> {
    match serde_json::from_slice(json) {
        Ok(object) => Some(object),
        Err(error) => {
            warn!(%key, "cannot read what is wanted: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, json: Option<&str>) -> node::Wanted {
        node::Wanted { key: key.to_owned(), object: json.map(|json| json.as_bytes().to_vec().into()) }
    }

    #[test]
    fn changes_are_taken_in_and_unreadable_ones_passed_over() {
        let pod = r#"{"metadata":{"name":"a","namespace":"default"},"spec":{"containers":[]}}"#;
        let mut wanted = Wanted::from_snapshot(vec![
            change("core/pods/default/a", Some(pod)),
            change("core/configmaps/default/c", Some(r#"{"data":{"k":"1"}}"#)),
            change("core/secrets/default/s", Some("not json")),
        ]);
        let key = Key::object("", "pods", "default", "a");
        assert!(wanted.pod(&key).is_some());
        assert!(wanted.config_map("default", "c").is_some());
        assert!(wanted.secret("default", "s").is_none());
        assert_eq!(wanted.apply(change("core/pods/default/a", Some("[]"))), Changed::Pod(key.clone()));
        assert!(wanted.pod(&key).is_some(), "the last readable form stays");
        assert_eq!(wanted.apply(change("core/pods/default/a", None)), Changed::Pod(key.clone()));
        assert!(wanted.pod(&key).is_none());
        assert_eq!(
            wanted.apply(change("core/configmaps/default/c", None)),
            Changed::Reference { namespace: "default".to_owned() }
        );
        assert_eq!(wanted.apply(change("apps/deployments/default/d", None)), Changed::Nothing);
    }
}
