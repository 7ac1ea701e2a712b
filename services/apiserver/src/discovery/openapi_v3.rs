//! OpenAPI v3.

use bytes::Bytes;
use kinds::Table;

/// A document and the hash of its content.
#[derive(Clone, Debug)]
pub struct Document {
    /// The document, uncompressed.
    pub bytes: Bytes,
    /// Strong validator, with its quotes.
    pub etag: String,
}

/// `/openapi/v3`: where each group version's document is.
pub fn index(_table: &Table) -> Document {
    Document { bytes: Bytes::from_static(b"{\"paths\":{}}"), etag: String::new() }
}

/// `/openapi/v3/{path}`, where `path` is as `api/v1` or `apis/apps/v1`.
pub fn group_version(_table: &Table, _path: &str) -> Option<Document> {
    None
}
