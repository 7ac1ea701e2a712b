//! How pods find this server: the Service `kube-dns`, and an EndpointSlice that leads to it.
//!
//! Each replica keeps a slice of its own; the Endpoints, for those who still read them, name all of them. One that
//! ends in peace takes itself out; one that dies without a word is taken out by the others.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use bus::command::{Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

use crate::replicas::{Replicas, SILENCE};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGED_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "dns.sampan";
const PORT: u16 = 53;
/// The names and protocols of the Service's ports.
const PORTS: [(&str, &str); 2] = [("dns", "UDP"), ("dns-tcp", "TCP")];

/// Keeps the objects.
#[derive(Debug)]
pub struct Announcer {
    cluster_ip: Ipv4Addr,
    server: SocketAddrV4,
    replicas: Replicas,
    service: Option<Value>,
    endpoints: Option<Value>,
    /// By name.
    slices: BTreeMap<String, Value>,
}

// === impl Announcer ===

impl Announcer {
    /// A server that pods reach at `server`, behind the Service's address.
    pub fn new(cluster_ip: Ipv4Addr, server: SocketAddrV4, replicas: Replicas) -> Announcer {
        Announcer { cluster_ip, server, replicas, service: None, endpoints: None, slices: BTreeMap::new() }
    }

    /// Takes this server out.
    pub fn farewell(server: SocketAddrV4) -> Write {
        take_out(&slice_name(server))
    }

    fn note(&mut self, key: &Key, object: Option<Value>) -> Vec<Key> {
        if key.namespace() != NAMESPACE {
            return Vec::new();
        }
        match (key.resource(), key.name()) {
            ("services", NAME) => self.service = object,
            ("endpoints", NAME) => self.endpoints = object,
            ("endpointslices", name) => match object {
                Some(object) if object["metadata"]["labels"][SERVICE_LABEL] == NAME => {
                    self.slices.insert(name.to_owned(), object);
                }
                _ if self.slices.remove(name).is_some() => {}
                _ => return Vec::new(),
            },
            _ => return Vec::new(),
        }
        vec![key_of_all()]
    }

    fn wanted_slice(&self) -> Value {
        let port = |(name, protocol): &(&str, &str)| json!({"name": name, "protocol": protocol, "port": self.server.port()});
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": slice_name(self.server),
                "labels": {SERVICE_LABEL: NAME, MANAGED_LABEL: MANAGER, "k8s-app": NAME},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [self.server.ip().to_string()], "conditions": {"ready": true}}],
            "ports": PORTS.iter().map(port).collect::<Vec<Value>>(),
        })
    }

    /// The slices of other replicas that are dead.
    fn dead(&self, now: Timestamp) -> Vec<&str> {
        let others = self.slices.iter().filter(|(name, _)| **name != slice_name(self.server));
        let is_dead = |slice: &Value| {
            slice["metadata"]["labels"][MANAGED_LABEL] == MANAGER
                && server_of(slice).is_none_or(|server| self.replicas.is_dead(server, now))
        };
        others.filter(|(_, slice)| is_dead(slice)).map(|(name, _)| name.as_str()).collect()
    }

    /// What the slices of those who live say, this server's own among them.
    fn wanted_endpoints(&self, dead: &[&str]) -> Value {
        let own = self.wanted_slice();
        let mut slices = self.slices.clone();
        slices.retain(|name, _| !dead.contains(&name.as_str()));
        slices.insert(slice_name(self.server), own);
        let subset = |slice: &Value| {
            let addresses = slice["endpoints"].as_array().into_iter().flatten();
            let addresses: Vec<Value> =
                addresses.filter_map(|one| Some(json!({"ip": one["addresses"].get(0)?}))).collect();
            json!({"addresses": addresses, "ports": slice["ports"]})
        };
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": NAME, "labels": {"k8s-app": NAME, "endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": slices.values().map(subset).collect::<Vec<Value>>(),
        })
    }

    fn wanted_service(&self) -> Value {
        let port = |(name, protocol): &(&str, &str)| json!({"name": name, "protocol": protocol, "port": PORT, "targetPort": PORT});
        let labels = json!({
            "k8s-app": NAME, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
        });
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "labels": labels},
            "spec": {
                "clusterIP": self.cluster_ip.to_string(), "ports": PORTS.iter().map(port).collect::<Vec<Value>>(),
            },
        })
    }
}

