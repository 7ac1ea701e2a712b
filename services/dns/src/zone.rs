//! PURE: the names of the cluster's Services and pods, and what they say.
//!
//! ```text
//!  Services ───────┬─> <service>.<namespace>.svc.<zone>              its address, or those of all its endpoints
//!  EndpointSlices ─┤   <endpoint>.<service>.<namespace>.svc.<zone>   one endpoint
//!                  │   _<port>._<protocol>.<service>.<…>             which port, at which of these names
//!  Namespaces ─────┴─> <1-2-3-4>.<namespace>.pod.<zone>              that address
//! ```
//! and back from addresses to names. Names are lower case and without the last dot.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use client::Observed;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use model::Key;
use store::Item;

/// What this service follows.
pub const COLLECTIONS: [(&str, &str); 3] =
    [("", "namespaces"), ("", "services"), ("discovery.k8s.io", "endpointslices")];

/// The version of the scheme of these names.
const SCHEME: &str = "1.1.0";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// Ports and where they are.
    Srv,
    /// The name of an address.
    Ptr,
    /// Text.
    Txt,
    /// Something that no name here has.
    Other,
}

/// What a name says.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// An address.
    Address(Ipv4Addr),
    /// A port at another name, with the address of that.
    Port {
        /// The name.
        target: String,
        /// The port.
        port: u16,
        /// Its address.
        address: Ipv4Addr,
    },
    /// A name.
    Name(String),
    /// Text.
    Text(String),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The name is there; this is what it says of what was asked for, perhaps nothing.
    Data(Vec<Data>),
    /// The name stands for another.
    Alias(String),
    /// There is no such name.
    NoName,
    /// It is somebody else's name.
    NotOurs,
}

/// A Service.
#[derive(Clone, Debug, PartialEq)]
enum Service {
    /// With an address of its own.
    Address { address: Ipv4Addr, ports: Vec<Port> },
    /// Found by its endpoints.
    Headless,
    /// Another name.
    Alias(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: u16,
}

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq)]
struct Slice {
    service: Name,
    ports: Vec<Port>,
    /// Those that are ready: label and address.
    endpoints: Vec<(String, Ipv4Addr)>,
}

/// Namespace and name of a Service.
type Name = (String, String);

/// Everything that there is, kept by its changes.
#[derive(Debug)]
pub struct Zone {
    origin: String,
    serial: u32,
    namespaces: HashSet<String>,
    services: HashMap<Name, Service>,
    slices: HashMap<Key, Slice>,
    slices_of: HashMap<Name, BTreeSet<Key>>,
    services_at: HashMap<Ipv4Addr, Name>,
    /// Slices with an endpoint at an address.
    slices_at: HashMap<Ipv4Addr, BTreeSet<Key>>,
}

// === impl Zone ===

impl Zone {
    /// Without any name but its own, as `cluster.local`.
    pub fn new(origin: &str) -> Zone {
        Zone {
            origin: origin.trim_end_matches('.').to_lowercase(),
            serial: 1,
            namespaces: HashSet::new(),
            services: HashMap::new(),
            slices: HashMap::new(),
            slices_of: HashMap::new(),
            services_at: HashMap::new(),
            slices_at: HashMap::new(),
        }
    }

    /// The zone's own name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Counts the changes.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Takes in a change.
    pub fn apply(&mut self, observed: &Observed) {
        self.serial = self.serial.wrapping_add(1);
        match observed {
            Observed::Reset => *self = Zone { serial: self.serial, ..Zone::new(&self.origin) },
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
            Observed::Synced => {}
        }
    }

