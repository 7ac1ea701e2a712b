//! The controller of PersistentVolumes and the claims to them.
//!
//! ```text
//!  log ──> observe (claims, volumes, classes, nodes, who uses what) ──> decide (pure), a step at a time
//!            ├ claim.rs       which volume a claim gets: reserve it, then tell both that they belong together
//!            ├ local_path.rs  making a volume on the disk of the node that the scheduler chose
//!            ├ volume.rs      what becomes of a volume: Available, Bound, Released, removed, Failed
//!            └ ephemeral.rs   claims that live as long as their pod
//! ```
//! A volume and a claim are bound in steps, each of which is written only if the object still is what was looked at:
//! the volume names the claim (whoever gets this far first has it), the claim names the volume, and each says so in its
//! status. What is found half done is gone on with, whoever began it.
//! Absent on purpose: the data. It is made and removed by the agent of its node, and a volume that was made here keeps
//! a finalizer until that has been done.

mod claim;
mod ephemeral;
mod local_path;
mod volume;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use bus::command::Reply;
use bus::node::VOLUMES_FOLDER;
use client::{Controller, Decision, Note, NoteKind, Observed};
use k8s_openapi::jiff::Timestamp;
use model::{Key, Object};
use placement::volume as wanted;
use store::Item;

use ephemeral::Pod;

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// On both: that we, and not a person, chose them for each other.
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume that was made for a claim: by whom.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: who is to make its volume; the first is what older provisioners look for.
const PROVISIONER: [&str; 2] =
    ["volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner"];

/// The controller's view.
#[derive(Debug, Default)]
pub struct Volumes {
    claims: BTreeMap<Key, Claim>,
    volumes: BTreeMap<String, Volume>,
    classes: BTreeMap<String, Object>,
    nodes: BTreeMap<String, Node>,
    pods: HashMap<Key, Pod>,
    /// Pods by the claims that they use.
    users: HashMap<Key, BTreeSet<Key>>,
    /// Volumes by the claims that they name.
    reserved: HashMap<Key, BTreeSet<String>>,
    /// Claims by the volumes that they name.
    named: HashMap<String, BTreeSet<Key>>,
    /// Claims without a volume.
    unbound: BTreeSet<Key>,
    /// Volumes that were promised to a claim in a decision whose outcome is not seen yet.
    promised: HashMap<String, Key>,
    /// What was last told of a claim or volume: a reason is told when it is a new one.
    told: HashMap<Key, (String, String)>,
    /// What is to be told once the volume of a claim is made.
    made: HashMap<Key, Note>,
}

/// A claim.
#[derive(Debug)]
struct Claim {
    object: Object,
    wish: wanted::Claim,
}

/// A volume.
#[derive(Debug)]
struct Volume {
    object: Object,
    offer: wanted::Volume,
}

/// What of a node matters here.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    labels: BTreeMap<String, String>,
    /// Where it keeps volumes of ours.
    folder: String,
}

// === impl Volumes: what is seen ===

impl Volumes {
    fn put(&mut self, item: &Item) -> Vec<Key> {
        match item.key.resource() {
            "persistentvolumeclaims" => self.put_claim(item),
            "persistentvolumes" => self.put_volume(item),
            "storageclasses" => {
                let class = client::typed::<Object>(&item.key, &item.value);
                self.classes.extend(class.map(|class| (item.key.name().to_owned(), class)));
                self.unbound.iter().cloned().collect()
            }
            "nodes" => self.put_node(item),
            _ => self.put_pod(item),
        }
    }

    fn remove(&mut self, key: &Key) -> Vec<Key> {
        match key.resource() {
            "persistentvolumeclaims" => {
                let concerned = self.around_claim(key);
                self.forget_claim(key);
                self.told.remove(key);
                self.made.remove(key);
                concerned
            }
            "persistentvolumes" => {
                let concerned = self.around_volume(key.name());
                self.forget_volume(key.name());
                self.told.remove(key);
                concerned
            }
            "storageclasses" => {
                self.classes.remove(key.name());
                Vec::new()
            }
            "nodes" => {
                self.nodes.remove(key.name());
                let leaving = self.volumes.iter().filter(|(_, volume)| volume.offer.deleting);
                leaving.map(|(name, _)| volume_key(name)).chain(self.unbound.iter().cloned()).collect()
            }
            _ => self.remove_pod(key),
        }
    }

    fn put_claim(&mut self, item: &Item) -> Vec<Key> {
        let key = &item.key;
        let (Some(object), Ok(wish)) = (client::typed(key, &item.value), wanted::Claim::parse(&item.value))
        else {
            return Vec::new();
        };
        let mut concerned = self.around_claim(key);
        self.forget_claim(key);
        match wish.volume.as_str() {
            "" => drop(self.unbound.insert(key.clone())),
            volume => drop(self.named.entry(volume.to_owned()).or_default().insert(key.clone())),
        }
        self.claims.insert(key.clone(), Claim { object, wish });
        concerned.extend(self.around_claim(key));
        concerned.push(key.clone());
        concerned
    }

    fn forget_claim(&mut self, key: &Key) {
        let Some(claim) = self.claims.remove(key) else { return };
        self.unbound.remove(key);
        forget(&mut self.named, &claim.wish.volume, key);
    }

    /// The volumes that a claim names, and that name it.
    fn around_claim(&self, key: &Key) -> Vec<Key> {
        let named = self.claims.get(key).map(|claim| claim.wish.volume.as_str());
        let named = named.filter(|name| !name.is_empty()).map(volume_key);
        let reserved = self.reserved.get(key).into_iter().flatten().map(|name| volume_key(name));
        named.into_iter().chain(reserved).collect()
    }

