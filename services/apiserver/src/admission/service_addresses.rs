//! Cluster IPs and node ports: a service has its own, and no two have the same.
//!
//! Each address that is taken is an object of its own (`networking.k8s.io` IPAddress, as upstream keeps them; ports
//! beside them), written in one transaction with the service: two services that reach for one address cannot both
//! get it, whichever API servers they go through, and a service that is not written takes none.

use std::net::Ipv4Addr;

use kinds::Kind;
use model::{FieldError, Key, Object, Status};
use serde_json::{Value, json};
use store::{Action, Expect, Op};

use super::{Operation, Request, View};
use crate::registry::metadata::time_text;

/// The range that services get their addresses from: 10.96.0.0/16.
const RANGE: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 96, 0, 0), 1 << 16);
/// Addresses at the start of the range that are only given out when asked for by name, as 10.96.0.10 for DNS.
const RESERVED: u32 = 256;
/// Ports that nodes open for services.
const PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Random addresses that are tried before the range is searched through: with half of it taken, one in a million
/// searches.
const TRIES: u32 = 20;

/// Something that a service holds and no other may.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holding {
    Address(Ipv4Addr),
    Port(u16),
}

/// Takes what a service needs and gives back what it no longer does.
pub fn mutate(request: &Request<'_>, service: &mut Object, beside: &mut Vec<Op>) -> Result<(), Status> {
    if request.operation == Operation::Delete || !request.is_about_whole("", "services") {
        return Ok(());
    }
    let held = request.old.map(holdings).unwrap_or_default();
    assign_address(request, service, &held)?;
    assign_ports(request, service, &held)?;
    let wanted = holdings(service);
    let taken = wanted.iter().filter(|one| !held.contains(one));
    for one in taken {
        if request.view.has(&one.key()) {
            return Err(already_taken(service, one));
        }
        beside.push(one.take(request, service));
    }
    beside.extend(held.iter().filter(|one| !wanted.contains(one)).map(Holding::give_back));
    Ok(())
}

/// What goes with an object that goes: a service gives back what it holds.
pub fn released(kind: &Kind, object: &Object) -> Vec<Op> {
    match (kind.group.as_ref(), kind.plural.as_ref()) {
        ("", "services") => holdings(object).iter().map(Holding::give_back).collect(),
        _ => Vec::new(),
    }
}

fn type_of(service: &Object) -> &str {
    match service.str_at(&["spec", "type"]) {
        "" => "ClusterIP",
        other => other,
    }
}

fn needs_ports(service: &Object) -> bool {
    let wanted = service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
    match type_of(service) {
        "NodePort" => true,
        "LoadBalancer" => wanted,
        _ => false,
    }
}

fn assign_address(request: &Request<'_>, service: &mut Object, held: &[Holding]) -> Result<(), Status> {
    if type_of(service) == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            service.take(&["spec", field]);
        }
        return Ok(());
    }
    let address = match service.str_at(&["spec", "clusterIP"]) {
        "None" => "None".to_owned(),
        "" => free_address(request.view, request.seed).ok_or_else(|| range_is_full(service))?.to_string(),
        wanted => {
            let address: Option<Ipv4Addr> = wanted.parse().ok().filter(|one| index_of(*one).is_some());
            let known = address.is_some_and(|one| held.contains(&Holding::Address(one)));
            match address {
                Some(address) if known || !request.view.has(&Holding::Address(address).key()) => {
                    wanted.to_owned()
                }
                Some(_) => return Err(refused_address(service, wanted, "provided IP is already allocated")),
                None => {
                    let why =
                        "the provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/16";
                    return Err(refused_address(service, wanted, why));
                }
            }
        }
    };
    service.set(&["spec", "clusterIPs"], json!([address]));
    service.set(&["spec", "clusterIP"], address);
    for (field, value) in [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))] {
        if service.at(&["spec", field]).is_none() {
            service.set(&["spec", field], value);
        }
    }
    Ok(())
}

fn assign_ports(request: &Request<'_>, service: &mut Object, held: &[Holding]) -> Result<(), Status> {
    if !needs_ports(service) {
        if type_of(service) != "LoadBalancer" {
            for port in ports_mut(service) {
                port.as_object_mut().map(|port| port.remove("nodePort"));
            }
        }
        return Ok(());
    }
    let mut taken: Vec<u16> = ports(service).iter().filter_map(node_port).filter(|port| *port > 0).collect();
    let (mut seed, mut full) = (request.seed, false);
    for port in ports_mut(service) {
        if node_port(port).unwrap_or(0) > 0 {
            continue;
        }
        seed = seed.rotate_left(17);
        match free_port(request.view, seed, &taken) {
            Some(free) => {
                taken.push(free);
                port["nodePort"] = json!(free);
            }
            None => full = true,
        }
    }
    let outside = ports(service)
        .iter()
        .filter_map(node_port)
        .enumerate()
        .find(|(_, port)| !PORTS.contains(port) && !held.contains(&Holding::Port(*port)));
    match outside {
        _ if full => Err(invalid(service, "spec.ports", json!(0), "range is full")),
        Some((index, port)) => {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            Err(invalid(service, &format!("spec.ports[{index}].nodePort"), json!(port), why))
        }
        None => Ok(()),
    }
}

