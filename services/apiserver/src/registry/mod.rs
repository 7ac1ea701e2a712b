//! The one way in which objects are written, and what every verb needs for it.

use std::sync::{Arc, RwLock};

use kinds::{Kind, Table};
use schema::Schemas;

/// The state that every request shares.
#[derive(Debug)]
pub struct Registry {
    table: RwLock<Arc<Table>>,
    schemas: &'static Schemas,
}

impl Registry {
    /// A registry with these kinds.
    pub fn new(table: Table, schemas: &'static Schemas) -> Registry {
        Registry { table: RwLock::new(Arc::new(table)), schemas }
    }

    /// The kinds that are served at this moment.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().expect("nobody panics while holding the table"))
    }

    /// The types of the built-in kinds.
    pub fn schemas(&self) -> &'static Schemas {
        self.schemas
    }

    /// The row of a resource.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.table().find(group, version, plural)
    }
}
