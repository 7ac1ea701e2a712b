//! The store: every object in memory, in the order that one log gives, and conditional writes to that log.
//!
//! ```text
//!  commit ─> committer ─────append────> log ──tail──> feed ──apply──> state ──> get, list, page
//!    ^       (group commit)             │ ^                    │        │
//!    │                                  │ └── checkpoint, purge┼────────┤
//!    └───────────── outcome ────────────┼──────────────────────┘        └──> history ──> watch
//!                                       └── where does it end? ──> barrier
//! ```
//! The store is a fold over the log: [`Store::commit`] appends a conditional transaction, every reader applies it in
//! the same order with the same pure function (`apply`), and the writer learns the outcome when its own feed passes
//! the message. Who wins is decided by the order, so there is no leader among writers, no lock, and no outcome that
//! depends on an acknowledgement.
//!
//! Absent on purpose: what an object means, defaults, validation, retries after a conflict (the registry), and any
//! second way to write. Only this crate knows JetStream ([`jetstream`]); [`memory`] is the same log with faults from a
//! seed, for tests and simulations.

mod apply;
mod barrier;
mod checkpoint;
mod committer;
mod feed;
mod history;
mod item;
pub mod jetstream;
pub mod log;
pub mod memory;
mod metrics;
mod ordered;
mod partition;
mod state;
mod store;
mod topics;
mod txn;
mod watch;

pub use history::HistoryBounds;
pub use item::{Change, Health, Item, Listing, Page, Recalled, TooOld, Unavailable, WatchEvent};
pub use log::Log;
pub use store::{OpenError, Options, Store};
pub use txn::{
    Action, CommitError, Committed, Expect, Frame, FrameError, Guard, MAX_EVENT_OPS, MAX_OPS, Op, OpOutcome,
    Txn, class_of,
};
pub use watch::{Glance, Watch};