impl Controller for Announcer {
    type Key = Key;
    const NAME: &'static str = "dns";
    const COLLECTIONS: &'static [(&'static str, &'static str)] =
        &[("", "services"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                *self = Announcer::new(self.cluster_ip, self.server, self.replicas.clone());
                Vec::new()
            }
            // Also when nothing is there.
            Observed::Synced => vec![key_of_all()],
            Observed::Put(item) => self.note(&item.key, serde_json::from_slice(&item.value).ok()),
            Observed::Delete { key, .. } => self.note(key, None),
        }
    }

    fn decide(&mut self, _key: &Key, now: Timestamp) -> Decision {
        let dead = self.dead(now);
        let mut writes: Vec<Write> = dead.iter().map(|name| take_out(name)).collect();
        // A Service that is there may have been changed by its owner, the user.
        if self.service.is_none() {
            writes.push(write(("", "services"), &self.wanted_service(), None));
        }
        let slice = self.wanted_slice();
        let present = self.slices.get(&slice_name(self.server));
        if !present.is_some_and(|present| says_the_same(&slice, present, &["endpoints", "ports"])) {
            writes.push(write(("discovery.k8s.io", "endpointslices"), &slice, present));
        }
        let endpoints = self.wanted_endpoints(&dead);
        let present = self.endpoints.as_ref();
        if !present.is_some_and(|present| says_the_same(&endpoints, present, &["subsets"])) {
            writes.push(write(("", "endpoints"), &endpoints, present));
        }
        let reason = if writes.is_empty() { "pods find this server" } else { "pods are to find this server" };
        // Silence makes no change that would be observed.
        let again_after = (self.slices.len() > 1).then_some(SILENCE);
        Decision { writes, reason, again_after, ..Decision::default() }
    }
}

fn take_out(slice: &str) -> Write {
    Write::Delete {
        resource: Resource::new("discovery.k8s.io", "v1", "endpointslices"),
        namespace: NAMESPACE.to_owned(),
        name: slice.to_owned(),
        options: Default::default(),
    }
}

/// The server that a slice leads to.
fn server_of(slice: &Value) -> Option<SocketAddrV4> {
    let address = slice["endpoints"][0]["addresses"][0].as_str()?.parse().ok()?;
    let port = u16::try_from(slice["ports"][0]["port"].as_u64()?).ok()?;
    Some(SocketAddrV4::new(address, port))
}

fn key_of_all() -> Key {
    Key::object("", "services", NAMESPACE, NAME)
}

fn slice_name(server: SocketAddrV4) -> String {
    format!("{NAME}-{}", server.ip().to_string().replace('.', "-"))
}

/// Whether `present` has everything that these fields of `wanted` say; the server may have added to it.
fn says_the_same(wanted: &Value, present: &Value, fields: &[&str]) -> bool {
    fields.iter().all(|field| is_within(&wanted[*field], &present[*field]))
}

fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), whole) => part.iter().all(|(name, value)| is_within(value, &whole[name])),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_within(part, whole))
        }
        (part, whole) => part == whole,
    }
}

