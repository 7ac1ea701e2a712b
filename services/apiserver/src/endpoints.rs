//! The endpoints of the service `kubernetes`: at which addresses pods find the API servers.
//!
//! Each server adds itself at its start and takes itself out when it ends in peace. One that dies stays named until
//! it is back; clients that meet it try the next.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use jiff::Timestamp;
use kinds::Kind;
use model::{Object, Reason, Status};
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::verbs::{self, Body, Context, GetOptions, Identity, Target, WriteOptions};

/// Several servers that start at once meet each other's writes; each attempt sees what the one before it met.
const ATTEMPTS: usize = 20;
/// Taking itself out must not hold the end of a server whose bus is gone.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// Only a name: no packet is sent to it. Documentation addresses are routed like any other.
const SOMEWHERE: &str = "192.0.2.1:9";

/// Where pods reach a server that is bound to `bound`; `None` when they cannot.
pub fn advertised(bound: SocketAddr, told: Option<IpAddr>) -> Option<SocketAddr> {
    let ip = match (told, bound.ip()) {
        (Some(told), _) => told,
        (None, ip) if ip.is_loopback() => return None,
        (None, ip) if ip.is_unspecified() => own_address()?,
        (None, ip) => ip,
    };
    Some(SocketAddr::new(ip, bound.port()))
}

/// The address that this machine speaks from.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(SOMEWHERE).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// Adds the address to the endpoints.
pub async fn join(registry: &Registry, address: SocketAddr) -> Result<(), Status> {
    change(registry, ("", "v1", "endpoints"), &|old| with_address(old, address)).await?;
    change(registry, ("discovery.k8s.io", "v1", "endpointslices"), &|old| with_endpoint(old, address)).await
}

/// Takes the address out of the endpoints.
pub async fn leave(registry: &Registry, address: SocketAddr) -> Result<(), Status> {
    change(registry, ("", "v1", "endpoints"), &|old| without_address(old?, address)).await?;
    change(registry, ("discovery.k8s.io", "v1", "endpointslices"), &|old| without_endpoint(old?, address))
        .await
}

/// Writes what `decide` makes of the object that is there, until nobody else was faster; `None` changes nothing.
async fn change(
    registry: &Registry,
    (group, version, plural): (&str, &str, &str),
    decide: &(dyn Fn(Option<&Object>) -> Option<Object> + Sync),
) -> Result<(), Status> {
    // A kind that is not served has no endpoints to keep.
    let Some(kind) = registry.kind(group, version, plural) else { return Ok(()) };
    let target = Target::object(kind, NAMESPACE, NAME);
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        let present = present(registry, &target).await?;
        let Some(mut object) = decide(present.as_ref()) else { return Ok(()) };
        name(&target.kind, &mut object);
        last = write(registry, &target, present.is_some(), object).await;
        match &last {
            Err(status) if matches!(status.reason, Reason::Conflict | Reason::AlreadyExists) => {}
            _ => return last,
        }
    }
    last
}

async fn present(registry: &Registry, target: &Target) -> Result<Option<Object>, Status> {
    match verbs::get(registry, &context(), target, &GetOptions::default()).await {
        Ok(stored) => serde_json::from_slice(&stored.object).map(Some).map_err(Status::internal),
        Err(status) if status.reason == Reason::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

async fn write(registry: &Registry, target: &Target, exists: bool, object: Object) -> Result<(), Status> {
    let body = Body { object, ..Body::default() };
    let options = WriteOptions::default();
    let written = if exists {
        verbs::update(registry, &context(), target, body, &options).await
    } else {
        let collection = Target::collection(target.kind.clone(), NAMESPACE);
        verbs::create(registry, &context(), &collection, body, &options).await
    };
    written.map(|_| ())
}

fn context() -> Context {
    let groups = ["system:masters", "system:authenticated"].map(str::to_owned).to_vec();
    let identity = Identity { user: "system:apiserver".to_owned(), groups, ..Identity::default() };
    Context { identity, now: Timestamp::now(), guard: None }
}

fn name(kind: &Kind, object: &mut Object) {
    kind.stamp(object);
    object.set(&["metadata", "name"], NAME);
    object.set(&["metadata", "namespace"], NAMESPACE);
}

fn port(address: SocketAddr) -> Value {
    json!({"name": "https", "port": address.port(), "protocol": "TCP"})
}

/// Endpoints with the address; `None` when it is there already.
fn with_address(old: Option<&Object>, address: SocketAddr) -> Option<Object> {
    let mut new = old.cloned().unwrap_or_else(|| {
        // Its slice is kept here as well, and need not be copied from it.
        object(json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}}))
    });
    let ip = json!({"ip": address.ip().to_string()});
    let mut addresses = list(&new, "/subsets/0/addresses");
    if addresses.contains(&ip) {
        return None;
    }
    addresses.push(ip);
    new.set(&["subsets"], json!([{"addresses": addresses, "ports": [port(address)]}]));
    Some(new)
}

