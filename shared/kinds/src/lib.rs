//! Every built-in kind as a row of one table, with its defaults, rules and printer columns.
//!
//! ```text
//!   descriptor ── the form of a row ──> table <── one file a kind with behaviour; plain.rs for the rest
//!       └ hooks: default ─> prepare ─> validate ─> (stored) ─> columns
//! ```
//! Everything works on [`model::Object`] and is pure: no clock, no IO; `now` is an argument.
//! Absent on purpose: verbs, storage, admission (crate `apiserver`) and type information (crate `schema`).

pub mod descriptor;
pub mod table;

pub mod metadata;
pub mod scale;

pub mod age;
mod selector_text;

mod plain;

pub use descriptor::{
    CellContext, Column, Hooks, Kind, NameRule, SelectableField, Storage, Subresource, Verb, Verbs,
};
pub use table::Table;

/// The built-in rows, a group version after the other.
fn builtin_rows() -> Vec<Kind> {
    plain::rows()
}
