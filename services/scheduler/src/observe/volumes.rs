//! Claims and volumes as far as they decide where a pod can go, and the pods that wait for them.
//!
//! ```text
//!  claims, volumes, classes ──needs of a pod's claims──> VolumeNeeds, a part of its shape
//!          └ a change ──> the waiting pods that it concerns, to be looked at again
//! ```
//! What a filter looks at is worked out when something changes, not for each node: claims change seldom, and nodes are
//! many.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bus::command::{PatchFormat, Resource, Write};
use model::Key;
use model::selector::{Operator, Requirement};
use placement::volume::{Claim, SELECTED_NODE, Volume};
use placement::{NodeAffinity, Term};
use serde::Deserialize;
use serde_json::json;
use store::Item;
use tracing::warn;

/// Group and plural of what is followed here.
pub const COLLECTIONS: [(&str, &str); 3] =
    [("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("storage.k8s.io", "storageclasses")];

/// Of a class whose volumes are made by people.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";

/// What a pod's claims say of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VolumeNeeds {
    /// Why no node can suit as things are.
    pub problem: Option<String>,
    /// Whether a volume of its claims is gone.
    pub lost: bool,
    /// The nodes that reach each of its volumes.
    pub bound: Vec<Arc<NodeAffinity>>,
    /// Claims that get their volume once the node is known.
    pub delayed: Vec<Delayed>,
}

/// A claim that gets its volume once the node of a pod is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delayed {
    /// The claim.
    pub claim: Key,
    /// The node that was chosen for it already.
    pub selected: Option<String>,
    /// Volumes that it may take, the smallest first, with the nodes that reach them (`None` for all).
    pub candidates: Vec<(String, Option<Arc<NodeAffinity>>)>,
    /// Where a volume can be made for it (`None` for everywhere); nowhere if it must take one that is there.
    pub makeable: Option<Option<Arc<NodeAffinity>>>,
}

