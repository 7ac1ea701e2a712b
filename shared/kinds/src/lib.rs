//! Every built-in kind as a row of one table, with its defaults, rules and printer columns; and the rows that
//! CustomResourceDefinitions make at run time.
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
mod cell;
mod field;
mod fill;
mod resource;

pub mod custom;
pub mod definition;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;

mod workload;

mod daemon_set;
mod deployment;
mod job;
mod replica_set;
mod stateful_set;

mod autoscaler;
mod config_map;
mod endpoints;
mod networking;
mod quota;
mod rbac;
mod review;
mod secret;
pub mod service;
pub mod storage;
mod volume;

mod plain;

#[cfg(test)]
mod testing;

pub use descriptor::{
    CellContext, Column, Hooks, Kind, NameRule, SelectableField, Storage, Subresource, SubresourceUpdate,
    Verb, Verbs,
};
pub use table::Table;

/// The built-in rows, a group version after the other, in the order in which discovery lists them.
fn builtin_rows() -> Vec<Kind> {
    let core = [
        plain::binding(),
        config_map::kind(),
        endpoints::endpoints(),
        event::core(),
        quota::limit_range(),
        namespace::kind(),
        node::kind(),
        volume::claim(),
        volume::volume(),
        pod::kind(),
        plain::pod_template(),
        replica_set::replication_controller(),
        quota::resource_quota(),
        secret::kind(),
        plain::service_account(),
        service::kind(),
    ];
    let apps = [
        plain::controller_revision(),
        daemon_set::kind(),
        deployment::kind(),
        replica_set::replica_set(),
        stateful_set::kind(),
    ];
    let mut rows: Vec<Kind> = core.into_iter().chain(apps).collect();
    rows.push(event::modern());
    rows.extend(review::kinds());
    rows.extend(autoscaler::kinds());
    rows.extend([job::cron_job(), job::job()]);
    rows.extend(networking::kinds());
    rows.push(plain::pod_disruption_budget());
    rows.extend(rbac::kinds());
    rows.extend(storage::kinds());
    rows.extend([plain::priority_class(), lease::kind(), endpoints::slice()]);
    rows.push(definition::kind());
    rows
}
