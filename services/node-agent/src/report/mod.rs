//! What the API server is told: the node, its pods and events.
//!
//! ```text
//!  core ── statuses ──┐
//!  core, act ─ notes ─┤ events    ──> Outbox ── one report at a time ──> report.<node>, again until it is taken
//!  node ── object ────┘ (counted)       newest status wins; while one report is under way the next one fills
//! ```

pub mod events;
pub mod outbox;
pub mod sender;

pub use outbox::Outbox;
