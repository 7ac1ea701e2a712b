//! PURE: what is known of Services and where their endpoints are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bus::node::Wanted;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use model::Key;
use serde::de::DeserializeOwned;
use tracing::warn;

/// What a packet is carried by. Others are not balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// A Service as far as the network carries it out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// Its address in the cluster.
    pub cluster_ip: Option<Ipv4Addr>,
    /// Addresses from outside: `externalIPs`, and those that a load balancer gave it.
    pub external_ips: Vec<Ipv4Addr>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// A client stays with its endpoint for so many seconds after it was last heard.
    pub affinity: Option<u32>,
    /// Clients in the cluster get endpoints of their own node only.
    pub internal_local: bool,
    /// Clients outside get endpoints of the node that they asked only, and are seen with their own addresses.
    pub external_local: bool,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name, by which slices say where it leads.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number at the Service's addresses.
    pub port: u16,
    /// Its number at every node's addresses.
    pub node_port: Option<u16>,
}

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Name, protocol and number of each port at these endpoints.
    pub ports: Vec<(String, Protocol, u16)>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One of a Service's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Ipv4Addr,
    /// It takes new connections.
    pub is_ready: bool,
    /// It is about to end and still answers: better than nobody.
    pub is_last_resort: bool,
    /// It is on this node.
    pub is_local: bool,
}

/// Everything that is known, and which Services have changed since last asked.
#[derive(Debug)]
pub struct View {
    node: String,
    services: BTreeMap<String, Service>,
    slices: BTreeMap<Key, Slice>,
    /// The slices of each Service.
    slices_of: HashMap<String, BTreeSet<Key>>,
    changed: BTreeSet<String>,
}

/// Upstream's default for a Service that asks for affinity without saying how long.
const AFFINITY_SECONDS: u32 = 10_800;

// === impl View ===

impl View {
    /// Nothing known yet, on this node.
    pub fn new(node: &str) -> View {
        View {
            node: node.to_owned(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            slices_of: HashMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// What was known is forgotten, and this is everything.
    pub fn reset(&mut self, objects: &[Wanted]) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(std::mem::take(&mut self.services).into_keys());
        *self = View { changed, ..View::new(&self.node) };
        for object in objects {
            self.apply(object);
        }
    }

    /// Takes in one change; of anything else it knows nothing.
    pub fn apply(&mut self, change: &Wanted) {
        let key = Key::from_raw(&change.key);
        match (key.group(), key.resource()) {
            ("", "services") => self.put_service(&key, change.object.as_deref()),
            ("discovery.k8s.io", "endpointslices") => self.put_slice(key, change.object.as_deref()),
            _ => {}
        }
    }

    /// The Services of which something changed since this was last asked, by `namespace/name`.
    pub fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    /// A Service and its slices.
    pub fn service(&self, name: &str) -> Option<(&Service, Vec<&Slice>)> {
        let slices = self.slices_of.get(name).into_iter().flatten();
        Some((self.services.get(name)?, slices.filter_map(|key| self.slices.get(key)).collect()))
    }

    fn put_service(&mut self, key: &Key, json: Option<&[u8]>) {
        let name = format!("{}/{}", key.namespace(), key.name());
        match json {
            None => drop(self.services.remove(&name)),
            Some(json) => {
                let Some(object) = read::<core::Service>(key, json) else { return };
                self.services.insert(name.clone(), Service::read(&object));
            }
        }
        self.changed.insert(name);
    }

    fn put_slice(&mut self, key: Key, json: Option<&[u8]>) {
        let slice = match json {
            None => None,
            Some(json) => {
                let Some(object) = read::<discovery::EndpointSlice>(&key, json) else { return };
                Slice::read(&object, key.namespace(), &self.node)
            }
        };
        if let Some(old) = self.slices.remove(&key) {
            if let Some(keys) = self.slices_of.get_mut(&old.service) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.slices_of.remove(&old.service);
                }
            }
            self.changed.insert(old.service);
        }
        if let Some(slice) = slice {
            self.changed.insert(slice.service.clone());
            self.slices_of.entry(slice.service.clone()).or_default().insert(key.clone());
            self.slices.insert(key, slice);
        }
    }
}

/// An object that cannot be read is passed over: its last readable form stays in force.
fn read<T: DeserializeOwned>(key: &Key, json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).inspect_err(|error| warn!(%key, "cannot be read: {error}")).ok()
}

// === impl Service ===

impl Service {
    /// Takes what is needed from the object.
    pub fn read(object: &core::Service) -> Service {
        let Some(spec) = &object.spec else { return Service::default() };
        let ingress = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = ingress.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
        let external =
            spec.external_ips.iter().flatten().cloned().chain(ingress.filter_map(|one| one.ip.clone()));
        let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds =
            config.and_then(|config| config.timeout_seconds).and_then(|some| u32::try_from(some).ok());
        let has_affinity = spec.session_affinity.as_deref() == Some("ClientIP");
        Service {
            cluster_ip: spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()),
            external_ips: external.filter_map(|ip| ip.parse().ok()).collect(),
            ports: spec.ports.iter().flatten().filter_map(Port::read).collect(),
            affinity: has_affinity.then_some(seconds.unwrap_or(AFFINITY_SECONDS)),
            internal_local: is_local(&spec.internal_traffic_policy),
            external_local: is_local(&spec.external_traffic_policy),
        }
    }
}