fn without_address(old: &Object, address: SocketAddr) -> Option<Object> {
    let ip = address.ip().to_string();
    let before = list(old, "/subsets/0/addresses");
    let after: Vec<Value> = before.iter().filter(|one| one["ip"] != ip).cloned().collect();
    if after.len() == before.len() {
        return None;
    }
    let mut new = old.clone();
    match after.as_slice() {
        [] => new.remove("subsets"),
        some => new.insert("subsets".to_owned(), json!([{"addresses": some, "ports": [port(address)]}])),
    };
    Some(new)
}

/// A slice with the address; `None` when it is there already.
fn with_endpoint(old: Option<&Object>, address: SocketAddr) -> Option<Object> {
    let mut new = old.cloned().unwrap_or_else(|| {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        object(json!({
            "metadata": {"labels": {"kubernetes.io/service-name": NAME}}, "addressType": family,
            "ports": [port(address)], "endpoints": [],
        }))
    });
    let endpoint = json!({"addresses": [address.ip().to_string()], "conditions": {"ready": true}});
    let mut endpoints = list(&new, "/endpoints");
    if endpoints.iter().any(|one| one["addresses"] == endpoint["addresses"]) {
        return None;
    }
    endpoints.push(endpoint);
    new.insert("endpoints".to_owned(), Value::Array(endpoints));
    Some(new)
}

fn without_endpoint(old: &Object, address: SocketAddr) -> Option<Object> {
    let gone = json!([address.ip().to_string()]);
    let before = list(old, "/endpoints");
    let after: Vec<Value> = before.iter().filter(|one| one["addresses"] != gone).cloned().collect();
    if after.len() == before.len() {
        return None;
    }
    let mut new = old.clone();
    new.insert("endpoints".to_owned(), Value::Array(after));
    Some(new)
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap_or_default()
}

/// The array at a JSON pointer, empty when there is none.
fn list(object: &Object, pointer: &str) -> Vec<Value> {
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next().and_then(|part| object.get(part));
    let found = parts.try_fold(first, |value, part| {
        let value = value?;
        Some(match part.parse::<usize>() {
            Ok(index) => value.get(index),
            Err(_) => value.get(part),
        })
    });
    found.flatten().and_then(Value::as_array).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn servers_join_once_each_and_leave() {
        let (one, two) = (at("192.0.2.1:6443"), at("192.0.2.2:6443"));
        let first = with_address(None, one).unwrap();
        assert_eq!(with_address(Some(&first), one), None);
        let both = with_address(Some(&first), two).unwrap();
        let expected = json!([{
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}],
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }]);
        assert_eq!(both["subsets"], expected);
        let left = without_address(&both, one).unwrap();
        assert_eq!(left["subsets"][0]["addresses"], json!([{"ip": "192.0.2.2"}]));
        assert_eq!(without_address(&left, two).unwrap().get("subsets"), None);
        assert_eq!(without_address(&left, one), None);
    }

    #[test]
    fn slices_say_the_same() {
        let (one, two) = (at("192.0.2.1:6443"), at("192.0.2.2:6443"));
        let first = with_endpoint(None, one).unwrap();
        assert_eq!(first["addressType"], "IPv4");
        assert_eq!(with_endpoint(Some(&first), one), None);
        let both = with_endpoint(Some(&first), two).unwrap();
        assert_eq!(both["endpoints"].as_array().map(Vec::len), Some(2));
        let left = without_endpoint(&both, one).unwrap();
        assert_eq!(left["endpoints"][0]["addresses"], json!(["192.0.2.2"]));
        assert_eq!(without_endpoint(&left, one), None);
    }

    #[test]
    fn a_server_on_the_loopback_is_out_of_reach_for_pods() {
        assert_eq!(advertised(at("127.0.0.1:6443"), None), None);
        assert_eq!(advertised(at("192.0.2.1:6443"), None), Some(at("192.0.2.1:6443")));
        assert_eq!(advertised(at("127.0.0.1:6443"), "192.0.2.9".parse().ok()), Some(at("192.0.2.9:6443")));
    }
}