    fn put_volume(&mut self, item: &Item) -> Vec<Key> {
        let key = &item.key;
        let (Some(object), Ok(offer)) = (client::typed(key, &item.value), wanted::Volume::parse(&item.value))
        else {
            return Vec::new();
        };
        let name = key.name();
        let mut concerned = self.around_volume(name);
        self.forget_volume(name);
        match offer.claim.as_ref().map(claim_key) {
            Some(claim) => drop(self.reserved.entry(claim).or_default().insert(name.to_owned())),
            // Whoever waits for a volume may have it.
            None => concerned.extend(self.unbound.iter().cloned()),
        }
        self.volumes.insert(name.to_owned(), Volume { object, offer });
        concerned.extend(self.around_volume(name));
        concerned.push(key.clone());
        concerned
    }

    fn forget_volume(&mut self, name: &str) {
        self.promised.remove(name);
        let Some(volume) = self.volumes.remove(name) else { return };
        if let Some(claim) = volume.offer.claim.as_ref().map(claim_key) {
            forget(&mut self.reserved, &claim, name);
        }
    }

    /// The claims that name a volume, and the one that it names.
    fn around_volume(&self, name: &str) -> Vec<Key> {
        let reserved_for = self.volumes.get(name).and_then(|volume| volume.offer.claim.as_ref());
        let named_by = self.named.get(name).into_iter().flatten().cloned();
        reserved_for.map(claim_key).into_iter().chain(named_by).collect()
    }

    fn put_node(&mut self, item: &Item) -> Vec<Key> {
        let Some(object) = client::typed::<Object>(&item.key, &item.value) else { return Vec::new() };
        let labels = object.at(&["metadata", "labels"]).cloned().unwrap_or_default();
        let node = Node {
            labels: serde_json::from_value(labels).unwrap_or_default(),
            folder: object.str_at(&["metadata", "annotations", VOLUMES_FOLDER]).to_owned(),
        };
        let name = item.key.name().to_owned();
        let before = self.nodes.insert(name.clone(), node.clone());
        // Nodes tell of themselves all the time; hardly ever is it about this.
        if before == Some(node) {
            return Vec::new();
        }
        let waits = |key: &&Key| self.claims[*key].wish.selected_node.as_ref() == Some(&name);
        self.unbound.iter().filter(waits).cloned().collect()
    }

    fn put_pod(&mut self, item: &Item) -> Vec<Key> {
        let mut concerned = self.remove_pod(&item.key);
        let Some(pod) = client::typed::<Pod>(&item.key, &item.value) else { return concerned };
        let claims = pod.claims(&item.key);
        if claims.is_empty() || pod.has_ended() {
            return concerned;
        }
        for claim in &claims {
            self.users.entry(claim.clone()).or_default().insert(item.key.clone());
        }
        concerned.extend(claims);
        if pod.makes_claims() {
            concerned.push(item.key.clone());
        }
        self.pods.insert(item.key.clone(), pod);
        concerned
    }

    fn remove_pod(&mut self, key: &Key) -> Vec<Key> {
        let Some(pod) = self.pods.remove(key) else { return Vec::new() };
        let claims = pod.claims(key);
        for claim in &claims {
            forget(&mut self.users, claim, key);
        }
        claims
    }
}

// === impl Volumes: what is asked ===

impl Volumes {
    fn users(&self, claim: &Key) -> impl Iterator<Item = (&Key, &Pod)> {
        let users = self.users.get(claim).into_iter().flatten();
        users.filter_map(|key| self.pods.get_key_value(key))
    }

    /// Tells a reason if it is another than the last one.
    fn tell(
        &mut self,
        key: &Key,
        object: &Object,
        severity: NoteKind,
        reason: &str,
        message: String,
    ) -> Option<Note> {
        let news = (reason.to_owned(), message.clone());
        if self.told.get(key) == Some(&news) {
            return None;
        }
        self.told.insert(key.clone(), news);
        Some(Note::about(object, severity, reason, message))
    }
}

impl Controller for Volumes {
    type Key = Key;
    const NAME: &'static str = "persistentvolume-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("storage.k8s.io", "storageclasses"),
        ("", "nodes"),
        ("", "pods"),
    ];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        match observed {
            Observed::Reset => {
                *self = Volumes::default();
                Vec::new()
            }
            Observed::Synced => Vec::new(),
            Observed::Put(item) => self.put(item),
            Observed::Delete { key, .. } => self.remove(key),
        }
    }

    fn decide(&mut self, key: &Key, _now: Timestamp) -> Decision {
        match key.resource() {
            "persistentvolumeclaims" => claim::decide(self, key),
            "persistentvolumes" => volume::decide(self, key),
            _ => ephemeral::decide(self, key),
        }
    }

    fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Note> {
        if reply.is_err() {
            // What was promised was not given.
            self.promised.retain(|_, claim| claim != key);
        }
        let made = self.made.remove(key).filter(|_| index == 0)?;
        match reply {
            Ok(_) => Some(made),
            // It was made before, and that was told.
            Err(status) if status.reason == model::Reason::AlreadyExists => None,
            Err(status) => Some(Note {
                severity: NoteKind::Warning,
                reason: "ProvisioningFailed".to_owned(),
                message: format!("failed to create the volume: {status}"),
                ..made
            }),
        }
    }
}

fn volume_key(name: &str) -> Key {
    Key::object("", "persistentvolumes", "", name)
}

fn claim_key(reference: &wanted::ClaimReference) -> Key {
    Key::object("", "persistentvolumeclaims", &reference.namespace, &reference.name)
}

fn forget<K, V, Q, W>(index: &mut HashMap<K, BTreeSet<V>>, key: &Q, value: &W)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
    V: Borrow<W> + Ord,
    W: Ord + ?Sized,
{
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}
