//! Pods as far as replica controllers look at them. There are many, so each is parsed once and kept small.

use std::collections::BTreeMap;
use std::time::Duration;

use client::ownership::controller_of;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::owned::Dependent;

/// Cheap pods go first when a set shrinks.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all of its containers have started; the order is that in which pods are given up.
    #[default]
    Pending,
    /// Its node does not answer.
    Unknown,
    /// Its containers have started.
    Running,
    /// Every container ended well.
    Succeeded,
    /// A container ended badly and stays ended.
    Failed,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// The uid of its controller.
    pub manager: Option<String>,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Its node, empty before it has one.
    pub node: String,
    /// `status.phase`
    pub phase: Phase,
    /// Since when it is ready, if it is.
    pub ready_since: Option<Timestamp>,
    /// What its deletion costs by annotation; 0 unless told.
    pub deletion_cost: i32,
    /// The most restarts of a container, then of a sidecar.
    pub restarts: (i32, i32),
}

#[derive(Deserialize)]
struct Json {
    metadata: Metadata,
    #[serde(default, deserialize_with = "client::or_default")]
    spec: Spec,
    #[serde(default, deserialize_with = "client::or_default")]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, deserialize_with = "client::or_default")]
    name: String,
    #[serde(default, deserialize_with = "client::or_default")]
    uid: String,
    #[serde(default, deserialize_with = "client::or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "client::or_default")]
    annotations: BTreeMap<String, String>,
    owner_references: Option<Vec<OwnerReference>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, deserialize_with = "client::or_default")]
    node_name: String,
    #[serde(default, deserialize_with = "client::or_default")]
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default, deserialize_with = "client::or_default")]
    name: String,
    #[serde(default, deserialize_with = "client::or_default")]
    restart_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "client::or_default")]
    phase: String,
    #[serde(default, deserialize_with = "client::or_default")]
    conditions: Vec<Condition>,
    #[serde(default, deserialize_with = "client::or_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(default, deserialize_with = "client::or_default")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type", default, deserialize_with = "client::or_default")]
    kind: String,
    #[serde(default, deserialize_with = "client::or_default")]
    status: String,
    last_transition_time: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default, deserialize_with = "client::or_default")]
    name: String,
    #[serde(default, deserialize_with = "client::or_default")]
    restart_count: i32,
}

// === impl Pod ===

impl Pod {
    /// The pod in its stored JSON.
    pub fn parse(json: &[u8]) -> serde_json::Result<Pod> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        let ready = status.conditions.iter().find(|one| one.kind == "Ready" && one.status == "True");
        let created = metadata.creation_timestamp.map(|time| time.0);
        Ok(Pod {
            manager: controller_of(metadata.owner_references.as_ref()).map(|owner| owner.uid.clone()),
            deletion_cost: metadata
                .annotations
                .get(DELETION_COST)
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0),
            name: metadata.name,
            uid: metadata.uid,
            labels: metadata.labels,
            created,
            deleting: metadata.deletion_timestamp.is_some(),
            phase: Phase::named(&status.phase),
            // A ready pod that does not say since when has been ready all the time.
            ready_since: ready
                .and_then(|ready| ready.last_transition_time.as_ref().map(|time| time.0).or(created)),
            restarts: restarts(&spec, &status),
            node: spec.node_name,
        })
    }

    /// Whether it counts: it has not ended and is not being deleted.
    pub fn is_active(&self) -> bool {
        !self.deleting && !self.has_ended()
    }

    /// Whether it was deleted but its containers may still run.
    pub fn is_terminating(&self) -> bool {
        self.deleting && !self.has_ended()
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether nothing of it is left but its object.
    pub fn is_gone(&self) -> bool {
        self.deleting && self.has_ended()
    }

    /// Whether it has been ready for long enough.
    pub fn is_available(&self, min_ready_seconds: i32, now: Timestamp) -> bool {
        match min_ready_seconds {
            // Clocks of nodes may differ from ours; who need not wait does not.
            0 => self.is_ready(),
            seconds => self.available_at(seconds).is_some_and(|at| at <= now),
        }
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// From when on it counts as available, if it stays ready: `min_ready_seconds` after it became so.
    pub fn available_at(&self, min_ready_seconds: i32) -> Option<Timestamp> {
        let since = self.ready_since?;
        let seconds = since.as_second().saturating_add(i64::from(min_ready_seconds));
        Some(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
    }
}

/// When the next ready pod has been so for long enough.
pub fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<Duration> {
    let times = pods.into_iter().filter_map(|pod| pod.available_at(min_ready_seconds));
    Duration::try_from(times.filter(|at| *at > now).min()? - now).ok()
}

impl Dependent for Pod {
    fn manager(&self) -> Option<&str> {
        self.manager.as_deref()
    }
}

impl Phase {
    fn named(name: &str) -> Phase {
        match name {
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            "Unknown" => Phase::Unknown,
            _ => Phase::Pending,
        }
    }
}

fn restarts(spec: &Spec, status: &Status) -> (i32, i32) {
    let is_sidecar = |name: &str| {
        spec.init_containers.iter().any(|one| one.name == name && one.restart_policy == "Always")
    };
    let most = |statuses: &mut dyn Iterator<Item = &ContainerStatus>| {
        statuses.map(|one| one.restart_count).max().unwrap_or(0)
    };
    (
        most(&mut status.container_statuses.iter()),
        most(&mut status.init_container_statuses.iter().filter(|one| is_sidecar(&one.name))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_parsed_into_what_decisions_need() {
        let pod = Pod::parse(
            json!({
                "metadata": {
                    "name": "a", "namespace": "default", "uid": "u", "labels": {"app": "web"},
                    "annotations": {DELETION_COST: "-5"}, "creationTimestamp": "2024-01-01T00:00:00Z",
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "no"},
                        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "yes", "controller": true}
                    ]
                },
                "spec": {"nodeName": "n", "containers": [], "initContainers": [{"name": "side", "restartPolicy": "Always"}]},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:01:00Z"}],
                    "containerStatuses": [{"name": "c", "restartCount": 2}],
                    "initContainerStatuses": [{"name": "side", "restartCount": 1}, {"name": "init", "restartCount": 9}]
                }
            })
            .to_string()
            .as_bytes(),
        )
        .expect("a pod");
        assert_eq!(pod.manager.as_deref(), Some("yes"));
        assert_eq!((pod.deletion_cost, pod.restarts, pod.phase), (-5, (2, 1), Phase::Running));
        assert_eq!(pod.available_at(30), "2024-01-01T00:01:30Z".parse().ok());
        assert!(pod.is_active() && pod.is_ready());
    }
}
