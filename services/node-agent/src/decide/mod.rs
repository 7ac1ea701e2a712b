//! One pure state machine a pod, and the whole node's as the sum of them.
//!
//! ```text
//!  inputs: wanted, listing, outcomes, probes, time
//!     └──> core ── for each pod that has changed ──> pod (what to do) ──> actions with their reasons
//!            │                                        ├ backoff, memory (what was tried)
//!            │                                        └ status, conditions (what to say of it)
//!            └──> reports, events, the time to look again
//! ```
//! Nothing here awaits, reads a clock or touches the machine.

pub mod action;
pub mod backoff;
pub mod conditions;
pub mod containers;
pub mod core;
pub mod memory;
pub mod outcome;
pub mod pod;
pub mod removals;
pub mod status;
pub mod wind_down;

#[cfg(test)]
mod tests;

pub use action::{Action, Check, Kill, Note, Severity, Slot, Start};
pub use core::{Core, Effects, Input};