    /// What `name` says of `kind`.
    pub fn ask(&self, name: &str, kind: Kind) -> Found {
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse(reversed, kind);
        }
        let Some(below) = name.strip_suffix(&self.origin) else { return Found::NotOurs };
        if below.is_empty() {
            return Found::Data(Vec::new());
        }
        let Some(below) = below.strip_suffix('.') else { return Found::NotOurs };
        let mut labels: Vec<&str> = below.split('.').collect();
        // The most general first.
        labels.reverse();
        match labels.as_slice() {
            ["dns-version"] => Found::only(kind, Kind::Txt, Data::Text(SCHEME.to_owned())),
            ["svc" | "pod"] => Found::Data(Vec::new()),
            ["svc" | "pod", namespace] if self.namespaces.contains(*namespace) => Found::Data(Vec::new()),
            ["svc", namespace, service, inner @ ..] => self.service(namespace, service, inner, kind),
            ["pod", namespace, address] if self.namespaces.contains(*namespace) => match dashed(address) {
                Some(address) => Found::only(kind, Kind::A, Data::Address(address)),
                None => Found::NoName,
            },
            _ => Found::NoName,
        }
    }

    /// What a name at or below a Service's says.
    fn service(&self, namespace: &str, service: &str, inner: &[&str], kind: Kind) -> Found {
        let name = (namespace.to_owned(), service.to_owned());
        match (self.services.get(&name), inner) {
            (None, _) => Found::NoName,
            (Some(Service::Alias(target)), []) => Found::Alias(target.clone()),
            (Some(Service::Alias(_)), _) => Found::NoName,
            (Some(Service::Address { address, ports }), []) => match kind {
                Kind::A => Found::Data(vec![Data::Address(*address)]),
                Kind::Srv => {
                    let at = |port: &Port| self.port(&name, None, port.number, *address);
                    Found::Data(ports.iter().map(at).collect())
                }
                _ => Found::Data(Vec::new()),
            },
            (Some(Service::Headless), []) => match kind {
                Kind::A => self.addresses(&name, |_| true),
                Kind::Srv => Found::Data(self.ports(&name, |_| true)),
                _ => Found::Data(Vec::new()),
            },
            (Some(service), [protocol]) if protocol.starts_with('_') => {
                let has = |port: &Port| is_named(protocol, &port.protocol);
                match service {
                    Service::Address { ports, .. } if ports.iter().any(has) => Found::Data(Vec::new()),
                    Service::Headless if !self.ports(&name, has).is_empty() => Found::Data(Vec::new()),
                    _ => Found::NoName,
                }
            }
            (Some(_), [label]) => match self.addresses(&name, |one| one == *label) {
                Found::Data(data) if data.is_empty() => Found::NoName,
                Found::Data(data) if kind == Kind::A => Found::Data(data),
                _ => Found::Data(Vec::new()),
            },
            (Some(service), [protocol, port]) => {
                let is_it = |one: &Port| is_named(protocol, &one.protocol) && is_named(port, &one.name);
                let found = match service {
                    Service::Address { address, ports } => {
                        let at = |port: &Port| self.port(&name, None, port.number, *address);
                        ports.iter().filter(|port| is_it(port)).map(at).collect()
                    }
                    _ => self.ports(&name, is_it),
                };
                match (found.is_empty(), kind) {
                    (true, _) => Found::NoName,
                    (false, Kind::Srv) => Found::Data(found),
                    (false, _) => Found::Data(Vec::new()),
                }
            }
            _ => Found::NoName,
        }
    }

    /// The addresses of a Service's endpoints whose label is wanted, each once.
    fn addresses(&self, service: &Name, wanted: impl Fn(&str) -> bool) -> Found {
        let endpoints = self.slices_of(service).flat_map(|slice| &slice.endpoints);
        let addresses: BTreeSet<Ipv4Addr> =
            endpoints.filter(|(label, _)| wanted(label)).map(|(_, address)| *address).collect();
        Found::Data(addresses.into_iter().map(Data::Address).collect())
    }

    /// The wanted ports at each of a Service's endpoints.
    fn ports(&self, service: &Name, wanted: impl Fn(&Port) -> bool) -> Vec<Data> {
        let mut found = BTreeMap::new();
        for slice in self.slices_of(service) {
            for port in slice.ports.iter().filter(|port| wanted(port)) {
                for (label, address) in &slice.endpoints {
                    found.insert((label.as_str(), port.number), *address);
                }
            }
        }
        let at = |((label, number), address)| self.port(service, Some(label), number, address);
        found.into_iter().map(at).collect()
    }

    fn port(&self, service: &Name, label: Option<&str>, port: u16, address: Ipv4Addr) -> Data {
        Data::Port { target: self.name_of(service, label), port, address }
    }

    fn name_of(&self, (namespace, service): &Name, label: Option<&str>) -> String {
        match label {
            Some(label) => format!("{label}.{service}.{namespace}.svc.{}", self.origin),
            None => format!("{service}.{namespace}.svc.{}", self.origin),
        }
    }

    fn slices_of(&self, service: &Name) -> impl Iterator<Item = &Slice> {
        self.slices_of.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key))
    }

    /// From an address to names: the Service's, or those of endpoints that have names by themselves.
    fn reverse(&self, reversed: &str, kind: Kind) -> Found {
        let octets: Vec<&str> = reversed.split('.').rev().collect();
        let Some(address) = octets.join(".").parse::<Ipv4Addr>().ok() else { return Found::NotOurs };
        let mut names = Vec::new();
        if let Some(service) = self.services_at.get(&address) {
            names.push(self.name_of(service, None));
        }
        for slice in self.slices_at.get(&address).into_iter().flatten().filter_map(|key| self.slices.get(key))
        {
            if self.services.get(&slice.service) == Some(&Service::Headless) {
                let here = slice.endpoints.iter().filter(|(_, one)| *one == address);
                names.extend(here.map(|(label, _)| self.name_of(&slice.service, Some(label))));
            }
        }
        names.sort();
        names.dedup();
        match (names.is_empty(), kind) {
            // Of addresses that are not ours somebody else may know a name.
            (true, _) => Found::NotOurs,
            (false, Kind::Ptr) => Found::Data(names.into_iter().map(Data::Name).collect()),
            (false, _) => Found::Data(Vec::new()),
        }
    }

    fn put(&mut self, item: &Item) {
        self.remove(&item.key);
        let key = &item.key;
        let name = (key.namespace().to_owned(), key.name().to_owned());
        match key.resource() {
            "namespaces" => drop(self.namespaces.insert(key.name().to_owned())),
            "services" => {
                let object = client::typed::<core::Service>(key, &item.value);
                let Some(service) = object.as_ref().and_then(Service::read) else { return };
                if let Service::Address { address, .. } = &service {
                    self.services_at.insert(*address, name.clone());
                }
                self.services.insert(name, service);
            }
            "endpointslices" => {
                let object = client::typed::<discovery::EndpointSlice>(key, &item.value);
                let Some(slice) = object.and_then(|object| Slice::read(&object, key.namespace())) else {
                    return;
                };
                for (_, address) in &slice.endpoints {
                    self.slices_at.entry(*address).or_default().insert(key.clone());
                }
                self.slices_of.entry(slice.service.clone()).or_default().insert(key.clone());
                self.slices.insert(key.clone(), slice);
            }
            _ => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        let name = (key.namespace().to_owned(), key.name().to_owned());
        match key.resource() {
            "namespaces" => drop(self.namespaces.remove(key.name())),
            "services" => {
                if let Some(Service::Address { address, .. }) = self.services.remove(&name)
                    && self.services_at.get(&address) == Some(&name)
                {
                    self.services_at.remove(&address);
                }
            }
            "endpointslices" => {
                let Some(slice) = self.slices.remove(key) else { return };
                forget(&mut self.slices_of, &slice.service, key);
                for (_, address) in &slice.endpoints {
                    forget(&mut self.slices_at, address, key);
                }
            }
            _ => {}
        }
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<Key>>, at: &K, key: &Key) {
    if let Some(keys) = map.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(at);
        }
    }
}

