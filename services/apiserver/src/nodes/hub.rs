//! Every node's pods, and every session: from a change in the store to what each agent is told of it.
//!
//! Work is proportional to what changed and to whom it concerns, not to the number of pods or nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bus::node::{Attach, Want, Wanted};
use jiff::{SignedDuration, Timestamp};
use model::Key;
use store::{Change, Item};

use super::bound_pod::BoundPod;
use super::heartbeats::Beat;
use super::services::{self, Services};
use super::session::{Lookup, Session};
use super::volumes;

const PODS: &str = "core/pods/";
const SECRETS: &str = "core/secrets/";
const CONFIG_MAPS: &str = "core/configmaps/";
const CLAIMS: &str = "core/persistentvolumeclaims/";
const VOLUMES: &str = "core/persistentvolumes/";

/// After so long no heartbeat is under way any more that was sent before a session began: a few heartbeats.
const SETTLED: SignedDuration = SignedDuration::from_secs(15);

/// What is wanted of the nodes, and who follows it here.
#[derive(Debug, Default)]
pub struct Hub {
    /// Pods that have a node, as of the last change applied.
    pods: HashMap<Key, BoundPod>,
    by_node: HashMap<String, BTreeSet<Key>>,
    /// Volumes that are to be removed, and their nodes.
    leaving: BTreeMap<Key, String>,
    /// What every node that carries out Services needs to know.
    services: Services,
    /// By node.
    sessions: HashMap<String, Session>,
    /// Nodes with a session that refer to an object.
    readers: HashMap<Key, HashSet<String>>,
    /// Changes that were applied and not yet told, by node.
    untold: BTreeMap<String, Vec<Wanted>>,
}

// === impl Hub ===

impl Hub {
    /// A hub without sessions, from every pod, Service and EndpointSlice at one moment.
    pub fn new(pods: &[Item], services: impl IntoIterator<Item = Item>) -> Hub {
        let mut hub = Hub { services: Services::new(services), ..Hub::default() };
        for pod in pods.iter().filter_map(BoundPod::read) {
            hub.insert(pod);
        }
        hub
    }

    /// With those of the volumes that are to be removed from their nodes.
    pub fn with_volumes(mut self, volumes: &[Item]) -> Hub {
        let leaving = volumes.iter().filter_map(|item| Some((item.key.clone(), volumes::leaves(item)?)));
        self.leaving.extend(leaving);
        self
    }

    /// Begins a session: everything that its agent needs to know. Replaces the node's session if it has one.
    ///
    /// Services come first: a pod finds those that are there in its environment.
    pub fn attach(&mut self, node: &str, attach: &Attach, now: Timestamp, lookup: Lookup<'_>) -> Vec<Wanted> {
        self.detach(node);
        let mut session = Session::new(attach, now);
        let mut snapshot = Vec::new();
        if attach.services {
            snapshot.extend(self.services.all());
        }
        for pod in self.by_node.get(node).into_iter().flatten().filter_map(|key| self.pods.get(key)) {
            snapshot.extend(session.put(pod, None, lookup));
        }
        for (volume, _) in self.leaving.iter().filter(|(_, at)| *at == node) {
            snapshot.extend(session.use_one(volume, lookup));
        }
        session.take_touched();
        for key in session.references() {
            self.readers.entry(key.clone()).or_default().insert(node.to_owned());
        }
        self.sessions.insert(node.to_owned(), session);
        snapshot
    }

    /// Ends the node's session.
    pub fn detach(&mut self, node: &str) -> Option<Session> {
        let session = self.sessions.remove(node)?;
        for key in session.references() {
            forget(&mut self.readers, key, node);
        }
        self.untold.remove(node);
        Some(session)
    }

    /// A sign of life that names another session ends the one that is served here.
    pub fn note_beat(&mut self, node: &str, beat: &Beat) -> Option<Session> {
        let session = self.session(node)?;
        // A heartbeat that was sent while the agent attached still names the session before.
        let settled = beat.received.duration_since(session.began()) > SETTLED;
        let follows_another = settled && !beat.session.is_empty() && beat.session != session.id();
        follows_another.then(|| self.detach(node))?
    }

    /// Ends the sessions of agents that were not heard of since `before`.
    pub fn detach_silent(&mut self, before: Timestamp, last: &dyn Fn(&str) -> Option<Beat>) -> Vec<String> {
        let is_silent = |node: &str| last(node).is_none_or(|beat| beat.received < before);
        let silent = self.sessions.keys().filter(|node| is_silent(node));
        let silent: Vec<String> = silent.cloned().collect();
        for node in &silent {
            self.detach(node);
        }
        silent
    }