fn write((group, plural): (&str, &str), object: &Value, present: Option<&Value>) -> Write {
    let (resource, namespace) = (Resource::new(group, "v1", plural), NAMESPACE.to_owned());
    match present {
        None => Write::Create { resource, namespace, object: object.to_string().into() },
        Some(present) => {
            // Another replica may have been faster: then this one looks again.
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let object = object.to_string().into();
            Write::Update { resource, namespace, name, subresource: String::new(), object }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Revision;
    use store::Item;

    use super::*;

    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, 1), 5353);

    fn announcer() -> Announcer {
        Announcer::new(Ipv4Addr::new(10, 96, 0, 10), SERVER, Replicas::new(Timestamp::UNIX_EPOCH))
    }

    fn decide(announcer: &mut Announcer) -> Vec<Write> {
        announcer.decide(&key_of_all(), Timestamp::UNIX_EPOCH).writes
    }

    fn other(announcer: &Announcer) -> Announcer {
        let server = SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, 2), 53);
        Announcer::new(announcer.cluster_ip, server, announcer.replicas.clone())
    }

    /// What the API server would store of these writes, back to who wrote them.
    fn stored(announcer: &mut Announcer, writes: Vec<Write>) {
        for write in writes {
            let (resource, object) = match write {
                Write::Create { resource, object, .. } | Write::Update { resource, object, .. } => {
                    (resource, object)
                }
                other => panic!("{other:?}"),
            };
            let mut value: Value = serde_json::from_slice(&object).unwrap();
            value["metadata"]["resourceVersion"] = json!("7");
            value["metadata"]["uid"] = json!("u");
            let name = value["metadata"]["name"].as_str().unwrap().to_owned();
            let item = Item {
                key: Key::object(&resource.group, &resource.plural, NAMESPACE, &name),
                revision: Revision(7),
                created: Revision(7),
                value: value.to_string().into(),
            };
            announcer.observe(&Observed::Put(item));
        }
    }

    #[test]
    fn everything_is_made_once_and_kept() {
        let mut announcer = announcer();
        assert_eq!(announcer.observe(&Observed::Synced), [key_of_all()]);
        let writes = decide(&mut announcer);
        assert_eq!(writes.len(), 3);
        stored(&mut announcer, writes);
        assert!(decide(&mut announcer).is_empty());
        let gone = Key::object("discovery.k8s.io", "endpointslices", NAMESPACE, "kube-dns-10-88-0-1");
        assert_eq!(announcer.note(&gone, None), [key_of_all()]);
        assert!(matches!(decide(&mut announcer).as_slice(), [Write::Create { .. }]));
    }

    #[test]
    fn endpoints_name_every_replica() {
        let mut announcer = announcer();
        let writes = decide(&mut announcer);
        stored(&mut announcer, writes);
        let mut other = other(&announcer);
        let slice = write(("discovery.k8s.io", "endpointslices"), &other.wanted_slice(), None);
        stored(&mut announcer, vec![slice]);
        let writes = decide(&mut announcer);
        let [Write::Update { object, .. }] = writes.as_slice() else { panic!("{writes:?}") };
        let endpoints: Value = serde_json::from_slice(object).unwrap();
        assert_eq!(endpoints["subsets"].as_array().map(Vec::len), Some(2));
        assert_eq!(endpoints["subsets"][1]["addresses"][0]["ip"], "10.88.0.2");
        // Nothing of other services.
        let key = Key::object("", "services", "default", NAME);
        assert!(other.note(&key, Some(json!({}))).is_empty());
    }

    #[test]
    fn a_replica_that_is_silent_is_taken_out() {
        let mut announcer = announcer();
        let writes = decide(&mut announcer);
        stored(&mut announcer, writes);
        let other = other(&announcer);
        let slice = write(("discovery.k8s.io", "endpointslices"), &other.wanted_slice(), None);
        stored(&mut announcer, vec![slice]);
        let writes = decide(&mut announcer);
        stored(&mut announcer, writes);

        let late = Timestamp::from_second(60).unwrap();
        announcer.replicas.hear(other.server, late);
        assert!(announcer.decide(&key_of_all(), late).writes.is_empty(), "it lives");
        let later = Timestamp::from_second(90).unwrap();
        let decision = announcer.decide(&key_of_all(), later);
        let [Write::Delete { name, .. }, Write::Update { object, .. }] = decision.writes.as_slice() else {
            panic!("{decision:?}")
        };
        assert_eq!(name, "kube-dns-10-88-0-2");
        let endpoints: Value = serde_json::from_slice(object).unwrap();
        assert_eq!(endpoints["subsets"].as_array().map(Vec::len), Some(1));
        assert!(decision.again_after.is_some());
    }
}
