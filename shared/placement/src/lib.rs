//! Where a pod may be: what the scheduler, the eviction from tainted nodes, DaemonSets and the volume controller must
//! judge alike.
//!
//! ```text
//!  pod: nodeSelector, nodeAffinity ──> affinity ──admits?── labels, name ──┐
//!  pod: tolerations ─────────────────> taint ─────covers?── taints ────────┴─ node
//!  claim ────────────────────────────> volume ────suits?─── volumes, and by their affinity the nodes that reach them
//! ```
//! Pure. Absent on purpose: resources, ports and other pods, which only the scheduler looks at; and how taints come to
//! a node, which is the node lifecycle's.

pub mod affinity;
pub mod taint;
pub mod volume;

pub use affinity::{AffinityJson, Labels, NodeAffinity, NodeSelectorJson, Term};
pub use taint::{Effect, Taint, TaintJson, Toleration, TolerationJson, tolerated};
