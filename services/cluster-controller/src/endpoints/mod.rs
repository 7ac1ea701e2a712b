//! Where the pods of each Service are: EndpointSlices, and Endpoints for those who still read them.
//!
//! ```text
//!  Service (selector, ports) ──┐
//!  pods of its namespace ──────┴─> slices.rs (pure) ──> what is not there yet, or another, is written
//! ```
//! Both are owned by their Service, so they go with it.

pub mod slices;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bus::command::{Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::Value;
use store::Item;

use slices::{SERVICE_LABEL, Wanted};

/// The controller.
#[derive(Debug, Default)]
pub struct Endpoints {
    services: BTreeMap<Key, Arc<Service>>,
    /// By namespace, then key.
    pods: HashMap<String, BTreeMap<Key, Arc<Pod>>>,
    /// What is there of each service: the objects that we write, by their key.
    present: HashMap<Key, BTreeMap<Key, Value>>,
    service_of: HashMap<Key, Key>,
}

fn service_key(namespace: &str, name: &str) -> Key {
    Key::object("", "services", namespace, name)
}

// === impl Endpoints ===

impl Endpoints {
    fn put(&mut self, item: &Item) -> Vec<Key> {
        match item.key.resource() {
            "services" => {
                let Some(service) = client::typed::<Service>(&item.key, &item.value) else {
                    return Vec::new();
                };
                self.services.insert(item.key.clone(), Arc::new(service));
                vec![item.key.clone()]
            }
            "pods" => {
                let mut concerned = self.remove(&item.key);
                let Some(pod) = client::typed::<Pod>(&item.key, &item.value) else { return concerned };
                concerned.extend(self.selecting(item.key.namespace(), &pod));
                let namespace = self.pods.entry(item.key.namespace().to_owned()).or_default();
                namespace.insert(item.key.clone(), Arc::new(pod));
                concerned
            }
            _ => self.put_present(item),
        }
    }

    fn put_present(&mut self, item: &Item) -> Vec<Key> {
        let mut concerned = self.remove(&item.key);
        let Some(object) = client::typed::<Value>(&item.key, &item.value) else { return concerned };
        let name = match item.key.resource() {
            "endpoints" => item.key.name(),
            _ => object["metadata"]["labels"][SERVICE_LABEL].as_str().unwrap_or_default(),
        };
        let service = service_key(item.key.namespace(), name);
        self.service_of.insert(item.key.clone(), service.clone());
        self.present.entry(service.clone()).or_default().insert(item.key.clone(), object);
        concerned.push(service);
        concerned
    }

    fn remove(&mut self, key: &Key) -> Vec<Key> {
        match key.resource() {
            "services" => {
                self.services.remove(key);
                Vec::new()
            }
            "pods" => {
                let Some(pods) = self.pods.get_mut(key.namespace()) else { return Vec::new() };
                let gone = pods.remove(key);
                if pods.is_empty() {
                    self.pods.remove(key.namespace());
                }
                gone.map(|pod| self.selecting(key.namespace(), &pod)).unwrap_or_default()
            }
            _ => {
                let Some(service) = self.service_of.remove(key) else { return Vec::new() };
                if let Some(present) = self.present.get_mut(&service) {
                    present.remove(key);
                    if present.is_empty() {
                        self.present.remove(&service);
                    }
                }
                vec![service]
            }
        }
    }

    /// The services of a namespace that select a pod.
    fn selecting(&self, namespace: &str, pod: &Pod) -> Vec<Key> {
        let prefix = Key::prefix("", "services", Some(namespace));
        self.services
            .range(Key::from_raw(&prefix)..)
            .take_while(|(key, _)| key.as_str().starts_with(&prefix))
            .filter(|(_, service)| slices::selects(service, pod))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn write(&self, key: &Key, wanted: &Wanted) -> Option<Write> {
        let (group, plural) = (wanted.group, wanted.plural);
        let resource = Resource::new(group, "v1", plural);
        let namespace = key.namespace().to_owned();
        let object_key = Key::object(group, plural, key.namespace(), &wanted.name);
        let present = self.present.get(key).and_then(|present| present.get(&object_key));
        match present {
            None => Some(Write::Create { resource, namespace, object: wanted.object.to_string().into() }),
            Some(present) if wanted.is(present) => None,
            Some(_) => Some(Write::Update {
                resource,
                namespace,
                name: wanted.name.clone(),
                subresource: String::new(),
                object: wanted.object.to_string().into(),
            }),
        }
    }

    /// Slices of a service that its endpoints no longer fill.
    fn superfluous(&self, key: &Key, wanted: &[Wanted]) -> Vec<Write> {
        let present = self.present.get(key).into_iter().flatten();
        present
            .filter(|(object, value)| {
                object.resource() == "endpointslices"
                    && slices::is_ours(value)
                    && !wanted.iter().any(|one| one.name == object.name())
            })
            .map(|(object, _)| Write::Delete {
                resource: Resource::new(object.group(), "v1", object.resource()),
                namespace: object.namespace().to_owned(),
                name: object.name().to_owned(),
                options: Default::default(),
            })
            .collect()
    }
}

impl Controller for Endpoints {
    type Key = Key;
    const NAME: &'static str = "endpoint-slice-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("", "services"), ("", "pods"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                *self = Endpoints::default();
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
        }
    }

    fn decide(&mut self, key: &Key, _now: Timestamp) -> Decision {
        let Some(service) = self.services.get(key).filter(|one| one.metadata.deletion_timestamp.is_none())
        else {
            return Decision { reason: "the service is gone", ..Decision::default() };
        };
        if slices::selector(service).is_none() {
            return Decision { reason: "its endpoints are somebody else's", ..Decision::default() };
        }
        let nobody = BTreeMap::new();
        let pods = self.pods.get(key.namespace()).unwrap_or(&nobody).values().map(Arc::as_ref);
        let wanted = slices::wanted(service, pods);
        let mut writes: Vec<Write> = wanted.iter().filter_map(|one| self.write(key, one)).collect();
        writes.extend(self.superfluous(key, &wanted));
        Decision { writes, reason: "endpoints follow the pods", ..Decision::default() }
    }
}
