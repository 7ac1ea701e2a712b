//! The gateway for node agents: what is wanted of each node goes out, what became of it comes in.
//!
//! ```text
//!  store ── every change, in order ──> hub: which node does it concern? ──> session: next link of its chain
//!                                       ^                                        │ node.<node>.want
//!  attach.<node> ── snapshot ───────────┘                                        v
//!  agent ── report.<node> ──> report: the same verbs as everybody ──> committed, then answered
//!        ── token.<node> ──> tokens: for the pods that were given to it, and no others
//!        ── join.<node>, credential.<node> ──> joining: credentials for whoever proves a token, and for who is here
//!        ── hb.<node> ─────> heartbeats, kept here and shown as Leases
//! ```
//! `hub` and `session` are plain data and decide; `gateway` is the only code here that awaits the bus for them.

pub mod gateway;
pub mod heartbeats;
pub mod joining;
pub mod leases;
pub mod report;
pub mod tokens;

mod bound_pod;
mod hub;
mod metrics;
mod services;
mod session;
mod volumes;

pub use gateway::Gateway;
pub use heartbeats::Heartbeats;
