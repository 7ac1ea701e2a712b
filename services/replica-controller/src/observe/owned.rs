//! Objects of one kind, found by the object that manages them, or by namespace when nobody does.

use std::collections::{BTreeSet, HashMap};

use model::Key;

/// What an index must know of an object.
pub trait Dependent: PartialEq {
    /// The uid of the controller that manages it.
    fn manager(&self) -> Option<&str>;
}

/// Objects by key, with an index by manager. Work per lookup is proportional to what is found.
#[derive(Debug)]
pub struct Owned<T> {
    by_key: HashMap<Key, T>,
    by_manager: HashMap<String, BTreeSet<Key>>,
    orphans: HashMap<String, BTreeSet<Key>>,
}

impl<T> Default for Owned<T> {
    fn default() -> Self {
        Owned { by_key: HashMap::new(), by_manager: HashMap::new(), orphans: HashMap::new() }
    }
}

// === impl Owned ===

impl<T: Dependent> Owned<T> {
    /// Takes in an object; returns the one that it replaces.
    pub fn put(&mut self, key: Key, object: T) -> Option<T> {
        let previous = self.remove(&key);
        self.group(&key, object.manager()).insert(key.clone());
        self.by_key.insert(key, object);
        previous
    }

    /// Takes out an object.
    pub fn remove(&mut self, key: &Key) -> Option<T> {
        let object = self.by_key.remove(key)?;
        let group = self.group(key, object.manager());
        group.remove(key);
        if group.is_empty() {
            match object.manager() {
                Some(uid) => self.by_manager.remove(uid),
                None => self.orphans.remove(key.namespace()),
            };
        }
        Some(object)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The object with that key.
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.by_key.get(key)
    }

    /// What `uid` manages, in the order of keys.
    pub fn of(&self, uid: &str) -> impl Iterator<Item = (&Key, &T)> {
        self.all(self.by_manager.get(uid))
    }

    /// What nobody manages in a namespace, in the order of keys.
    pub fn orphans(&self, namespace: &str) -> impl Iterator<Item = (&Key, &T)> {
        self.all(self.orphans.get(namespace))
    }

    fn all<'a>(&'a self, keys: Option<&'a BTreeSet<Key>>) -> impl Iterator<Item = (&'a Key, &'a T)> {
        keys.into_iter().flatten().filter_map(|key| Some((key, self.by_key.get(key)?)))
    }

    fn group(&mut self, key: &Key, manager: Option<&str>) -> &mut BTreeSet<Key> {
        match manager {
            Some(uid) => self.by_manager.entry(uid.to_owned()).or_default(),
            None => self.orphans.entry(key.namespace().to_owned()).or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(Option<&'static str>);

    impl Dependent for Thing {
        fn manager(&self) -> Option<&str> {
            self.0
        }
    }

    fn key(name: &str) -> Key {
        Key::object("", "things", "default", name)
    }

    #[test]
    fn an_object_is_found_where_its_newest_manager_is() {
        let mut things = Owned::default();
        things.put(key("a"), Thing(Some("x")));
        things.put(key("b"), Thing(None));
        assert_eq!(things.put(key("a"), Thing(Some("y"))), Some(Thing(Some("x"))));
        assert_eq!(things.of("x").count(), 0);
        assert_eq!(things.of("y").map(|(key, _)| key.name()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(things.orphans("default").map(|(key, _)| key.name()).collect::<Vec<_>>(), ["b"]);
        things.remove(&key("b"));
        assert_eq!((things.orphans("default").count(), things.get(&key("b"))), (0, None));
    }
}
