//! May it be: what the cluster as a whole has to say about an object, a file per plugin.
//!
//! ```text
//!  request ─> mutate: each plugin in order ─> (metadata, the kind's own rules) ─> validate: each plugin in order
//!                └ may add writes that stand or fall with the object's own (an address, a port)
//! ```
//! Plugins are plain functions of the request, the object and a view of the state; they run again for every attempt
//! of a write, so what they looked at is as new as what the write replaces. A fault-free plugin chain is the only
//! one: there is no plugin that fails open.

pub mod chain;

mod escalation;
mod namespace_lifecycle;
mod priority;
mod service_account;
mod service_addresses;
mod storage;
mod tolerations;

pub use chain::{Operation, Request, View, mutate, validate};
pub use priority::SYSTEM_CLASSES;
pub use service_addresses::released;
