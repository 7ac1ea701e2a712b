//! From a proposal to a pod that has its node.
//!
//! ```text
//!  our proposal ──verify on its node──> assumed ──packed──> sent ──> answered ──> seen in the view
//!  another's ── desk ──┘  │ no            ^                 │ to the API servers; or to the replica that binds
//!                         v               │                 v refused, or never answered
//!                  decided again          └──────── taken back, decided again
//! ```
//! A pod counts on its node from the moment its proposal is accepted, so no two proposals are given the same room. One
//! replica binds, and its binds carry a guard; the others send it what they accept as if it were the API servers.

pub mod binder;
pub mod desk;
pub mod verify;

pub use binder::{Answer, Batch, Bind, Binder, Outcome, Proposal, Why};
pub use desk::{Desk, EARLY_LONGEST, Ticket};
pub use verify::{Objection, verify};
