//! The skeleton that every service shares, one file a duty.
//!
//! ```text
//!  arguments ──> log ──> readiness ──> admin (/livez, /readyz, /metrics)
//!                            │
//!  shutdown ── cancels ──────┴──> the service's own loop
//! ```
//! Absent on purpose: what a service does, and the bus itself (crate `bus`).

pub mod admin;
pub mod arguments;
pub mod log;
pub mod readiness;
pub mod shutdown;

pub use arguments::{AdminArguments, BusArguments};
pub use log::init_logging;
pub use readiness::{Condition, Readiness};
pub use shutdown::Shutdown;
