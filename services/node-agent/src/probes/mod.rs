//! Probes of containers: what is due (plan), what a run of results means (verdict), and who carries them out (prober).

pub mod plan;
pub mod prober;
pub mod verdict;

pub use prober::Prober;
