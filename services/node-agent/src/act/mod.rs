//! Carrying out what was decided.
//!
//! ```text
//!  carry_out ── Action ──> Runtime ──┬─ containerd   CRI, and the disk: volumes (atomic, subpath, local_volume), disk
//!      └──> Outcome                  └─ hollow       pretends
//!  checks     hooks and probes over the network
//!  logs       rotation
//! ```

pub mod atomic;
pub mod carry_out;
pub mod checks;
pub mod containerd;
pub mod disk;
pub mod hollow;
pub mod local_volume;
pub mod logs;
pub mod runtime;
pub mod subpath;
pub mod tokens;
pub mod volumes;

pub use runtime::Runtime;
