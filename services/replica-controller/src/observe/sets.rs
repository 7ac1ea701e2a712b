//! ReplicaSets, and ReplicationControllers, which differ in spelling only.

use std::collections::BTreeMap;

use client::ownership::controller_of;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use model::{Key, LabelSelector};
use serde::Deserialize;
use serde_json::Value;

use super::owned::Dependent;

/// A set of equal pods.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its key, which also says which of the two kinds it is.
    pub key: Key,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// The uid of its controller.
    pub manager: Option<String>,
    /// `metadata.creationTimestamp`
    pub created: Option<Timestamp>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// `metadata.generation`
    pub generation: i64,
    /// `spec.replicas`
    pub replicas: i32,
    /// `spec.minReadySeconds`
    pub min_ready_seconds: i32,
    /// `spec.selector`
    pub selector: LabelSelector,
    /// `spec.template`
    pub template: Template,
    /// As it was last written.
    pub status: ReplicaSetStatus,
}

/// What pods are made from: JSON, so that nothing is lost of fields that we do not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template(pub Value);

#[derive(Deserialize)]
struct Json {
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "client::or_default")]
    status: ReplicaSetStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    replicas: Option<i32>,
    #[serde(default, deserialize_with = "client::or_default")]
    min_ready_seconds: i32,
    #[serde(default, deserialize_with = "client::or_default")]
    selector: Value,
    #[serde(default, deserialize_with = "client::or_default")]
    template: Value,
}

/// Why an object is left alone.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not what its kind says.
    #[error("it does not decode: {0}")]
    Json(#[from] serde_json::Error),
    /// Its selector makes no sense.
    #[error("its selector is invalid: {0}")]
    Selector(String),
}

// === impl Set ===

impl Set {
    /// The set in its stored JSON.
    pub fn parse(key: &Key, json: &[u8]) -> Result<Set, Unusable> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(Set {
            key: key.clone(),
            manager: controller_of(metadata.owner_references.as_ref()).map(|owner| owner.uid.clone()),
            uid: metadata.uid.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            created: metadata.creation_timestamp.map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            generation: metadata.generation.unwrap_or(0),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds,
            selector: selector(key, &spec.selector).map_err(Unusable::Selector)?,
            template: Template(spec.template),
            status,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Whether it is a ReplicationController rather than a ReplicaSet.
    pub fn is_replication_controller(&self) -> bool {
        self.key.group().is_empty()
    }

    /// `apiVersion` and `kind`.
    pub fn type_names(&self) -> (&'static str, &'static str) {
        if self.is_replication_controller() {
            ("v1", "ReplicationController")
        } else {
            ("apps/v1", "ReplicaSet")
        }
    }

    /// Whether these labels are what it selects.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches_with(|label| labels.get(label).map(String::as_str))
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        // A uid's spec has not changed while its generation has not.
        self.uid == other.uid
            && self.generation == other.generation
            && self.manager == other.manager
            && self.labels == other.labels
            && self.annotations == other.annotations
            && self.deleting == other.deleting
            && self.status == other.status
    }
}

impl Dependent for Set {
    fn manager(&self) -> Option<&str> {
        self.manager.as_deref()
    }
}

fn selector(key: &Key, selector: &Value) -> Result<LabelSelector, String> {
    match selector.as_object() {
        Some(labels) if key.group().is_empty() => Ok(LabelSelector::from_map(labels)),
        _ => LabelSelector::from_json(selector),
    }
}

// === impl Template ===

impl Template {
    /// `metadata.labels`
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.texts("labels")
    }

    /// One of `metadata`'s maps of texts.
    pub fn texts(&self, field: &str) -> BTreeMap<String, String> {
        let map = self.0.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        map.into_iter().flatten().filter_map(text).collect()
    }
}
