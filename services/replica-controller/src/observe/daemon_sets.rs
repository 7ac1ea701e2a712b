//! DaemonSets.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{Key, LabelSelector};
use serde::Deserialize;
use serde_json::Value;

use super::Template;
use super::sets::Unusable;
use super::strategy::StrategyJson;

/// A DaemonSet.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSet {
    /// Its key.
    pub key: Key,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// `metadata.generation`
    pub generation: i64,
    /// `spec.selector`
    pub selector: LabelSelector,
    /// `spec.template`
    pub template: Template,
    /// `spec.updateStrategy`
    pub update: Update,
    /// `spec.minReadySeconds`
    pub min_ready_seconds: i32,
    /// `spec.revisionHistoryLimit`
    pub history_limit: Option<i32>,
    /// As it was last written.
    pub status: DaemonSetStatus,
}

/// How old pods make way for new ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// When somebody deletes them.
    OnDelete,
    /// A few nodes at a time.
    RollingUpdate {
        /// Nodes that may be without a pod that serves.
        max_unavailable: IntOrString,
        /// Nodes that may have a new pod beside the old one.
        max_surge: IntOrString,
    },
}

#[derive(Deserialize)]
struct Json {
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "client::or_default")]
    status: DaemonSetStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, deserialize_with = "client::or_default")]
    selector: Value,
    #[serde(default, deserialize_with = "client::or_default")]
    template: Value,
    #[serde(default, deserialize_with = "client::or_default")]
    update_strategy: StrategyJson,
    #[serde(default, deserialize_with = "client::or_default")]
    min_ready_seconds: i32,
    revision_history_limit: Option<i32>,
}

// === impl DaemonSet ===

impl DaemonSet {
    /// The DaemonSet in its stored JSON.
    pub fn parse(key: &Key, json: &[u8]) -> Result<DaemonSet, Unusable> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        Ok(DaemonSet {
            key: key.clone(),
            uid: metadata.uid.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            generation: metadata.generation.unwrap_or(0),
            selector: LabelSelector::from_json(&spec.selector).map_err(Unusable::Selector)?,
            template: Template(spec.template),
            update: spec.update_strategy.into(),
            min_ready_seconds: spec.min_ready_seconds,
            history_limit: spec.revision_history_limit,
            status,
        })
    }

    /// Whether these labels are what it selects.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches_with(|label| labels.get(label).map(String::as_str))
    }
}

impl From<StrategyJson> for Update {
    fn from(json: StrategyJson) -> Self {
        if json.kind == "OnDelete" {
            return Update::OnDelete;
        }
        Update::RollingUpdate {
            max_unavailable: json.rolling_update.max_unavailable.unwrap_or(IntOrString::Int(1)),
            max_surge: json.rolling_update.max_surge.unwrap_or(IntOrString::Int(0)),
        }
    }
}
