//! The table of kinds that are served at this moment: the built-in rows, and those of every definition.
//!
//! A definition is taken in as the store has it, by whoever notices first that it is new: the task that follows the
//! log, or a request that looks for its kind.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kinds::{Kind, Table, custom};
use model::{Object, Revision};
use serde_json::Value;
use store::{Item, Store};
use tokio::sync::watch;

use super::decide::Summary;

/// The table, and the definitions that it is made from.
pub struct Catalog {
    builtin: Table,
    known: Mutex<BTreeMap<String, Known>>,
    table: watch::Sender<Arc<Table>>,
}

/// A definition that was taken in.
struct Known {
    revision: Revision,
    face: Face,
    /// Since when its schemas are what they are.
    since: Revision,
    served: Vec<Arc<Kind>>,
    stored: Option<Arc<Kind>>,
    summary: Arc<Summary>,
}

/// What rows depend on; a definition that changes in other respects keeps its rows.
#[derive(PartialEq)]
struct Face {
    edition: (String, i64),
    accepted: Value,
    established: bool,
    terminating: bool,
}

// === impl Catalog ===

impl Catalog {
    /// The built-in kinds, and those of the definitions that are there.
    pub fn new(builtin: Table, store: &Store) -> Catalog {
        let table = watch::Sender::new(Arc::new(builtin.clone()));
        let catalog = Catalog { builtin, known: Mutex::default(), table };
        catalog.learn_all(store);
        catalog
    }

    /// The kinds that are served at this moment.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// Tells of each new table.
    pub fn changes(&self) -> watch::Receiver<Arc<Table>> {
        self.table.subscribe()
    }

    /// What is known of the definitions, in the order in which they were made; of one group, or of all.
    pub fn summaries(&self, group: Option<&str>) -> Vec<Arc<Summary>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = known.values().map(|one| &one.summary);
        let wanted = wanted.filter(|one| group.is_none_or(|group| one.group == group));
        let mut summaries: Vec<Arc<Summary>> = wanted.cloned().collect();
        summaries.sort_by_key(|one| one.created);
        summaries
    }

    /// What is known of a definition.
    pub fn summary(&self, name: &str) -> Option<Arc<Summary>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).map(|one| Arc::clone(&one.summary))
    }

    /// Takes in a definition as the store has it; says whether that made another table.
    pub fn learn(&self, store: &Store, name: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Read while nobody else can take in an older one.
        let changed = match store.get(&super::key(name)) {
            Some(item) => take_in(&mut known, &item),
            None => known.remove(name).is_some_and(|gone| gone.has_rows()),
        };
        if changed {
            self.table.send_replace(Arc::new(self.made_from(&known)));
        }
        changed
    }

    /// Takes in every definition that the store has, and forgets those that it does not have.
    pub fn learn_all(&self, store: &Store) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let items = store.list(&super::prefix()).items;
        let names: HashSet<&str> = items.iter().map(|item| item.key.name()).collect();
        let mut changed = false;
        known.retain(|name, one| {
            let stays = names.contains(name.as_str());
            changed |= !stays && one.has_rows();
            stays
        });
        for item in &items {
            changed |= take_in(&mut known, item);
        }
        if changed {
            self.table.send_replace(Arc::new(self.made_from(&known)));
        }
    }

    fn made_from(&self, known: &BTreeMap<String, Known>) -> Table {
        let mut table = self.builtin.clone();
        let mut rows: Vec<&Arc<Kind>> = known.values().flat_map(|one| &one.served).collect();
        // The rows of a group version follow each other, in the same order on every server.
        rows.sort_by_key(|row| (&row.group, &row.version, &row.plural));
        rows.into_iter().for_each(|row| table.insert_shared(Arc::clone(row)));
        known.values().filter_map(|one| one.stored.clone()).for_each(|row| table.insert_stored(row));
        table
    }
}

/// Takes in a definition; says whether its rows are others than before.
fn take_in(known: &mut BTreeMap<String, Known>, item: &Item) -> bool {
    let name = item.key.name();
    if known.get(name).is_some_and(|one| one.revision >= item.revision) {
        return false;
    }
    let Ok(definition) = serde_json::from_slice::<Object>(&item.value) else { return false };
    let (face, summary) = (Face::of(&definition), Arc::new(Summary::of(&definition, item)));
    let revision = item.revision;
    match known.get_mut(name) {
        Some(old) if old.face == face => {
            (old.revision, old.summary) = (revision, summary);
            false
        }
        old => {
            let had_rows = old.as_ref().is_some_and(|old| old.has_rows());
            let same_schemas = old.filter(|old| old.face.edition == face.edition);
            let since = same_schemas.map_or(revision, |old| old.since);
            let rows = custom::rows(&definition, &item.value, since);
            let one = Known { revision, face, since, served: rows.served, stored: rows.stored, summary };
            let changed = had_rows || one.has_rows();
            known.insert(name.to_owned(), one);
            changed
        }
    }
}

// === impl Known, Face ===

impl Known {
    fn has_rows(&self) -> bool {
        self.stored.is_some()
    }
}

impl Face {
    fn of(definition: &Object) -> Face {
        Face {
            edition: (definition.uid().to_owned(), definition.generation()),
            accepted: definition.at(&["status", "acceptedNames"]).cloned().unwrap_or_default(),
            established: kinds::metadata::is_true(definition, "Established"),
            terminating: definition.deletion_timestamp().is_some(),
        }
    }
}
