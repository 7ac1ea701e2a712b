//! Documents that are large and change only with the table of kinds: made once, on first use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kinds::Table;
use sha2::{Digest, Sha256};

use super::aggregated::{self, DiscoveryVersion};
use super::document::Document;
use super::{openapi_v2, openapi_v3};

/// One of the documents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// Aggregated discovery of the core group.
    Core(DiscoveryVersion),
    /// Aggregated discovery of all other groups.
    Others(DiscoveryVersion),
    /// The index of OpenAPI v3.
    OpenApiIndex,
    /// OpenAPI v3 of a group version, as `apis/apps/v1`.
    OpenApi(String),
    /// OpenAPI v2 as JSON.
    OpenApiV2Json,
    /// OpenAPI v2 as protobuf.
    OpenApiV2Protobuf,
}

/// The documents of the table that was last asked about.
#[derive(Debug, Default)]
pub struct Documents {
    of: Mutex<OfTable>,
}

#[derive(Debug, Default)]
struct OfTable {
    table: Option<Arc<Table>>,
    made: HashMap<Name, Arc<OnceLock<Document>>>,
}

// === impl Documents ===

impl Documents {
    /// The document, made if need be, which may take a while; `None` for a group version that there is not.
    pub async fn get(&self, table: Arc<Table>, name: Name) -> Option<Document> {
        if let Name::OpenApi(path) = &name
            && !has(&table, path)
        {
            return None;
        }
        let cell = self.cell(&table, &name);
        if let Some(made) = cell.get() {
            return Some(made.clone());
        }
        // Whoever comes second waits for the first instead of making it again.
        let making = tokio::task::spawn_blocking(move || cell.get_or_init(|| make(&table, &name)).clone());
        making.await.ok()
    }

    fn cell(&self, table: &Arc<Table>, name: &Name) -> Arc<OnceLock<Document>> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if !of.table.as_ref().is_some_and(|known| Arc::ptr_eq(known, table)) {
            *of = OfTable { table: Some(Arc::clone(table)), made: HashMap::new() };
        }
        Arc::clone(of.made.entry(name.clone()).or_default())
    }
}

/// Whether there is a group version at `path`, as `api/v1` or `apis/apps/v1`.
fn has(table: &Table, path: &str) -> bool {
    let group_version = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", *version)),
        ["apis", group, version] => Some((*group, *version)),
        _ => None,
    };
    group_version.is_some_and(|wanted| table.group_versions().contains(&wanted))
}

fn make(table: &Table, name: &Name) -> Document {
    match name {
        Name::Core(version) => document(&aggregated::core(table, *version)),
        Name::Others(version) => document(&aggregated::others(table, *version)),
        Name::OpenApiIndex => openapi_v3::index(table),
        Name::OpenApi(path) => {
            openapi_v3::group_version(table, path).unwrap_or_else(|| document(&serde_json::json!({})))
        }
        Name::OpenApiV2Json => openapi_v2::json(table),
        Name::OpenApiV2Protobuf => openapi_v2::protobuf(table),
    }
}

fn document(value: &serde_json::Value) -> Document {
    let text = value.to_string();
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02X}")).collect();
    Document::new(text.as_bytes(), &hash)
}

#[cfg(test)]
mod tests {
    use kinds::Kind;

    use super::*;

    fn table(kinds: &[&'static str]) -> Arc<Table> {
        let mut table = Table::default();
        for kind in kinds {
            table.insert(Kind::namespaced("", "v1", kind, kind));
        }
        Arc::new(table)
    }

    #[tokio::test]
    async fn a_document_is_the_same_until_the_table_changes() {
        let documents = Documents::default();
        let name = Name::Core(DiscoveryVersion::V2);
        let first = table(&["a"]);
        let one = documents.get(Arc::clone(&first), name.clone()).await.unwrap();
        let again = documents.get(first, name.clone()).await.unwrap();
        assert_eq!((&one.etag, one.bytes()), (&again.etag, again.bytes()));
        let changed = documents.get(table(&["a", "b"]), name).await.unwrap();
        assert_ne!(one.etag, changed.etag);
    }

    #[tokio::test]
    async fn an_unknown_group_version_has_no_document() {
        let documents = Documents::default();
        for path in ["apis/apps/v9", "api", "apis/apps", ""] {
            assert!(documents.get(table(&["a"]), Name::OpenApi(path.to_owned())).await.is_none(), "{path}");
        }
    }
}
