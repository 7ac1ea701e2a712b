//! What exists: every document about the API itself, derived from the table of kinds.
//!
//! ```text
//!   Table ──> groups.rs      /api, /apis, /apis/apps, /api/v1 as older clients ask
//!         ├─> aggregated.rs  all of it in one document, as newer clients ask
//!         ├─> operations.rs  what can be asked, for openapi_v3.rs and openapi_v2.rs (in protobuf: gnostic.rs);
//!         │                  custom_types.rs: the types of custom kinds for both
//!         └─> table.rs       objects as rows of a table
//!   documents.rs             what is large, made once for each table and kept packed (document.rs)
//!   version.rs               /version
//! ```

pub mod aggregated;
mod custom_types;
pub mod document;
pub mod documents;
mod gnostic;
pub mod groups;
pub mod openapi_v2;
pub mod openapi_v3;
mod operations;
pub mod table;
pub mod version;
