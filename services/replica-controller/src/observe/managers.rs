//! Where the objects that manage others are found: by their uid, and by namespace.

use std::collections::{BTreeSet, HashMap};

use model::Key;

/// The keys of objects that manage others. The objects themselves are kept by whoever keeps this.
#[derive(Debug, Default)]
pub struct Managers {
    by_uid: HashMap<String, Key>,
    uids: HashMap<Key, String>,
    by_namespace: HashMap<String, BTreeSet<Key>>,
}

// === impl Managers ===

impl Managers {
    /// Takes in an object, also one that took the place of another with its name.
    pub fn put(&mut self, key: &Key, uid: &str) {
        if self.uids.get(key).is_some_and(|known| known == uid) {
            return;
        }
        self.remove(key);
        self.by_uid.insert(uid.to_owned(), key.clone());
        self.uids.insert(key.clone(), uid.to_owned());
        self.by_namespace.entry(key.namespace().to_owned()).or_default().insert(key.clone());
    }

    /// Takes out an object.
    pub fn remove(&mut self, key: &Key) {
        let Some(uid) = self.uids.remove(key) else { return };
        self.by_uid.remove(&uid);
        if let Some(keys) = self.by_namespace.get_mut(key.namespace()) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_namespace.remove(key.namespace());
            }
        }
    }

    /// The object with that uid.
    pub fn find(&self, uid: Option<&str>) -> Option<Key> {
        self.by_uid.get(uid?).cloned()
    }

    /// Those that a change of a dependent concerns: its manager; of one that nobody manages those that select it.
    pub fn concerned(
        &self,
        dependent: &Key,
        manager: Option<&str>,
        selects: impl Fn(&Key) -> bool,
    ) -> Vec<Key> {
        match manager {
            Some(_) => self.find(manager).into_iter().collect(),
            None => {
                let candidates = self.by_namespace.get(dependent.namespace()).into_iter().flatten();
                candidates.filter(|key| selects(key)).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::object("apps", "things", "default", name)
    }

    #[test]
    fn a_dependent_concerns_its_manager_and_an_orphan_those_that_select_it() {
        let mut managers = Managers::default();
        managers.put(&key("a"), "1");
        managers.put(&key("b"), "2");
        let orphan = Key::object("", "pods", "default", "p");
        let elsewhere = Key::object("", "pods", "other", "p");
        assert_eq!(managers.concerned(&orphan, Some("2"), |_| true), [key("b")]);
        assert_eq!(managers.concerned(&orphan, Some("9"), |_| true), []);
        assert_eq!(managers.concerned(&orphan, None, |one| one.name() == "a"), [key("a")]);
        assert_eq!(managers.concerned(&elsewhere, None, |_| true), []);
    }

    #[test]
    fn an_object_of_the_same_name_takes_the_place_of_the_one_before() {
        let mut managers = Managers::default();
        managers.put(&key("a"), "1");
        managers.put(&key("a"), "2");
        assert_eq!((managers.find(Some("1")), managers.find(Some("2"))), (None, Some(key("a"))));
        managers.remove(&key("a"));
        assert_eq!(managers.find(Some("2")), None);
    }
}
