//! The simulation: a whole cluster in one thread, from a seed.
//!
//! ```text
//!  seed ──> run ──> World: API servers, scheduler, controllers, agents (their own code) on a log and a bus in memory
//!            │        ^            ^
//!            │        │ work       │ chaos: deaths, cuts, slowness, lost messages, machines without power
//!            │        │ (users)    │
//!            └──────> hermetic: time and chance of the process
//!
//!  log ──every step──> check ──> Report
//! ```
//! The clock is paused, so a run of minutes takes as long as its computing does; chance comes from the seed, so the
//! same seed gives the same run, step for step (`hermetic` says how). What a rule finds broken ends the run.
//! Absent on purpose: HTTP, TLS and files; real containers; and time between two steps of one process.

pub mod hermetic;
pub mod run;

// The cluster.
pub mod machine;
pub mod process;
pub mod seat;
pub mod services;
pub mod trace;
pub mod world;

// What happens to it.
pub mod chaos;
pub mod user;
pub mod work;

// What must hold.
pub mod check;

pub use run::{Report, run};
