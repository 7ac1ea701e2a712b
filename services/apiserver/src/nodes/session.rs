//! One agent's attachment: what it has been told, and the chain of what it is told next.

use std::collections::{BTreeSet, HashMap};

use bus::node::{Attach, FRAME_BYTES, Want, Wanted};
use jiff::Timestamp;
use model::{Key, Revision};
use store::Item;

use super::bound_pod::BoundPod;
use super::volumes::volume_of;

/// What an agent has been told in one attachment.
#[derive(Debug)]
pub struct Session {
    id: String,
    began: Timestamp,
    /// Whether the agent also hears of every Service.
    services: bool,
    /// The last link of the chain.
    link: u64,
    /// How many of the node's pods refer to an object.
    uses: HashMap<Key, usize>,
    /// The version of each referenced object that the agent has; it is told of newer ones only.
    told: HashMap<Key, Revision>,
    /// The volume of each referenced claim that has one.
    volumes: HashMap<Key, Key>,
    /// Objects whose use began or ended since this was last taken.
    touched: BTreeSet<Key>,
}

/// Where referenced objects are found.
pub type Lookup<'a> = &'a dyn Fn(&Key) -> Option<Item>;

// === impl Session ===

impl Session {
    /// A new attachment.
    pub fn new(attach: &Attach, began: Timestamp) -> Session {
        Session {
            id: attach.session.clone(),
            began,
            services: attach.services,
            link: 0,
            uses: HashMap::new(),
            told: HashMap::new(),
            volumes: HashMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Whether the agent also hears of every Service.
    pub fn hears_of_services(&self) -> bool {
        self.services
    }

    /// The attachment's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the agent attached.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The last link of the chain.
    pub fn link(&self) -> u64 {
        self.link
    }

    /// The objects that the agent still refers to.
    pub fn references(&self) -> impl Iterator<Item = &Key> {
        self.uses.keys()
    }

    /// The objects whose use began or ended since this was last called.
    pub fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    /// Whether a pod of the node refers to this object.
    pub fn refers_to(&self, key: &Key) -> bool {
        self.uses.contains_key(key)
    }

    /// A pod is on the node, or changed there: what it newly refers to comes before it, what it no longer does after.
    pub fn put(&mut self, pod: &BoundPod, before: Option<&BoundPod>, lookup: Lookup<'_>) -> Vec<Wanted> {
        let none = BTreeSet::new();
        let old = before.map_or(&none, |before| &before.references);
        let mut changes: Vec<Wanted> = Vec::new();
        for key in pod.references.difference(old) {
            changes.extend(self.use_one(key, lookup));
        }
        changes.push(wanted(&pod.item));
        for key in old.difference(&pod.references) {
            changes.extend(self.release(key));
        }
        changes
    }

    /// A pod is no longer on the node.
    pub fn remove(&mut self, pod: &BoundPod) -> Vec<Wanted> {
        let gone = Wanted { key: pod.item.key.to_string(), object: None };
        let released: Vec<Wanted> = pod.references.iter().flat_map(|key| self.release(key)).collect();
        std::iter::once(gone).chain(released).collect()
    }

    /// An object that a pod of the node refers to has changed.
    pub fn put_referenced(&mut self, item: &Item, lookup: Lookup<'_>) -> Vec<Wanted> {
        match self.told.get(&item.key) {
            Some(told) if *told >= item.revision => Vec::new(),
            _ => self.tell(item, lookup),
        }
    }

    /// An object that a pod of the node refers to is gone.
    pub fn remove_referenced(&mut self, key: &Key, revision: Revision) -> Vec<Wanted> {
        match self.told.get(key) {
            // It was made again meanwhile, and the agent has been told of that one.
            Some(told) if *told > revision => Vec::new(),
            Some(_) => self.untell(key),
            None => Vec::new(),
        }
    }

    /// The changes as the next links of the chain, none larger than a frame may be.
    pub fn chain(&mut self, changes: Vec<Wanted>) -> Vec<Want> {
        frames(changes).into_iter().map(|changes| self.next_link(changes)).collect()
    }

    /// Names the last link, so that an agent knows that it has missed nothing.
    pub fn keepalive(&self) -> Want {
        self.want(self.link, self.link, Vec::new())
    }

    /// A link that follows nothing: the agent attaches again at once.
    pub fn broken(&self) -> Want {
        self.want(u64::MAX, u64::MAX, Vec::new())
    }

    fn next_link(&mut self, changes: Vec<Wanted>) -> Want {
        let prev = self.link;
        self.link += 1;
        self.want(prev, self.link, changes)
    }

    fn want(&self, prev: u64, link: u64, changes: Vec<Wanted>) -> Want {
        Want { session: self.id.clone(), prev, link, changes, traces: Vec::new() }
    }

    /// The agent has one reason more to know of an object.
    pub fn use_one(&mut self, key: &Key, lookup: Lookup<'_>) -> Vec<Wanted> {
        let uses = self.uses.entry(key.clone()).or_default();
        *uses += 1;
        if *uses > 1 {
            return Vec::new();
        }
        self.touched.insert(key.clone());
        lookup(key).map(|item| self.tell(&item, lookup)).unwrap_or_default()
    }

    /// The agent has one reason less to know of an object.
    pub fn release(&mut self, key: &Key) -> Vec<Wanted> {
        let Some(uses) = self.uses.get_mut(key) else { return Vec::new() };
        *uses -= 1;
        if *uses > 0 {
            return Vec::new();
        }
        self.uses.remove(key);
        self.touched.insert(key.clone());
        self.untell(key)
    }

    /// The object; of a claim, its volume first.
    fn tell(&mut self, item: &Item, lookup: Lookup<'_>) -> Vec<Wanted> {
        self.told.insert(item.key.clone(), item.revision);
        let now = volume_of(item);
        let before = self.volumes.get(&item.key).cloned();
        if now == before {
            return vec![wanted(item)];
        }
        let mut changes = now.as_ref().map(|volume| self.use_one(volume, lookup)).unwrap_or_default();
        changes.push(wanted(item));
        match now {
            Some(volume) => self.volumes.insert(item.key.clone(), volume),
            None => self.volumes.remove(&item.key),
        };
        changes.extend(before.iter().flat_map(|volume| self.release(volume)));
        changes
    }

    fn untell(&mut self, key: &Key) -> Vec<Wanted> {
        let told = self.told.remove(key).map(|_| Wanted { key: key.to_string(), object: None });
        let volume = self.volumes.remove(key);
        let released = volume.map(|volume| self.release(&volume)).unwrap_or_default();
        told.into_iter().chain(released).collect()
    }
}

fn wanted(item: &Item) -> Wanted {
    Wanted { key: item.key.to_string(), object: Some(item.value.clone()) }
}

/// Divides objects into frames; one that is larger than a frame travels alone.
pub fn frames(wanted: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut frames: Vec<Vec<Wanted>> = Vec::new();
    let mut bytes = usize::MAX;
    for one in wanted {
        let size = one.key.len() + one.object.as_ref().map_or(0, bytes::Bytes::len);
        bytes = bytes.saturating_add(size);
        match frames.last_mut() {
            Some(frame) if bytes <= FRAME_BYTES => frame.push(one),
            _ => {
                frames.push(vec![one]);
                bytes = size;
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn item(key: &str, revision: u64) -> Item {
        Item {
            key: Key::from_raw(key),
            revision: Revision(revision),
            created: Revision(1),
            value: Bytes::from(format!("{key}@{revision}")),
        }
    }

    fn pod(name: &str, revision: u64, references: &[&str]) -> BoundPod {
        BoundPod {
            item: item(&format!("core/pods/d/{name}"), revision),
            node: "n".to_owned(),
            references: references.iter().map(|name| Key::object("", "secrets", "d", name)).collect(),
        }
    }

    fn session() -> Session {
        Session::new(&Attach { session: "s".to_owned(), services: false }, Timestamp::UNIX_EPOCH)
    }

    /// `secrets/x@1` for an object, `-secrets/x` for one that is gone.
    fn texts(wanted: Vec<Wanted>) -> Vec<String> {
        let text = |one: Wanted| match one.object {
            Some(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
            None => format!("-{}", one.key),
        };
        wanted.into_iter().map(text).map(|text| text.replace("core/", "").replace("/d/", "/")).collect()
    }

    #[test]
    fn what_a_pod_refers_to_comes_before_it_and_goes_with_the_last_that_does() {
        let mut session = session();
        let secret = |key: &Key| Some(item(key.as_str(), 3));
        let (a, b) = (pod("a", 5, &["x"]), pod("b", 6, &["x", "y"]));
        assert_eq!(texts(session.put(&a, None, &secret)), ["secrets/x@3", "pods/a@5"]);
        assert_eq!(texts(session.put(&b, None, &secret)), ["secrets/y@3", "pods/b@6"]);
        assert_eq!(texts(session.remove(&a)), ["-pods/a"]);
        let b2 = pod("b", 7, &["y"]);
        assert_eq!(texts(session.put(&b2, Some(&b), &secret)), ["pods/b@7", "-secrets/x"]);
        assert_eq!(texts(session.remove(&b2)), ["-pods/b", "-secrets/y"]);
    }

    #[test]
    fn an_object_that_a_pod_refers_to_never_goes_back_in_time() {
        let mut session = session();
        session.put(&pod("a", 5, &["x"]), None, &|key| Some(item(key.as_str(), 8)));
        let key = Key::object("", "secrets", "d", "x");
        let none = |_: &Key| None;
        assert!(session.put_referenced(&item(key.as_str(), 7), &none).is_empty());
        assert!(session.remove_referenced(&key, Revision(6)).is_empty());
        assert_eq!(session.put_referenced(&item(key.as_str(), 9), &none).len(), 1);
        assert_eq!(session.remove_referenced(&key, Revision(10)).len(), 1);
        assert_eq!(session.put_referenced(&item(key.as_str(), 11), &none).len(), 1);
    }

    #[test]
    fn a_claim_brings_its_volume_along_and_takes_it_away() {
        let mut session = session();
        let claim = |revision: u64, volume: &str| {
            let json = format!(r#"{{"spec": {{"volumeName": "{volume}"}}}}"#);
            Item { value: Bytes::from(json), ..item("core/persistentvolumeclaims/d/c", revision) }
        };
        let volume = |key: &Key| (key.resource() == "persistentvolumes").then(|| item(key.as_str(), 2));
        let keys = |wanted: Vec<Wanted>| {
            let key = |one: &Wanted| match one.object {
                Some(_) => one.key.clone(),
                None => format!("-{}", one.key),
            };
            wanted.iter().map(key).collect::<Vec<_>>().join(" ").replace("core/persistentvolume", "")
        };
        let key = claim(1, "").key;
        let pod = BoundPod { references: BTreeSet::from([key.clone()]), ..pod("a", 1, &[]) };
        assert_eq!(keys(session.put(&pod, None, &|_| Some(claim(1, "")))), "claims/d/c core/pods/d/a");
        assert_eq!(session.take_touched().len(), 1);
        assert_eq!(keys(session.put_referenced(&claim(3, "v"), &volume)), "s//v claims/d/c");
        assert_eq!(session.take_touched(), BTreeSet::from([Key::from_raw("core/persistentvolumes//v")]));
        assert_eq!(keys(session.put_referenced(&claim(4, "v"), &volume)), "claims/d/c");
        assert_eq!(keys(session.remove(&pod)), "-core/pods/d/a -claims/d/c -s//v");
    }

    #[test]
    fn each_link_names_the_one_before_it() {
        let mut session = session();
        let large = |name: &str| Wanted {
            key: name.to_owned(),
            object: Some(Bytes::from(vec![0; FRAME_BYTES * 2 / 3])),
        };
        let small = Wanted { key: "c".to_owned(), object: None };
        let links = session.chain(vec![large("a"), large("b"), small]);
        let chain: Vec<(u64, u64, usize)> =
            links.iter().map(|want| (want.prev, want.link, want.changes.len())).collect();
        assert_eq!(chain, [(0, 1, 1), (1, 2, 2)]);
        let alive = session.keepalive();
        assert_eq!((alive.prev, alive.link, alive.changes.len()), (2, 2, 0));
        assert_ne!(session.broken().prev, session.link());
        assert!(session.chain(Vec::new()).is_empty());
    }
}