// === impl Port ===

impl Port {
    fn read(port: &core::ServicePort) -> Option<Port> {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: Protocol::read(port.protocol.as_deref())?,
            port: number(port.port)?,
            node_port: port.node_port.and_then(number),
        })
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

// === impl Slice ===

impl Slice {
    /// Takes what is needed from the object; `None` for one that belongs to no Service.
    fn read(object: &discovery::EndpointSlice, namespace: &str, node: &str) -> Option<Slice> {
        let service = object.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
        let port = |port: &discovery::EndpointPort| {
            let name = port.name.clone().unwrap_or_default();
            Some((name, Protocol::read(port.protocol.as_deref())?, number(port.port?)?))
        };
        Some(Slice {
            service: format!("{namespace}/{service}"),
            ports: object.ports.iter().flatten().filter_map(port).collect(),
            endpoints: object.endpoints.iter().filter_map(|one| Endpoint::read(one, node)).collect(),
        })
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn read(object: &discovery::Endpoint, node: &str) -> Option<Endpoint> {
        let conditions = object.conditions.as_ref();
        // A condition that nobody states holds, but that of ending.
        let is_ready = conditions.and_then(|all| all.ready).unwrap_or(true);
        let is_serving = conditions.and_then(|all| all.serving).unwrap_or(is_ready);
        let is_ending = conditions.and_then(|all| all.terminating).unwrap_or(false);
        Some(Endpoint {
            address: object.addresses.first()?.parse().ok()?,
            is_ready,
            is_last_resort: is_serving && is_ending,
            is_local: object.node_name.as_deref() == Some(node),
        })
    }
}

// === impl Protocol ===

impl Protocol {
    fn read(name: Option<&str>) -> Option<Protocol> {
        match name {
            None | Some("" | "TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some("SCTP") => Some(Protocol::Sctp),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn put(key: &str, object: &Value) -> Wanted {
        Wanted { key: key.to_owned(), object: Some(object.to_string().into()) }
    }

    fn service(address: &str) -> Wanted {
        put("core/services/d/web", &json!({"spec": {"clusterIP": address, "ports": [{"port": 80}]}}))
    }

    fn slice(service: &str) -> Wanted {
        let object = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "n1"},
                {"addresses": ["10.0.0.2"], "nodeName": "n2",
                 "conditions": {"ready": false, "serving": true, "terminating": true}},
            ],
        });
        put("discovery.k8s.io/endpointslices/d/web-x", &object)
    }

    fn changed(view: &mut View) -> Vec<String> {
        view.take_changed().into_iter().collect()
    }

    #[test]
    fn a_service_changes_with_its_slices() {
        let mut view = View::new("n1");
        view.reset(&[service("10.96.0.7"), slice("web")]);
        assert_eq!(changed(&mut view), ["d/web"]);
        let (web, slices) = view.service("d/web").unwrap();
        assert_eq!(web.cluster_ip, Some(Ipv4Addr::new(10, 96, 0, 7)));
        let places: Vec<(bool, bool, bool)> =
            slices[0].endpoints.iter().map(|one| (one.is_ready, one.is_last_resort, one.is_local)).collect();
        assert_eq!(places, [(true, false, true), (false, true, false)]);

        // It moves to another Service: both have changed.
        view.apply(&slice("other"));
        assert_eq!(changed(&mut view), ["d/other", "d/web"]);
        assert!(view.service("d/web").unwrap().1.is_empty());
        view.apply(&Wanted { key: "core/services/d/web".to_owned(), object: None });
        assert!(view.service("d/web").is_none());
    }

    #[test]
    fn what_a_new_snapshot_does_not_hold_has_changed_too() {
        let mut view = View::new("n1");
        view.reset(&[service("10.96.0.7")]);
        view.take_changed();
        view.reset(&[]);
        assert_eq!(changed(&mut view), ["d/web"]);
        assert!(view.service("d/web").is_none());
    }

    #[test]
    fn affinity_and_policies_are_read_with_their_defaults() {
        let read = |spec: Value| {
            let object: core::Service = serde_json::from_value(json!({"spec": spec})).unwrap();
            Service::read(&object)
        };
        assert_eq!(read(json!({"sessionAffinity": "None"})).affinity, None);
        assert_eq!(read(json!({"sessionAffinity": "ClientIP"})).affinity, Some(10_800));
        let own = json!({
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
            "externalTrafficPolicy": "Local",
        });
        let own = read(own);
        assert_eq!((own.affinity, own.external_local, own.internal_local), (Some(5), true, false));
    }
}
