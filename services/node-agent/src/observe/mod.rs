//! What is wanted of this node, and what is there.
//!
//! ```text
//!  API server ── attach (chain) ──> wanted   pods, and the config maps and secrets that they refer to
//!  runtime ───── relist ──────────> listing  sandboxes and containers, by pod
//! ```

pub mod attach;
pub mod chain;
pub mod listing;
pub mod relist;
pub mod wanted;
