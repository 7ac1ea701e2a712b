//! What every node that carries out Services needs to know: all Services and EndpointSlices, and where the other nodes
//! and their pods are, cut down to that.
//!
//! Most changes of these objects concern no node (a status, a label, who manages which field). Cut down, the object
//! before and after is the same, and nobody is told.

use std::collections::BTreeMap;

use bus::node::Wanted;
use bytes::Bytes;
use model::Key;
use serde_json::{Map, Value};
use store::{Change, Item};

/// Group and plural of what is told.
pub const COLLECTIONS: [(&str, &str); 3] =
    [("", "services"), ("discovery.k8s.io", "endpointslices"), ("", "nodes")];

/// A slice says with it whose endpoints it holds.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Found by DNS alone: no node has anything to do for them.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Names another proxy that is to carry out the Service.
const PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Of a Service, what is asked of the network; names and ports also become environment variables of pods.
const SERVICE_FIELDS: [&str; 8] = [
    "type",
    "clusterIP",
    "externalIPs",
    "ports",
    "sessionAffinity",
    "sessionAffinityConfig",
    "externalTrafficPolicy",
    "internalTrafficPolicy",
];
const SLICE_FIELDS: [&str; 2] = ["addressType", "ports"];
const ENDPOINT_FIELDS: [&str; 3] = ["addresses", "conditions", "nodeName"];

/// The objects as of the last change applied.
#[derive(Debug, Default)]
pub struct Services {
    objects: BTreeMap<Key, Bytes>,
}

// === impl Services ===

impl Services {
    /// From everything that is there at one moment.
    pub fn new(items: impl IntoIterator<Item = Item>) -> Services {
        let cut = |item: Item| cut_down(&item).map(|bytes| (item.key, bytes));
        Services { objects: items.into_iter().filter_map(cut).collect() }
    }

    /// Everything, as a new session is told: Services first, by the order of the keys.
    pub fn all(&self) -> impl Iterator<Item = Wanted> {
        self.objects.iter().map(|(key, bytes)| Wanted { key: key.to_string(), object: Some(bytes.clone()) })
    }

    /// Takes in a change; returns what it is to those who hear of Services, if anything.
    pub fn apply(&mut self, change: &Change) -> Option<Wanted> {
        let after = match change {
            Change::Put { item, .. } => cut_down(item),
            Change::Delete { .. } => None,
        };
        let key = change.key();
        let before = match &after {
            Some(bytes) => self.objects.insert(key.clone(), bytes.clone()),
            None => self.objects.remove(key),
        };
        (before != after).then(|| Wanted { key: key.to_string(), object: after })
    }
}

/// Whether a key is of an object that is told here.
pub fn concerns(key: &Key) -> bool {
    COLLECTIONS.contains(&(key.group(), key.resource()))
}

/// The object without what no node needs; `None` for one that no node needs at all.
fn cut_down(item: &Item) -> Option<Bytes> {
    let object: Value = serde_json::from_slice(&item.value).ok()?;
    let labels = &object["metadata"]["labels"];
    let cut = match item.key.resource() {
        "services" => {
            let address = object["spec"]["clusterIP"].as_str().unwrap_or_default();
            if matches!(address, "" | "None") || !labels[PROXY_LABEL].is_null() {
                return None;
            }
            service(&object)
        }
        "nodes" => node(&object)?,
        _ => {
            let is_headless = !labels[HEADLESS_LABEL].is_null();
            if is_headless || labels[SERVICE_LABEL].is_null() || object["addressType"] != "IPv4" {
                return None;
            }
            slice(&object)
        }
    };
    Some(Bytes::from(cut.to_string()))
}

fn service(object: &Value) -> Value {
    let mut cut = Map::new();
    cut.insert("metadata".to_owned(), names(object));
    cut.insert("spec".to_owned(), some(&object["spec"], &SERVICE_FIELDS));
    let balancer = &object["status"]["loadBalancer"];
    if balancer["ingress"].is_array() {
        cut.insert("status".to_owned(), serde_json::json!({"loadBalancer": balancer}));
    }
    Value::Object(cut)
}

/// How its pods are reached; nothing while they have no addresses.
fn node(object: &Value) -> Option<Value> {
    object["spec"]["podCIDR"].as_str().filter(|range| !range.is_empty())?;
    let mut addresses = object["status"]["addresses"].as_array()?.clone();
    addresses.retain(|address| address["type"] == "InternalIP");
    let spec = some(&object["spec"], &["podCIDR"]);
    Some(serde_json::json!({"metadata": names(object), "spec": spec, "status": {"addresses": addresses}}))
}

