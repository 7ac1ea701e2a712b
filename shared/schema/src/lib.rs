//! Types as data: what every built-in kind looks like, and what follows from that alone.
//!
//! ```text
//!   data/v1.35.jsonl.gz ── document: a line a type ──┬─> load ─> Schemas (compact, resident)
//!        (made by xtask)                             │              │
//!                                                    │    json ─────┤ bytes → value, duplicate fields
//!                                                    │    proto ────┤ bytes → value
//!                                                    │    fields ───┤ value → unknown fields, wrong types
//!                                                    │    strategic ┘ value × patch → value
//!                                                    └─> OpenAPI (crate `apiserver`), with every description
//! ```
//! A type here is a shape: names, numbers and kinds of fields. Those of custom kinds come as objects at run time, with
//! defaults and rules in them: [`structural`]. Absent on purpose: what values of built-in kinds mean, their defaults
//! and rules (crate `kinds`).

pub mod document;
pub mod fields;
pub mod json;
pub mod proto;
pub mod strategic;
pub mod structural;

mod load;
mod names;
mod path;
mod time;
mod types;

pub use types::{Schemas, TypeId};
