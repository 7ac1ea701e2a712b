//! What services read and write the cluster with.
//!
//! ```text
//!  log ──> reader ──> follow ──> Controller::observe ──> queue ──> Controller::decide (pure)
//!                                              only who leads: ─────────┤ Decision
//!  API servers <── writer <── events, writes <── controller (the driver) ┘
//! ```
//! A key is decided again only when the view has passed the key's own writes, so a controller never acts twice on
//! what it has not seen: the log says where each write stands, and nothing has to be expected or guessed.
//! Absent on purpose: a second way to write. Everything goes through the API servers' registry.

pub mod controller;
pub mod events;
pub mod follow;
pub mod leader;
pub mod ownership;
pub mod queue;
pub mod reader;
pub mod revisions;
mod woken;
pub mod writer;

pub use controller::{Controller, Decision};
pub use events::{Note, NoteKind};
pub use follow::{Follower, Observed};
pub use leader::{Campaign, Leadership, Role, Standing};
pub use reader::{open, or_default, typed};
pub use writer::Writer;
