//! From a proposal to a pod that has its node.
//!
//! ```text
//!  proposal ──verify on its node──> assumed ──packed──> sent ──> answered ──> seen in the view
//!                  │ no                                   │ refused, or never answered
//!                  v                                      v
//!            decided again                       taken back, decided again
//! ```
//! A pod counts on its node from the moment its proposal is accepted, so no two proposals are given the same room.

pub mod binder;
pub mod verify;

pub use binder::{Answer, Batch, Binder, Proposal};
pub use verify::{Objection, verify};