    /// The node's session.
    pub fn session(&self, node: &str) -> Option<&Session> {
        self.sessions.get(node)
    }

    /// Every session with its node.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, &Session)> {
        self.sessions.iter().map(|(node, session)| (node.as_str(), session))
    }

    /// Applies the next change of the store.
    pub fn apply(&mut self, change: &Change, lookup: Lookup<'_>) {
        let key = change.key().as_str();
        if key.starts_with(PODS) {
            self.apply_to_pod(change, lookup);
        } else if key.starts_with(SECRETS) || key.starts_with(CONFIG_MAPS) || key.starts_with(CLAIMS) {
            self.apply_to_referenced(change, lookup);
        } else if key.starts_with(VOLUMES) {
            self.apply_to_volume(change, lookup);
            self.apply_to_referenced(change, lookup);
        } else if services::concerns(change.key()) {
            self.apply_to_services(change);
        }
    }

    /// What was applied since this was last called, as the next links of each chain.
    pub fn take_untold(&mut self) -> Vec<(String, Want)> {
        let untold = std::mem::take(&mut self.untold);
        let mut links = Vec::new();
        for (node, changes) in untold {
            let Some(session) = self.sessions.get_mut(&node) else { continue };
            links.extend(session.chain(changes).into_iter().map(|want| (node.clone(), want)));
        }
        links
    }

    fn apply_to_pod(&mut self, change: &Change, lookup: Lookup<'_>) {
        let before = self.take(change.key());
        let after = match change {
            Change::Put { item, .. } => BoundPod::read(item),
            Change::Delete { .. } => None,
        };
        // A pod of this name on another node is another pod.
        let (stayed, moved): (Option<BoundPod>, Option<BoundPod>) = match (before, &after) {
            (Some(before), Some(after)) if before.node == after.node => (Some(before), None),
            (before, _) => (None, before),
        };
        if let Some(gone) = moved {
            self.with_session(&gone.node, |session| session.remove(&gone));
        }
        if let Some(pod) = after {
            self.with_session(&pod.node, |session| session.put(&pod, stayed.as_ref(), lookup));
            self.insert(pod);
        }
    }

    /// A volume that is to be removed concerns its node even when no pod refers to it any more.
    fn apply_to_volume(&mut self, change: &Change, lookup: Lookup<'_>) {
        let key = change.key();
        let now = match change {
            Change::Put { item, .. } => volumes::leaves(item),
            Change::Delete { .. } => None,
        };
        let before = self.leaving.get(key).cloned();
        if now == before {
            return;
        }
        if let Some(node) = before {
            self.leaving.remove(key);
            self.with_session(&node, |session| session.release(key));
        }
        if let Some(node) = now {
            self.with_session(&node, |session| session.use_one(key, lookup));
            self.leaving.insert(key.clone(), node);
        }
    }

    fn apply_to_referenced(&mut self, change: &Change, lookup: Lookup<'_>) {
        let Some(readers) = self.readers.get(change.key()) else { return };
        for node in readers.clone() {
            self.with_session(&node, |session| match change {
                Change::Put { item, .. } => session.put_referenced(item, lookup),
                Change::Delete { key, revision, .. } => session.remove_referenced(key, *revision),
            });
        }
    }

    fn apply_to_services(&mut self, change: &Change) {
        let Some(wanted) = self.services.apply(change) else { return };
        for (node, _) in self.sessions.iter().filter(|(_, session)| session.hears_of_services()) {
            self.untold.entry(node.clone()).or_default().push(wanted.clone());
        }
    }

    /// Takes down what the node is told, and which objects it reads from then on.
    fn with_session(&mut self, node: &str, tell: impl FnOnce(&mut Session) -> Vec<Wanted>) {
        let Some(session) = self.sessions.get_mut(node) else { return };
        let told = tell(session);
        for key in session.take_touched() {
            match session.refers_to(&key) {
                true => drop(self.readers.entry(key).or_default().insert(node.to_owned())),
                false => forget(&mut self.readers, &key, node),
            }
        }
        if !told.is_empty() {
            self.untold.entry(node.to_owned()).or_default().extend(told);
        }
    }

    fn insert(&mut self, pod: BoundPod) {
        let key = pod.item.key.clone();
        self.by_node.entry(pod.node.clone()).or_default().insert(key.clone());
        self.pods.insert(key, pod);
    }

    fn take(&mut self, key: &Key) -> Option<BoundPod> {
        let pod = self.pods.remove(key)?;
        if let Some(keys) = self.by_node.get_mut(&pod.node) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_node.remove(&pod.node);
            }
        }
        Some(pod)
    }
}