fn slice(object: &Value) -> Value {
    let mut cut = some(object, &SLICE_FIELDS);
    let endpoints = object["endpoints"].as_array();
    cut["endpoints"] = endpoints.into_iter().flatten().map(|one| some(one, &ENDPOINT_FIELDS)).collect();
    cut["metadata"] = names(object);
    cut["metadata"]["labels"] = some(&object["metadata"]["labels"], &[SERVICE_LABEL]);
    cut
}

fn names(object: &Value) -> Value {
    some(&object["metadata"], &["name", "namespace"])
}

/// These fields of an object, as far as it has them.
fn some(object: &Value, fields: &[&str]) -> Value {
    let has = |field: &&str| Some(((*field).to_owned(), object.get(*field)?.clone()));
    Value::Object(fields.iter().filter_map(has).collect())
}

#[cfg(test)]
mod tests {
    use model::Revision;
    use serde_json::json;

    use super::*;

    fn item(group: &str, plural: &str, object: Value) -> Item {
        Item {
            key: Key::object(group, plural, "d", "web"),
            revision: Revision(1),
            created: Revision(1),
            value: Bytes::from(object.to_string()),
        }
    }

    fn service(address: &str, label: &str) -> Item {
        let object = json!({
            "metadata": {"name": "web", "namespace": "d", "labels": {"app": label}, "resourceVersion": "7"},
            "spec": {"clusterIP": address, "selector": {"app": "web"}, "ports": [{"port": 80}]},
            "status": {"loadBalancer": {}},
        });
        item("", "services", object)
    }

    fn put(item: Item) -> Change {
        Change::Put { item, previous: None }
    }

    fn text(wanted: Option<Wanted>) -> Option<Value> {
        serde_json::from_slice(&wanted?.object?).ok()
    }

    #[test]
    fn a_service_is_told_without_what_no_node_needs() {
        let mut services = Services::default();
        let told = text(services.apply(&put(service("10.96.0.7", "a"))));
        let expected = json!({
            "metadata": {"name": "web", "namespace": "d"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]},
        });
        assert_eq!(told, Some(expected));
        // A label concerns no node.
        assert!(services.apply(&put(service("10.96.0.7", "b"))).is_none());
        assert!(services.apply(&put(service("10.96.0.8", "b"))).is_some());
        assert_eq!(services.all().count(), 1);
    }

    #[test]
    fn services_without_an_address_are_for_dns_alone() {
        let mut services = Services::new([service("10.96.0.7", "a")]);
        let told = services.apply(&put(service("None", "a")));
        assert!(told.is_some_and(|wanted| wanted.object.is_none()), "it is gone for the nodes");
        assert!(services.apply(&put(service("None", "b"))).is_none());
        assert_eq!(services.all().count(), 0);
    }

    #[test]
    fn a_node_is_told_once_its_pods_have_addresses_and_then_only_when_those_change() {
        let node = |range: &str, heard: &str| {
            let addresses =
                json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.1"}]);
            let conditions = json!([{"type": "Ready", "lastHeartbeatTime": heard}]);
            let status = json!({"addresses": addresses, "conditions": conditions});
            put(item(
                "",
                "nodes",
                json!({"metadata": {"name": "n"}, "spec": {"podCIDR": range}, "status": status}),
            ))
        };
        let mut services = Services::default();
        assert!(services.apply(&node("", "1")).is_none());
        let told = text(services.apply(&node("10.244.0.0/24", "2")));
        let expected = json!({
            "metadata": {"name": "n"},
            "spec": {"podCIDR": "10.244.0.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        });
        assert_eq!(told, Some(expected));
        assert!(services.apply(&node("10.244.0.0/24", "3")).is_none());
    }

    #[test]
    fn a_slice_is_told_with_its_service_and_where_its_endpoints_are() {
        let object = |label: &str| {
            json!({
                "metadata": {"name": "web-x", "namespace": "d", "labels": {label: "web", "more": "y"}},
                "addressType": "IPv4", "ports": [{"port": 8080}],
                "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n1", "targetRef": {"kind": "Pod"}}],
            })
        };
        let mut services = Services::default();
        let slice = |label| put(item("discovery.k8s.io", "endpointslices", object(label)));
        let told = text(services.apply(&slice(SERVICE_LABEL))).unwrap();
        assert_eq!(told["metadata"]["labels"], json!({SERVICE_LABEL: "web"}));
        assert_eq!(told["endpoints"], json!([{"addresses": ["10.0.0.1"], "nodeName": "n1"}]));
        assert!(services.apply(&slice("other")).is_some_and(|wanted| wanted.object.is_none()));
    }
}