/// `1-2-3-4`
fn dashed(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}

/// Whether a label as `_tcp` names it; a port without a name has none.
fn is_named(label: &str, name: &str) -> bool {
    !name.is_empty() && label.strip_prefix('_').is_some_and(|rest| rest.eq_ignore_ascii_case(name))
}

// === impl Found ===

impl Found {
    /// `data` for who asks for its kind.
    fn only(asked: Kind, has: Kind, data: Data) -> Found {
        Found::Data(if asked == has { vec![data] } else { Vec::new() })
    }
}

// === impl Service ===

impl Service {
    /// `None` for one that has no address yet.
    fn read(object: &core::Service) -> Option<Service> {
        let spec = object.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_deref().filter(|name| !name.is_empty())?;
            return Some(Service::Alias(target.trim_end_matches('.').to_lowercase()));
        }
        match spec.cluster_ip.as_deref()? {
            "None" => Some(Service::Headless),
            address => Some(Service::Address {
                address: address.parse().ok()?,
                ports: spec.ports.iter().flatten().filter_map(Port::of_service).collect(),
            }),
        }
    }
}

// === impl Port ===

impl Port {
    fn of_service(port: &core::ServicePort) -> Option<Port> {
        Port::new(port.name.as_deref(), port.protocol.as_deref(), port.port)
    }

