//! The API server: Kubernetes' HTTP API for clients, the same verbs by bus command for services, and the
//! gateway of the nodes, over a state that follows the log.
//!
//! ```text
//!  kubectl, operators ──HTTPS──> http ──────┐  identity: who;  authorization: may they
//!  services ────────────bus──> commands ────┤  verbs ──> admission ──> registry ──commit──> store
//!  replicas ────────────bus──> leadership ──┤    │ reads and watches                          │ feed
//!  node agents ─────────bus──> nodes ───────┘    │                                            │
//!       ^                                        └────────────────────────────────────────────┘
//!       └── streams: exec, attach, logs, port-forward
//! ```
//! One generic path for every kind: what differs between kinds is a row of `kinds::Table`, custom kinds too
//! (`definitions`).
//! Absent on purpose: anything that acts on objects by itself (controllers, scheduler), and any datastore
//! but the log.

pub mod args;
pub mod service;

// In the order of a request.
pub mod http;

pub mod commands;

pub mod identity;

pub mod authorization;

pub mod verbs;

pub mod admission;

pub mod registry;

// Beside it.
pub mod definitions;

pub mod discovery;

pub mod reviews;

pub mod leadership;

pub mod nodes;

pub mod streams;

pub mod endpoints;

pub mod outside;

pub use args::Config;
pub use service::run;