fn forget(readers: &mut HashMap<Key, HashSet<String>>, key: &Key, node: &str) {
    if let Some(nodes) = readers.get_mut(key) {
        nodes.remove(node);
        if nodes.is_empty() {
            readers.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::Revision;
    use serde_json::json;

    use super::*;

    fn item(resource: &str, name: &str, revision: u64, spec: serde_json::Value) -> Item {
        Item {
            key: Key::object("", resource, "d", name),
            revision: Revision(revision),
            created: Revision(1),
            value: Bytes::from(json!({"metadata": {"name": name}, "spec": spec}).to_string()),
        }
    }

    fn pod(name: &str, revision: u64, node: &str, secret: &str) -> Item {
        let spec = json!({"nodeName": node, "imagePullSecrets": [{"name": secret}], "containers": []});
        item("pods", name, revision, spec)
    }

    fn put(item: Item) -> Change {
        Change::Put { item, previous: None }
    }

    fn delete(item: Item, revision: u64) -> Change {
        Change::Delete { key: item.key.clone(), revision: Revision(revision), previous: item }
    }

    fn session(id: &str) -> Attach {
        Attach { session: id.to_owned(), services: false }
    }

    /// `node link: keys`, with `-` before what is gone.
    fn told(hub: &mut Hub) -> Vec<String> {
        let text = |wanted: &Wanted| {
            let gone = if wanted.object.is_none() { "-" } else { "" };
            format!("{gone}{}", wanted.key.replace("core/", "").replace("/d/", "/"))
        };
        let line = |(node, want): (String, Want)| {
            let keys: Vec<String> = want.changes.iter().map(text).collect();
            format!("{node} {}>{}: {}", want.prev, want.link, keys.join(" "))
        };
        hub.take_untold().into_iter().map(line).collect()
    }

    fn some_secret(key: &Key) -> Option<Item> {
        Some(Item { key: key.clone(), revision: Revision(1), created: Revision(1), value: Bytes::new() })
    }

    #[test]
    fn an_agent_hears_of_its_own_pods_and_what_they_refer_to_and_of_nothing_else() {
        let mut hub = Hub::new(&[pod("old", 1, "n1", "x"), pod("other", 1, "n2", "y")], []);
        let snapshot = hub.attach("n1", &session("s"), Timestamp::UNIX_EPOCH, &some_secret);
        let keys: Vec<&str> = snapshot.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["core/secrets/d/x", "core/pods/d/old"]);

        hub.apply(&put(pod("new", 5, "n1", "z")), &some_secret);
        hub.apply(&put(pod("far", 6, "n2", "z")), &some_secret);
        hub.apply(&put(item("secrets", "x", 7, json!({}))), &some_secret);
        hub.apply(&put(item("secrets", "y", 8, json!({}))), &some_secret);
        assert_eq!(told(&mut hub), ["n1 0>1: secrets/z pods/new secrets/x"]);

        hub.apply(&delete(pod("old", 1, "n1", "x"), 9), &some_secret);
        hub.apply(&put(item("secrets", "x", 10, json!({}))), &some_secret);
        assert_eq!(told(&mut hub), ["n1 1>2: -pods/old -secrets/x"]);
        assert_eq!(told(&mut hub), Vec::<String>::new());
    }

    #[test]
    fn an_agent_hears_of_every_service_if_it_asks() {
        let service = |name: &str, revision| {
            item("services", name, revision, json!({"clusterIP": "10.96.0.7", "port": revision}))
        };
        let mut hub = Hub::new(&[pod("a", 1, "n1", "x")], [service("old", 1)]);
        let asks = Attach { services: true, ..session("s") };
        let snapshot = hub.attach("n1", &asks, Timestamp::UNIX_EPOCH, &|_| None);
        let keys: Vec<&str> = snapshot.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["core/services/d/old", "core/pods/d/a"]);
        hub.attach("n2", &session("t"), Timestamp::UNIX_EPOCH, &|_| None);
        hub.apply(&put(service("new", 2)), &|_| None);
        hub.apply(&delete(service("old", 1), 3), &|_| None);
        assert_eq!(told(&mut hub), ["n1 0>1: services/new -services/old"]);
    }

    #[test]
    fn a_node_hears_of_the_volumes_that_it_is_to_remove() {
        let volume = |name: &str, revision: u64, leaving: bool| {
            let time = leaving.then_some("2026-01-01T00:00:00Z");
            let object = json!({
                "metadata": {"finalizers": [bus::node::LOCAL_PATH], "deletionTimestamp": time,
                    "annotations": {bus::node::VOLUME_NODE: "n1"}},
                "spec": {"persistentVolumeReclaimPolicy": "Delete"}
            });
            Item {
                key: Key::object("", "persistentvolumes", "", name),
                value: Bytes::from(object.to_string()),
                ..item("", name, revision, json!({}))
            }
        };
        let here = |key: &Key| Some(volume(key.name(), 1, true));
        let mut hub = Hub::new(&[], []).with_volumes(&[volume("old", 1, true), volume("kept", 1, false)]);
        let snapshot = hub.attach("n1", &session("s"), Timestamp::UNIX_EPOCH, &here);
        let keys: Vec<&str> = snapshot.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(keys, ["core/persistentvolumes//old"]);
        assert!(hub.attach("n2", &session("t"), Timestamp::UNIX_EPOCH, &here).is_empty());
        hub.apply(&put(volume("kept", 2, false)), &here);
        hub.apply(&put(volume("kept", 3, true)), &|key| Some(volume(key.name(), 3, true)));
        hub.apply(&delete(volume("old", 1, true), 4), &here);
        assert_eq!(told(&mut hub), ["n1 0>1: persistentvolumes//kept -persistentvolumes//old"]);
    }

    #[test]
    fn a_pod_is_wanted_from_the_moment_it_is_bound() {
        let mut hub = Hub::new(&[], []);
        hub.attach("n1", &session("s"), Timestamp::UNIX_EPOCH, &some_secret);
        hub.apply(&put(item("pods", "a", 3, json!({"containers": []}))), &some_secret);
        assert_eq!(told(&mut hub), Vec::<String>::new());
        hub.apply(&put(pod("a", 4, "n1", "x")), &some_secret);
        assert_eq!(told(&mut hub), ["n1 0>1: secrets/x pods/a"]);
        // The same name on another node.
        hub.apply(&put(pod("a", 6, "n2", "x")), &some_secret);
        assert_eq!(told(&mut hub), ["n1 1>2: -pods/a -secrets/x"]);
    }

    #[test]
    fn a_newer_session_starts_from_a_snapshot_of_its_own() {
        let mut hub = Hub::new(&[pod("a", 1, "n1", "x")], []);
        hub.attach("n1", &session("s1"), Timestamp::UNIX_EPOCH, &some_secret);
        hub.apply(&put(pod("b", 4, "n1", "x")), &some_secret);
        let snapshot = hub.attach("n1", &session("s2"), Timestamp::UNIX_EPOCH, &some_secret);
        assert_eq!(snapshot.len(), 3);
        assert_eq!(told(&mut hub), Vec::<String>::new());
        assert_eq!(hub.session("n1").map(Session::id), Some("s2"));
        hub.apply(&put(item("secrets", "x", 7, json!({}))), &some_secret);
        assert_eq!(told(&mut hub), ["n1 0>1: secrets/x"]);
        hub.detach("n1");
        hub.apply(&put(item("secrets", "x", 8, json!({}))), &some_secret);
        assert_eq!(told(&mut hub), Vec::<String>::new());
    }

    #[test]
    fn a_session_ends_with_its_agents_silence_or_its_following_another() {
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        let beat = |seconds: i64, session: &str| Beat { received: at(seconds), session: session.to_owned() };
        let mut hub = Hub::new(&[], []);
        hub.attach("n1", &session("s"), at(100), &some_secret);
        // Sent before the agent had the answer.
        assert!(hub.note_beat("n1", &beat(101, "before")).is_none());
        assert!(hub.note_beat("n1", &beat(130, "s")).is_none());
        assert!(hub.note_beat("n1", &beat(130, "")).is_none());
        assert!(hub.note_beat("n1", &beat(130, "another")).is_some());
        assert!(hub.session("n1").is_none());

        hub.attach("n1", &session("s"), at(100), &some_secret);
        hub.attach("n2", &session("t"), at(100), &some_secret);
        let last = |node: &str| (node == "n1").then(|| beat(150, "s"));
        assert_eq!(hub.detach_silent(at(140), &last), ["n2"]);
        assert_eq!(hub.sessions().count(), 1);
        assert_eq!(hub.detach_silent(at(151), &last), ["n1"]);
    }
}