/// Claims, volumes and classes, and the pods that wait.
#[derive(Debug, Default)]
pub struct Volumes {
    claims: HashMap<Key, Known>,
    volumes: BTreeMap<String, Volume>,
    classes: HashMap<String, Class>,
    /// Volumes that no claim has.
    free: BTreeSet<String>,
    /// Volumes by the claim that they name.
    reserved: HashMap<Key, BTreeSet<String>>,
    /// Pods with claims and without a node, as they were last seen.
    pods: HashMap<Key, Waiter>,
    users: HashMap<Key, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Known {
    claim: Claim,
    version: String,
}

#[derive(Debug)]
struct Waiter {
    item: Item,
    claims: Vec<Key>,
}

#[derive(Debug, Default)]
struct Class {
    waits: bool,
    provisioner: String,
    allowed: Option<Arc<NodeAffinity>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassJson {
    provisioner: Option<String>,
    volume_binding_mode: Option<String>,
    allowed_topologies: Option<Vec<TopologyJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopologyJson {
    match_label_expressions: Option<Vec<ExpressionJson>>,
}

#[derive(Deserialize)]
struct ExpressionJson {
    key: String,
    values: Option<Vec<String>>,
}

/// The claims of a pod by their names.
pub fn claims(pod: &Key, names: &[String]) -> Vec<Key> {
    names.iter().map(|name| Key::object("", "persistentvolumeclaims", pod.namespace(), name)).collect()
}

/// Whether a key is of an object that is followed here.
pub fn concerns(key: &Key) -> bool {
    COLLECTIONS.contains(&(key.group(), key.resource()))
}

// === impl VolumeNeeds ===

impl VolumeNeeds {
    /// Whether the pod can be bound only after its claims have got their volumes.
    pub fn waits(&self) -> bool {
        !self.delayed.is_empty()
    }
}

// === impl Volumes: what is seen ===

impl Volumes {
    /// Takes in a change; returns the pods that it concerns.
    pub fn put(&mut self, item: &Item) -> Vec<Item> {
        let key = &item.key;
        match key.resource() {
            "persistentvolumeclaims" => match Claim::parse(&item.value) {
                Ok(claim) => {
                    let version = item.revision.to_string();
                    self.claims.insert(key.clone(), Known { claim, version });
                }
                Err(error) => warn!(%key, "left as it was: {error}"),
            },
            "persistentvolumes" => match Volume::parse(&item.value) {
                Ok(volume) => return self.put_volume(key.name(), volume),
                Err(error) => warn!(%key, "left as it was: {error}"),
            },
            _ => match serde_json::from_slice::<ClassJson>(&item.value) {
                Ok(json) => drop(self.classes.insert(key.name().to_owned(), json.into())),
                Err(error) => warn!(%key, "left as it was: {error}"),
            },
        }
        self.concerned(key)
    }

    /// Takes out an object; returns the pods that it concerns.
    pub fn remove(&mut self, key: &Key) -> Vec<Item> {
        match key.resource() {
            "persistentvolumeclaims" => drop(self.claims.remove(key)),
            "persistentvolumes" => return self.remove_volume(key.name()),
            _ => drop(self.classes.remove(key.name())),
        }
        self.concerned(key)
    }

    /// A pod waits for a node, with these claims.
    pub fn put_pod(&mut self, item: &Item, claims: Vec<Key>) {
        self.remove_pod(&item.key);
        if claims.is_empty() {
            return;
        }
        for claim in &claims {
            self.users.entry(claim.clone()).or_default().insert(item.key.clone());
        }
        self.pods.insert(item.key.clone(), Waiter { item: item.clone(), claims });
    }

    /// A pod has a node, or is gone.
    pub fn remove_pod(&mut self, pod: &Key) {
        let Some(waiter) = self.pods.remove(pod) else { return };
        for claim in &waiter.claims {
            if let Some(users) = self.users.get_mut(claim) {
                users.remove(pod);
                if users.is_empty() {
                    self.users.remove(claim);
                }
            }
        }
    }

    /// The pod as it was last seen, if it waits.
    pub fn pod(&self, pod: &Key) -> Option<&Item> {
        self.pods.get(pod).map(|waiter| &waiter.item)
    }

    fn put_volume(&mut self, name: &str, volume: Volume) -> Vec<Item> {
        let mut concerned = self.remove_volume(name);
        match volume.claim.as_ref().map(claim_key) {
            Some(claim) => drop(self.reserved.entry(claim).or_default().insert(name.to_owned())),
            None => drop(self.free.insert(name.to_owned())),
        }
        concerned.extend(self.around_volume(&volume));
        self.volumes.insert(name.to_owned(), volume);
        concerned.sort_by(|a, b| a.key.cmp(&b.key));
        concerned.dedup_by(|a, b| a.key == b.key);
        concerned
    }

    fn remove_volume(&mut self, name: &str) -> Vec<Item> {
        let Some(volume) = self.volumes.remove(name) else { return Vec::new() };
        self.free.remove(name);
        if let Some(claim) = volume.claim.as_ref().map(claim_key)
            && let Some(names) = self.reserved.get_mut(&claim)
        {
            names.remove(name);
            if names.is_empty() {
                self.reserved.remove(&claim);
            }
        }
        self.around_volume(&volume)
    }

    /// A volume concerns the users of its claim; a free one whoever may take it when a pod has chosen its node.
    fn around_volume(&self, volume: &Volume) -> Vec<Item> {
        match volume.claim.as_ref().map(claim_key) {
            Some(claim) => self.concerned(&claim),
            None if self.classes.get(&volume.class).is_none_or(|class| class.waits) => self.everybody(),
            None => Vec::new(),
        }
    }

    fn concerned(&self, key: &Key) -> Vec<Item> {
        if key.resource() == "storageclasses" {
            return self.everybody();
        }
        let users = self.users.get(key).into_iter().flatten();
        users.filter_map(|pod| self.pod(pod).cloned()).collect()
    }

    fn everybody(&self) -> Vec<Item> {
        self.pods.values().map(|waiter| waiter.item.clone()).collect()
    }
}

// === impl Volumes: what is asked ===

impl Volumes {
    /// What these claims say of the node; `None` if there are none.
    pub fn needs(&self, claims: &[Key]) -> Option<Arc<VolumeNeeds>> {
        if claims.is_empty() {
            return None;
        }
        let mut needs = VolumeNeeds::default();
        let mut problem = |why: String| {
            // What is not there at all is told before what is only not bound.
            if needs.problem.as_ref().is_none_or(|known| known == UNBOUND) {
                needs.problem = Some(why);
            }
        };
        for key in claims {
            let Some(Known { claim, .. }) = self.claims.get(key) else {
                problem(format!("persistentvolumeclaim {:?} not found", key.name()));
                continue;
            };
            if claim.deleting {
                problem(format!("persistentvolumeclaim {:?} is being deleted", key.name()));
            } else if claim.bound {
                match self.volumes.get(&claim.volume) {
                    Some(volume) => needs.bound.extend(volume.affinity.clone()),
                    None => needs.lost = true,
                }
            } else if claim.volume.is_empty() && self.class_of(claim).is_some_and(|class| class.waits) {
                needs.delayed.push(self.delayed(key, claim));
            } else {
                problem(UNBOUND.to_owned());
            }
        }
        Some(Arc::new(needs))
    }

    /// The writes by which the claims that have no node yet get this one; each holds only if the claim is as it was
    /// seen, so of two pods with one claim the first decides.
    pub fn select(&self, needs: &VolumeNeeds, node: &str) -> Vec<Write> {
        let open = needs.delayed.iter().filter(|one| one.selected.is_none());
        open.filter_map(|one| Some((&one.claim, self.claims.get(&one.claim)?)))
            .map(|(key, known)| Write::Patch {
                resource: Resource::new("", "v1", "persistentvolumeclaims"),
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                subresource: String::new(),
                format: PatchFormat::Merge,
                patch: json!({"metadata": {
                    "uid": known.claim.uid, "resourceVersion": known.version,
                    "annotations": {(SELECTED_NODE): node},
                }})
                .to_string()
                .into(),
            })
            .collect()
    }

    fn class_of(&self, claim: &Claim) -> Option<&Class> {
        self.classes.get(claim.class.as_ref()?)
    }

    fn delayed(&self, key: &Key, claim: &Claim) -> Delayed {
        let names = self.free.iter().chain(self.reserved.get(key).into_iter().flatten());
        let volumes = names.filter_map(|name| Some((name, self.volumes.get(name)?)));
        let reserved = |volume: &Volume| volume.is_for(key.namespace(), key.name(), &claim.uid);
        let mut suiting: Vec<(&String, &Volume)> =
            volumes.filter(|(_, volume)| claim.may_take(volume) || reserved(volume)).collect();
        suiting.sort_by_key(|(name, volume)| (*volume.capacity(), *name));
        let class = self.class_of(claim);
        let makes = class.filter(|class| class.provisioner != NO_PROVISIONER);
        Delayed {
            claim: key.clone(),
            selected: claim.selected_node.clone(),
            candidates: suiting
                .into_iter()
                .map(|(name, volume)| (name.clone(), volume.affinity.clone()))
                .collect(),
            makeable: makes.map(|class| class.allowed.clone()),
        }
    }
}

impl From<ClassJson> for Class {
    fn from(json: ClassJson) -> Self {
        let requirement =
            |one: ExpressionJson| Requirement::new(one.key, Operator::In, one.values.unwrap_or_default());
        let term = |topology: TopologyJson| Term {
            labels: topology.match_label_expressions.into_iter().flatten().map(requirement).collect(),
            fields: Vec::new(),
        };
        let terms: Vec<Term> = json.allowed_topologies.into_iter().flatten().map(term).collect();
        let allowed = NodeAffinity { required: Some(terms), ..NodeAffinity::default() };
        Class {
            waits: json.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            provisioner: json.provisioner.unwrap_or_default(),
            allowed: allowed
                .required
                .as_ref()
                .is_some_and(|terms| !terms.is_empty())
                .then(|| Arc::new(allowed)),
        }
    }
}

fn claim_key(reference: &placement::volume::ClaimReference) -> Key {
    Key::object("", "persistentvolumeclaims", &reference.namespace, &reference.name)
}

#[cfg(test)]
mod tests {
    use model::Revision;
    use serde_json::Value;

    use super::*;

    fn put(volumes: &mut Volumes, resource: &str, name: &str, object: Value) -> Vec<String> {
        let (group, namespace) = match resource {
            "storageclasses" => ("storage.k8s.io", ""),
            "persistentvolumes" => ("", ""),
            _ => ("", "d"),
        };
        let item = Item {
            key: Key::object(group, resource, namespace, name),
            revision: Revision(7),
            created: Revision(1),
            value: object.to_string().into(),
        };
        let concerned = match resource {
            "pods" => {
                volumes.put_pod(&item, vec![claim_key_of("c")]);
                Vec::new()
            }
            _ => volumes.put(&item),
        };
        concerned.iter().map(|pod| pod.key.name().to_owned()).collect()
    }

    fn claim_key_of(name: &str) -> Key {
        Key::object("", "persistentvolumeclaims", "d", name)
    }

    fn cluster() -> Volumes {
        let mut volumes = Volumes::default();
        for (name, provisioner, mode) in [
            ("local", "sampan.io/local-path", "WaitForFirstConsumer"),
            ("on-nodes", NO_PROVISIONER, "WaitForFirstConsumer"),
            ("at-once", NO_PROVISIONER, "Immediate"),
        ] {
            let class = json!({"provisioner": provisioner, "volumeBindingMode": mode});
            put(&mut volumes, "storageclasses", name, class);
        }
        put(&mut volumes, "pods", "p", json!({}));
        volumes
    }

    fn claim(class: &str, annotations: Value, volume: &str) -> Value {
        json!({"metadata": {"uid": "u", "annotations": annotations}, "spec": {"storageClassName": class,
            "volumeName": volume, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    }

    fn volume(class: &str, size: &str, node: &str) -> Value {
        json!({"spec": {"storageClassName": class, "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "host", "operator": "In", "values": [node]}]}]}}}})
    }

    fn needs(volumes: &Volumes) -> Arc<VolumeNeeds> {
        volumes.needs(&[claim_key_of("c")]).expect("there is a claim")
    }

    #[test]
    fn what_no_node_can_help_is_a_problem() {
        let mut volumes = cluster();
        assert_eq!(needs(&volumes).problem.as_deref(), Some("persistentvolumeclaim \"c\" not found"));
        let concerned = put(&mut volumes, "persistentvolumeclaims", "c", claim("at-once", json!({}), ""));
        assert_eq!(concerned, ["p"], "the pod is to be looked at again");
        assert_eq!(needs(&volumes).problem.as_deref(), Some(UNBOUND));
        let both = volumes.needs(&[claim_key_of("c"), claim_key_of("none")]).expect("claims");
        assert_eq!(both.problem.as_deref(), Some("persistentvolumeclaim \"none\" not found"));
        assert!(volumes.needs(&[]).is_none());
    }

    #[test]
    fn a_bound_claim_leads_where_its_volume_is() {
        let mut volumes = cluster();
        let bound = json!({"pv.kubernetes.io/bind-completed": "yes"});
        put(&mut volumes, "persistentvolumeclaims", "c", claim("local", bound, "v"));
        assert!(needs(&volumes).lost);
        let mut there = volume("local", "1Gi", "a");
        there["spec"]["claimRef"] = json!({"namespace": "d", "name": "c", "uid": "u"});
        assert_eq!(put(&mut volumes, "persistentvolumes", "v", there), ["p"]);
        let needs = needs(&volumes);
        assert!(!needs.lost && !needs.waits());
        assert_eq!(needs.bound.len(), 1);
    }

    #[test]
    fn a_claim_that_waits_may_take_what_is_there_or_have_one_made() {
        let mut volumes = cluster();
        put(&mut volumes, "persistentvolumeclaims", "c", claim("on-nodes", json!({}), ""));
        assert_eq!(put(&mut volumes, "persistentvolumes", "large", volume("on-nodes", "9Gi", "a")), ["p"]);
        put(&mut volumes, "persistentvolumes", "small", volume("on-nodes", "2Gi", "b"));
        put(&mut volumes, "persistentvolumes", "tiny", volume("on-nodes", "1Mi", "b"));
        let of = |volumes: &Volumes| {
            let delayed = needs(volumes).delayed[0].clone();
            let names: Vec<String> = delayed.candidates.into_iter().map(|(name, _)| name).collect();
            (names, delayed.makeable.is_some(), delayed.selected)
        };
        assert_eq!(of(&volumes), (vec!["small".to_owned(), "large".to_owned()], false, None));
        let select = |volumes: &Volumes| volumes.select(&needs(volumes), "n");
        let [Write::Patch { patch, .. }] = &select(&volumes)[..] else { panic!("one patch") };
        let patch: Value = serde_json::from_slice(patch).expect("JSON");
        assert_eq!(
            patch["metadata"],
            json!({"uid": "u", "resourceVersion": "7", "annotations": {SELECTED_NODE: "n"}})
        );
        let selected = claim("local", json!({SELECTED_NODE: "n"}), "");
        put(&mut volumes, "persistentvolumeclaims", "c", selected);
        assert_eq!(of(&volumes), (vec![], true, Some("n".to_owned())));
        assert!(select(&volumes).is_empty(), "a choice stays");
    }

    #[test]
    fn a_class_says_where_volumes_can_be_made() {
        let topologies = json!([{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]);
        let json = json!({"provisioner": "x", "allowedTopologies": topologies});
        let class = Class::from(serde_json::from_value::<ClassJson>(json).expect("a class"));
        let allowed = class.allowed.expect("it says where");
        let zone = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        assert!(allowed.admits("n", &zone("b")) && !allowed.admits("n", &zone("c")));
    }
}
