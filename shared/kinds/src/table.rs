//! The table of kinds: every row, found by resource or by kind.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Kind;

/// Rows in the order in which discovery lists them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Arc<Kind>>,
    by_resource: HashMap<String, usize>,
    by_kind: HashMap<String, usize>,
}

impl Table {
    /// Every built-in kind.
    pub fn builtin() -> Table {
        let mut table = Table::default();
        for kind in crate::builtin_rows() {
            table.insert(kind);
        }
        table
    }

    /// Adds a row, or replaces the one with the same group, version and resource.
    pub fn insert(&mut self, kind: Kind) {
        let resource = index_key(&kind.group, &kind.version, &kind.plural);
        let by_kind = index_key(&kind.group, &kind.version, &kind.kind);
        let at = *self.by_resource.entry(resource).or_insert(self.rows.len());
        if at < self.rows.len() {
            self.rows[at] = Arc::new(kind);
        } else {
            self.rows.push(Arc::new(kind));
        }
        self.by_kind.insert(by_kind, at);
    }

    /// The row of a resource, as `("apps", "v1", "deployments")`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.by_resource.get(&index_key(group, version, plural)).map(|at| Arc::clone(&self.rows[*at]))
    }

    /// The row of a kind, as `("apps", "v1", "Deployment")`.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Kind>> {
        self.by_kind.get(&index_key(group, version, kind)).map(|at| Arc::clone(&self.rows[*at]))
    }

    /// Every row; those of a group version follow each other.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.rows.iter()
    }

    /// The group versions in the order of their first row, the core group first.
    pub fn group_versions(&self) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for kind in &self.rows {
            let one = (kind.group.as_ref(), kind.version.as_ref());
            if !found.contains(&one) {
                found.push(one);
            }
        }
        found
    }
}

fn index_key(group: &str, version: &str, name: &str) -> String {
    format!("{group}/{version}/{name}")
}
