//! The choice of a node for a pod. Pure: no clock, no IO, randomness from a seed.
//!
//! ```text
//!  shape ──prepare──> filters ──each node, first no wins──> feasible ──scores──> best, ties by dice
//!                        │ none feasible
//!                        └──> diagnosis: per reason how many nodes, in upstream's words
//! ```

pub mod cycle;
pub mod diagnosis;
pub mod dice;
pub mod framework;
pub mod plugins;
#[cfg(test)]
mod reference;

pub use cycle::{Choice, Cycle};
pub use diagnosis::Diagnosis;
pub use dice::Dice;
pub use framework::{Plugin, Refusal};
