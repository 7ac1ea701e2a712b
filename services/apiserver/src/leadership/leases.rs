//! Fences as the Leases that upstream's components write: read-only, in the namespace `kube-system`.

use bytes::Bytes;
use jiff::Timestamp;
use model::{Class, Key};
use sha2::{Digest, Sha256};
use store::Item;

use super::fence_key;
use crate::registry::{Registry, decode};
use crate::verbs::Target;

/// The group of Leases.
pub const GROUP: &str = "coordination.k8s.io";
/// Their resource.
pub const PLURAL: &str = "leases";
/// The namespace in which they are shown.
pub const NAMESPACE: &str = "kube-system";

/// The Lease of the role that the target names, if it is about one.
pub fn get(registry: &Registry, target: &Target) -> Option<Bytes> {
    if !is_about_leases(target) || target.namespace != NAMESPACE || !target.subresource.is_empty() {
        return None;
    }
    let fences = Class::STATE.into_iter().map(|class| fence_key(class, &target.name));
    fences.filter_map(|key| registry.store().get(&key)).find_map(|item| Some(lease(registry, &item)?.1))
}

/// The Lease of every role that somebody leads or has led, if the target's collection shows them.
pub fn list(registry: &Registry, target: &Target) -> Vec<(Key, Bytes)> {
    if !is_about_leases(target) || !matches!(target.namespace.as_str(), "" | NAMESPACE) {
        return Vec::new();
    }
    let fences = registry.store().list("fence/").items;
    let mut leases: Vec<(Key, Bytes)> = fences.iter().filter_map(|item| lease(registry, item)).collect();
    // One that somebody wrote is listed as what it is.
    leases.retain(|(key, _)| registry.store().get(key).is_none());
    leases.sort_by(|(one, _), (other, _)| one.cmp(other));
    leases
}

fn is_about_leases(target: &Target) -> bool {
    target.kind.group == GROUP && target.kind.plural == PLURAL
}

/// The Lease in a fence, if it is the one that has it, with the last renewal that this server has heard of.
fn lease(registry: &Registry, item: &Item) -> Option<(Key, Bytes)> {
    let mut lease = decode(item).ok().filter(|object| object.str_at(&["kind"]) == "Lease")?;
    let role = lease.name().to_owned();
    let holder = lease.str_at(&["spec", "holderIdentity"]).to_owned();
    if let Some(heard) = registry.leaders().last(&role).filter(|heard| heard.holder == holder) {
        lease.set(&["spec", "renewTime"], micro_time(heard.received));
    }
    let bytes = model::object::with_resource_version(&lease.encode(), item.revision);
    Some((Key::object(GROUP, PLURAL, NAMESPACE, &role), bytes))
}

/// The same role has the same Lease whoever leads.
pub fn uid(role: &str) -> String {
    let digest = Sha256::digest(format!("lease of role {role}"));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A time as Leases have it.
pub fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}
