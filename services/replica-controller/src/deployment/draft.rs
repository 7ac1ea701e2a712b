//! A set as it shall become: planning changes drafts, and what differs in the end is written.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::jiff::Timestamp;

use crate::observe::{Deployment, Set};

/// Which rollout a set belongs to; the newest has the greatest number.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions of a set that was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's size when the set was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with its surge.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// A set as it shall become.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The set as it is; `None` for one that is yet to be made.
    pub set: Option<&'a Set>,
    /// Its name.
    pub name: String,
    /// `spec.replicas` as it shall be.
    pub replicas: i32,
    /// `spec.minReadySeconds` as it shall be.
    pub min_ready_seconds: i32,
    /// `metadata.annotations` as they shall be.
    pub annotations: BTreeMap<String, String>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// A set as it is.
    pub fn of(set: &'a Set) -> Self {
        Draft {
            set: Some(set),
            name: set.name().to_owned(),
            replicas: set.replicas,
            min_ready_seconds: set.min_ready_seconds,
            annotations: set.annotations.clone(),
        }
    }

    /// A set that is yet to be made.
    pub fn new(name: String, deployment: &Deployment) -> Self {
        Draft {
            set: None,
            name,
            replicas: 0,
            min_ready_seconds: deployment.min_ready_seconds,
            annotations: BTreeMap::new(),
        }
    }

    /// Its status; empty while there is none.
    pub fn status(&self) -> ReplicaSetStatus {
        self.set.map(|set| set.status.clone()).unwrap_or_default()
    }

    /// Available pods. Those above its size are as good as gone.
    pub fn available(&self) -> i32 {
        self.status().available_replicas.unwrap_or(0).min(self.replicas)
    }

    /// Whether it has, or shall have, pods.
    pub fn is_active(&self) -> bool {
        self.replicas > 0
    }

    /// A number in an annotation.
    pub fn number(&self, annotation: &str) -> Option<i64> {
        self.annotations.get(annotation)?.parse().ok()
    }

    /// Its revision, 0 without one.
    pub fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    /// When it was made; one that is yet to be made is the newest.
    pub fn created(&self) -> (Timestamp, &str) {
        let created = self.set.map_or(Timestamp::MAX, |set| set.created.unwrap_or(Timestamp::MIN));
        (created, &self.name)
    }

    /// Gives it a size within a Deployment of that size and surge.
    pub fn scale(&mut self, replicas: i32, deployment: &Deployment, surge: i32) {
        self.replicas = replicas;
        self.remember_size(deployment, surge);
    }

    /// Notes the Deployment's size, from which a later change of it is recognised.
    pub fn remember_size(&mut self, deployment: &Deployment, surge: i32) {
        let desired = deployment.replicas;
        self.annotations.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
        self.annotations.insert(MAX_REPLICAS.to_owned(), desired.saturating_add(surge).to_string());
    }

    /// Whether it is to be written.
    pub fn differs(&self) -> bool {
        self.set.is_none_or(|set| {
            self.replicas != set.replicas
                || self.min_ready_seconds != set.min_ready_seconds
                || self.annotations != set.annotations
        })
    }
}

/// The sum of a number over sets.
pub fn sum<'d, 'a: 'd>(
    drafts: impl IntoIterator<Item = &'d Draft<'a>>,
    number: impl Fn(&Draft<'a>) -> i32,
) -> i32 {
    drafts.into_iter().map(number).fold(0, i32::saturating_add)
}
