//! Extenders: programs outside that are asked about nodes before a pod gets one.
//!
//! ```text
//!  decide: nodes that suit, with scores ──> Question ──> call: filter, one after the other ──> prioritize, all at once
//!                                                          │ http: upstream's extender/v1       │
//!                                                          │ bus: ext.<name>.<verb>             v
//!           bind  <── the best that still holds <───────────────────────────────────────── Said
//! ```
//! A pod is held while its extenders are asked, and others are decided about meanwhile. What they say may be out of
//! date when it comes, so the choice is verified as every proposal is. Source of the rules: upstream's
//! `kube-scheduler/extender/v1` and `KubeSchedulerConfiguration`.
//!
//! Absent: preemption, of which there is none yet.

pub mod call;
pub mod reach;
pub mod serve;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::Key;

use reach::Reach;

/// An extender, as it was configured.
#[derive(Debug)]
pub struct Extender {
    /// As messages name it.
    pub name: String,
    /// How it is asked.
    pub reach: Reach,
    /// The last part of each address, `None` for what it does not do.
    pub verbs: Verbs,
    /// What its points count; positive when it gives any.
    pub weight: i64,
    /// Whether it knows the nodes by itself, so that names are enough.
    pub knows_nodes: bool,
    /// It is asked about pods that want one of these resources; about all when there are none.
    pub managed: BTreeSet<String>,
    /// Pods are scheduled without it when it fails.
    pub ignorable: bool,
    /// How long it may take.
    pub patience: Duration,
}

/// What an extender does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbs {
    /// Refuses nodes.
    pub filter: Option<String>,
    /// Gives nodes points.
    pub prioritize: Option<String>,
    /// Binds pods in our place.
    pub bind: Option<String>,
}

/// A pod's nodes, to be asked about.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its number: an answer to an earlier one counts for nothing.
    pub number: u64,
    /// The pod.
    pub pod: Key,
    /// Nodes that suit by our own filters, with their scores.
    pub nodes: Vec<(Arc<str>, i64)>,
    /// Who is asked, by place in the configuration.
    pub extenders: Vec<usize>,
}

/// What extenders say of a pod's nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The nodes that are left, with their points on top of ours.
    Nodes {
        /// Best by the sum of points, in no order.
        left: Vec<(Arc<str>, i64)>,
        /// Why others are not: reasons with the number of nodes.
        refused: BTreeMap<String, usize>,
    },
    /// One that may not be ignored failed.
    Failed(String),
}

/// A pod that an extender is to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOrder {
    /// The pod.
    pub pod: Key,
    /// Its uid.
    pub uid: String,
    /// The node.
    pub node: Arc<str>,
    /// Who binds, by place in the configuration.
    pub extender: usize,
}

/// What one point of an extender (0 to 10) is worth beside ours (0 to 100).
pub const POINT: i64 = 10;

// === impl Extender ===

impl Extender {
    /// Whether it is asked about pods that want these resources.
    pub fn concerns<'a>(&self, mut resources: impl Iterator<Item = &'a str>) -> bool {
        self.managed.is_empty() || resources.any(|name| self.managed.contains(name))
    }

    /// Whether it has a say in the choice of a node.
    pub fn advises(&self) -> bool {
        self.verbs.filter.is_some() || self.verbs.prioritize.is_some()
    }
}
