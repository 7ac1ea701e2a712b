//! Pods, config maps and secrets for tests.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use serde_json::{Value, json};

use super::References;
use crate::settings::{Allocatable, Paths, Resolver, Settings};

/// Config maps, secrets, claims and volumes of the namespace `default`.
#[derive(Default)]
pub struct Objects {
    config_maps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    volumes: BTreeMap<String, PersistentVolume>,
    services: BTreeMap<String, Service>,
}

impl Objects {
    /// With a key in a config map.
    pub fn config_map(mut self, name: &str, key: &str, value: &str) -> Self {
        let map = self.config_maps.entry(name.to_owned()).or_default();
        map.data.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// With a key in a secret.
    pub fn secret(mut self, name: &str, key: &str, value: &str) -> Self {
        let secret = self.secrets.entry(name.to_owned()).or_default();
        secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        self
    }
}

impl Objects {
    /// With a claim.
    pub fn claim(mut self, name: &str, claim: Value) -> Self {
        self.claims.insert(name.to_owned(), serde_json::from_value(claim).unwrap());
        self
    }

    /// With a volume.
    pub fn volume(mut self, name: &str, volume: Value) -> Self {
        self.volumes.insert(name.to_owned(), serde_json::from_value(volume).unwrap());
        self
    }

    /// With a Service.
    pub fn service(mut self, name: &str, address: &str, ports: Value) -> Self {
        let object = json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": ports}});
        self.services.insert(name.to_owned(), serde_json::from_value(object).unwrap());
        self
    }
}

impl References for Objects {
    fn config_map(&self, _: &str, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)
    }

    fn secret(&self, _: &str, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    fn claim(&self, _: &str, name: &str) -> Option<&PersistentVolumeClaim> {
        self.claims.get(name)
    }

    fn volume(&self, name: &str) -> Option<&PersistentVolume> {
        self.volumes.get(name)
    }

    fn services(&self, _: &str) -> Vec<&Service> {
        self.services.values().collect()
    }
}

/// The pod `default/web` with uid `u1` and this spec; a container `main` of image `app:1` when it names none.
pub fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "main", "image": "app:1"}]);
    }
    let pod = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "web"}},
        "spec": spec,
    });
    serde_json::from_value(pod).unwrap()
}

/// A node called `node-1`.
pub fn settings() -> Settings {
    Settings {
        node_name: "node-1".to_owned(),
        node_ips: vec!["192.0.2.1".to_owned()],
        resolver: Resolver { host_servers: vec!["192.0.2.53".to_owned()], ..Default::default() },
        hosts_file: "127.0.0.1 localhost\n".to_owned(),
        allocatable: Allocatable { cpu_milli: 2000, memory: 4 << 30, ephemeral_storage: 10 << 30 },
        paths: Paths::new(std::path::Path::new("/agent")),
    }
}
