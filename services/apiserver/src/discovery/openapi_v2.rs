//! OpenAPI v2.

use bytes::Bytes;
use kinds::Table;

use super::openapi_v3::Document;

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub fn protobuf(_table: &Table) -> Document {
    Document { bytes: Bytes::new(), etag: String::new() }
}

/// `/openapi/v2` as JSON.
pub fn json(_table: &Table) -> Document {
    Document { bytes: Bytes::from_static(b"{}"), etag: String::new() }
}