fn ports(service: &Object) -> Vec<Value> {
    service.at(&["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn ports_mut(service: &mut Object) -> impl Iterator<Item = &mut Value> {
    let list = service.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter(|port| port.is_object())
}

fn node_port(port: &Value) -> Option<u16> {
    port.get("nodePort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())
}

/// What a service holds as it stands.
fn holdings(service: &Object) -> Vec<Holding> {
    let address = service.str_at(&["spec", "clusterIP"]).parse().ok().map(Holding::Address);
    let mut ports: Vec<u16> = ports(service).iter().filter_map(node_port).filter(|port| *port > 0).collect();
    // A port may serve both protocols of one service.
    ports.sort_unstable();
    ports.dedup();
    address.into_iter().chain(ports.into_iter().map(Holding::Port)).collect()
}

fn index_of(address: Ipv4Addr) -> Option<u32> {
    // The first address names the network and the last is its broadcast address.
    let index = address.to_bits().checked_sub(RANGE.0.to_bits())?;
    (1..RANGE.1 - 1).contains(&index).then_some(index)
}

fn free_address(view: View<'_>, seed: u64) -> Option<Ipv4Addr> {
    let count = RANGE.1 - 1 - RESERVED;
    let at = |index: u32| Ipv4Addr::from_bits(RANGE.0.to_bits() + RESERVED + index % count);
    let free = |address: &Ipv4Addr| !view.has(&Holding::Address(*address).key());
    guesses(seed).map(at).find(free).or_else(|| (0..count).map(at).find(free))
}

fn free_port(view: View<'_>, seed: u64, taken: &[u16]) -> Option<u16> {
    let count = u32::from(PORTS.end() - PORTS.start()) + 1;
    let at = |index: u32| PORTS.start() + u16::try_from(index % count).unwrap_or(0);
    let free = |port: &u16| !taken.contains(port) && !view.has(&Holding::Port(*port).key());
    guesses(seed).map(at).find(free).or_else(|| (0..count).map(at).find(free))
}

/// Numbers that a seed leads to, one after the other.
fn guesses(seed: u64) -> impl Iterator<Item = u32> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    // The upper half of such a sequence is the random one.
    std::iter::successors(next(&seed), next)
        .map(|state| u32::try_from(state >> 32).unwrap_or(0))
        .take(TRIES as usize)
}

fn invalid(service: &Object, field: &str, value: Value, why: &str) -> Status {
    Status::invalid("", "Service", service.name(), &[FieldError::invalid(field, value, why)])
}

fn refused_address(service: &Object, address: &str, why: &str) -> Status {
    let why = format!("failed to allocate IP {address}: {why}");
    invalid(service, "spec.clusterIPs", json!([address]), &why)
}

fn range_is_full(service: &Object) -> Status {
    let _ = service;
    Status::internal("failed to allocate a serviceIP: range is full")
}

fn already_taken(service: &Object, holding: &Holding) -> Status {
    match holding {
        Holding::Address(address) => {
            refused_address(service, &address.to_string(), "provided IP is already allocated")
        }
        Holding::Port(port) => {
            let index = ports(service).iter().position(|one| node_port(one) == Some(*port)).unwrap_or(0);
            let field = format!("spec.ports[{index}].nodePort");
            invalid(service, &field, json!(port), "provided port is already allocated")
        }
    }
}

// === impl Holding ===

impl Holding {
    fn key(&self) -> Key {
        match self {
            Holding::Address(address) => {
                Key::object("networking.k8s.io", "ipaddresses", "", &address.to_string())
            }
            Holding::Port(port) => Key::object("", "nodeportallocations", "", &port.to_string()),
        }
    }

    fn take(&self, request: &Request<'_>, service: &Object) -> Op {
        let parent = json!({
            "group": "", "resource": "services", "namespace": service.namespace(), "name": service.name()
        });
        let mut object = Object::default();
        object.set(&["metadata", "name"], self.key().name());
        object.set(&["metadata", "creationTimestamp"], time_text(request.now));
        object.set(&["spec", "parentRef"], parent);
        match self {
            Holding::Address(address) => {
                object.set(&["apiVersion"], "networking.k8s.io/v1");
                object.set(&["kind"], "IPAddress");
                object.set(&["metadata", "uid"], uid_of(*address, request.seed));
                object.set(
                    &["metadata", "labels"],
                    json!({
                        "ipaddress.kubernetes.io/ip-family": "IPv4",
                        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"
                    }),
                );
            }
            Holding::Port(_) => {
                object.set(&["apiVersion"], "v1");
                object.set(&["kind"], "NodePortAllocation");
            }
        }
        Op { key: self.key(), expect: Expect::Absent, action: Action::Put(object.encode()) }
    }

    fn give_back(&self) -> Op {
        Op { key: self.key(), expect: Expect::Any, action: Action::Delete }
    }
}

fn uid_of(address: Ipv4Addr, seed: u64) -> String {
    let bytes = (u128::from(seed) << 64 | u128::from(address.to_bits())).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