    fn of_slice(port: &discovery::EndpointPort) -> Option<Port> {
        Port::new(port.name.as_deref(), port.protocol.as_deref(), port.port?)
    }

    fn new(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Port> {
        Some(Port {
            name: name.unwrap_or_default().to_owned(),
            protocol: protocol.unwrap_or("TCP").to_owned(),
            number: u16::try_from(number).ok()?,
        })
    }
}

// === impl Slice ===

impl Slice {
    /// `None` for one that belongs to no Service.
    fn read(object: &discovery::EndpointSlice, namespace: &str) -> Option<Slice> {
        let service = object.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
        let endpoint = |one: &discovery::Endpoint| {
            let is_ready = one.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let address: Ipv4Addr = one.addresses.first()?.parse().ok()?;
            let label = one.hostname.clone().filter(|name| !name.is_empty());
            let label = label.unwrap_or_else(|| address.to_string().replace('.', "-"));
            is_ready.then_some((label.to_lowercase(), address))
        };
        Some(Slice {
            service: (namespace.to_owned(), service.clone()),
            ports: object.ports.iter().flatten().filter_map(Port::of_slice).collect(),
            endpoints: object.endpoints.iter().filter_map(endpoint).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::Revision;
    use serde_json::{Value, json};

    use super::*;

    fn put(group: &str, plural: &str, name: &str, object: Value) -> Observed {
        let namespace = if plural == "namespaces" { "" } else { "default" };
        Observed::Put(Item {
            key: Key::object(group, plural, namespace, name),
            revision: Revision(1),
            created: Revision(1),
            value: object.to_string().into(),
        })
    }

    fn service(name: &str, spec: Value) -> Observed {
        put("", "services", name, json!({"metadata": {"name": name}, "spec": spec}))
    }

    fn slice(service: &str, endpoints: Value) -> Observed {
        let object = json!({
            "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
            "ports": [{"name": "redis", "port": 6379, "protocol": "TCP"}], "endpoints": endpoints,
        });
        put("discovery.k8s.io", "endpointslices", &format!("{service}-x"), object)
    }

    fn zone() -> Zone {
        let mut zone = Zone::new("cluster.local.");
        let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        for observed in [
            put("", "namespaces", "default", json!({})),
            service("web", json!({"clusterIP": "10.96.0.7", "ports": ports})),
            service("redis-sfs", json!({"clusterIP": "None", "ports": [{"name": "redis", "port": 6379}]})),
            service("far", json!({"type": "ExternalName", "externalName": "Redis.example.com."})),
            slice(
                "redis-sfs",
                json!([
                    {"addresses": ["10.244.1.2"], "hostname": "redis-sfs-0", "conditions": {"ready": true}},
                    {"addresses": ["10.244.2.3"], "conditions": {}},
                    {"addresses": ["10.244.2.4"], "hostname": "redis-sfs-2", "conditions": {"ready": false}},
                ]),
            ),
        ] {
            zone.apply(&observed);
        }
        zone
    }

    fn address(text: &str) -> Data {
        Data::Address(text.parse().unwrap())
    }

    fn port(target: &str, port: u16, address: &str) -> Data {
        Data::Port { target: target.to_owned(), port, address: address.parse().unwrap() }
    }

    const NOTHING: Found = Found::Data(Vec::new());

    #[test]
    fn a_service_is_at_its_address() {
        let zone = zone();
        let name = "web.default.svc.cluster.local";
        assert_eq!(zone.ask(name, Kind::A), Found::Data(vec![address("10.96.0.7")]));
        assert_eq!(zone.ask(name, Kind::Other), NOTHING, "no such thing as an AAAA, and no error");
        let http = zone.ask("_http._tcp.web.default.svc.cluster.local", Kind::Srv);
        assert_eq!(http, Found::Data(vec![port(name, 80, "10.96.0.7")]));
        assert_eq!(zone.ask("_http._udp.web.default.svc.cluster.local", Kind::Srv), Found::NoName);
        assert_eq!(zone.ask("_tcp.web.default.svc.cluster.local", Kind::Srv), NOTHING);
        assert_eq!(
            zone.ask("7.0.96.10.in-addr.arpa", Kind::Ptr),
            Found::Data(vec![Data::Name(name.to_owned())])
        );
    }

    #[test]
    fn a_headless_service_is_at_all_its_ready_endpoints_and_each_has_a_name() {
        let zone = zone();
        let all = zone.ask("redis-sfs.default.svc.cluster.local", Kind::A);
        assert_eq!(all, Found::Data(vec![address("10.244.1.2"), address("10.244.2.3")]));
        let first = "redis-sfs-0.redis-sfs.default.svc.cluster.local";
        assert_eq!(zone.ask(first, Kind::A), Found::Data(vec![address("10.244.1.2")]));
        assert_eq!(zone.ask(first, Kind::Other), NOTHING);
        let dashed = "10-244-2-3.redis-sfs.default.svc.cluster.local";
        assert_eq!(zone.ask(dashed, Kind::A), Found::Data(vec![address("10.244.2.3")]));
        let not_ready = "redis-sfs-2.redis-sfs.default.svc.cluster.local";
        assert_eq!(zone.ask(not_ready, Kind::A), Found::NoName);
        let ports = zone.ask("_redis._tcp.redis-sfs.default.svc.cluster.local", Kind::Srv);
        assert_eq!(
            ports,
            Found::Data(vec![port(dashed, 6379, "10.244.2.3"), port(first, 6379, "10.244.1.2")])
        );
        let back = zone.ask("2.1.244.10.in-addr.arpa", Kind::Ptr);
        assert_eq!(back, Found::Data(vec![Data::Name(first.to_owned())]));
    }

    #[test]
    fn names_that_are_not_there_and_names_of_others_are_told_apart() {
        let zone = zone();
        for name in ["nobody.default.svc", "web.other.svc", "x.web.default.svc", "nothing", "svc.svc.svc.svc"]
        {
            assert_eq!(zone.ask(&format!("{name}.cluster.local"), Kind::A), Found::NoName, "{name}");
        }
        for name in ["cluster.local", "svc.cluster.local", "default.svc.cluster.local"] {
            assert_eq!(zone.ask(name, Kind::A), NOTHING, "{name}");
        }
        for name in ["example.com", "mycluster.local", "", "9.9.9.9.in-addr.arpa", "x.in-addr.arpa"] {
            assert_eq!(zone.ask(name, Kind::A), Found::NotOurs, "{name}");
        }
    }

    #[test]
    fn pods_are_named_by_their_addresses() {
        let zone = zone();
        let pod = |name: &str| zone.ask(&format!("{name}.pod.cluster.local"), Kind::A);
        assert_eq!(pod("10-244-1-2.default"), Found::Data(vec![address("10.244.1.2")]));
        assert_eq!(pod("10-244-1.default"), Found::NoName);
        assert_eq!(pod("10-244-1-2.other"), Found::NoName);
    }

    #[test]
    fn an_external_name_stands_for_another() {
        let zone = zone();
        let name = "far.default.svc.cluster.local";
        assert_eq!(zone.ask(name, Kind::A), Found::Alias("redis.example.com".to_owned()));
        assert_eq!(zone.ask(name, Kind::Other), Found::Alias("redis.example.com".to_owned()));
    }

    #[test]
    fn the_scheme_of_the_names_has_a_version() {
        let text = Found::Data(vec![Data::Text("1.1.0".to_owned())]);
        assert_eq!(zone().ask("dns-version.cluster.local", Kind::Txt), text);
    }

    #[test]
    fn what_changes_is_another_at_once() {
        let mut zone = zone();
        let before = zone.serial();
        zone.apply(&slice("redis-sfs", json!([{"addresses": ["10.244.9.9"], "hostname": "redis-sfs-0"}])));
        let first = "redis-sfs-0.redis-sfs.default.svc.cluster.local";
        assert_eq!(zone.ask(first, Kind::A), Found::Data(vec![address("10.244.9.9")]));
        assert_eq!(zone.ask("2.1.244.10.in-addr.arpa", Kind::Ptr), Found::NotOurs);
        zone.apply(&service("web", json!({"clusterIP": "10.96.0.8"})));
        assert_eq!(zone.ask("7.0.96.10.in-addr.arpa", Kind::Ptr), Found::NotOurs);
        assert!(zone.serial() > before);
        zone.apply(&Observed::Reset);
        assert_eq!(zone.ask("web.default.svc.cluster.local", Kind::A), Found::NoName);
    }
}
