//! What a scheduler asks an extender over the bus.
//!
//! ```text
//!  scheduler ── ext.<name>.filter      Ask ──> extender (a queue group: several share the work)
//!            <─ Filtered ───────────────────── one answer a pod
//!            ── ext.<name>.prioritize  Ask ──>
//!            <─ Scored ───────────────────────
//!            ── ext.<name>.bind       Bind ──>
//!            <─ Bound ────────────────────────
//! ```
//! Nodes travel as names alone: whoever extends a scheduler over the bus follows the log as well, and the revision says
//! how far the scheduler's view was.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Pods and the nodes that suit them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// How far the scheduler's view of the log is.
    pub revision: u64,
    /// One a pod.
    pub items: Vec<AskItem>,
}

/// A pod and its nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskItem {
    /// The pod in JSON.
    pub pod: Bytes,
    /// Names of nodes.
    pub nodes: Vec<String>,
}

/// The answer to `filter`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Filtered {
    /// One a pod, in their order.
    pub items: Vec<FilteredItem>,
}

/// Which nodes a pod cannot have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilteredItem {
    /// Names and reasons; the other nodes are left.
    pub refused: BTreeMap<String, String>,
    /// Why there is no answer; empty if there is.
    #[serde(default)]
    pub error: String,
}

/// The answer to `prioritize`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scored {
    /// Names with points from 0 to 10, for each pod, in their order. A node that is not named gets none.
    pub items: Vec<Vec<(String, i64)>>,
}

/// A pod to bind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// The node.
    pub node: String,
}

/// The answer to `bind`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Why not; empty when it is bound.
    pub error: String,
}
