//! How Sampan's services talk over NATS: requests, events and byte streams, each with its form on the wire.
//!
//! ```text
//!  services ── cmd.write ──────────────> API servers (queue group)      command.rs
//!  replicas ── cmd.lead, lead.<role> ──> API servers, each other        leader.rs
//!  schedulers  sched.propose.<replica> > the one that binds             proposal.rs
//!         ──── ext.<name>.<verb> ──────> extenders (queue group)       extender.rs
//!  agents ──── attach.<node> ──────────> API servers (queue group)      node.rs
//!         <─── node.<node>.want ──────── the API server that answered
//!         ──── report.<node> ──────────> API servers (queue group)
//!         ──── join.<node>, credential.<node> ──> API servers (queue group)   join.rs
//!         ──── hb.<node> ─────────────>  everybody who watches nodes
//!         <─── node.<node>.open ──────── API servers: exec, attach, logs, port-forward
//!         <──> node.<node>.stream.<id>, stream.<node>.<id>              stream.rs
//! ```
//! Everything is MessagePack with named fields; objects travel as the JSON bytes that the store keeps.
//! [`memory`] is the same bus without a server, with faults from a seed, for tests and simulations; one contract suite
//! holds both.
//! Absent on purpose: the log (crate `store`), and any knowledge of kinds.

pub mod codec;
pub mod command;
pub mod config;
pub mod connection;
pub mod extender;
pub mod join;
pub mod leader;
mod link;
pub mod memory;
pub mod node;
pub mod proposal;
pub mod security;
pub mod stream;
pub mod subject;
pub mod trace;

pub use config::{Config, Identity, Trust};
pub use connection::{Bus, BusError, Incoming, Requests};
