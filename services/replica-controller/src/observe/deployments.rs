//! Deployments.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::{Key, LabelSelector};
use serde::Deserialize;
use serde_json::Value;

use super::Template;
use super::sets::Unusable;
use super::strategy::StrategyJson;

/// Upstream's defaults, for objects that were stored without them.
const HISTORY_LIMIT: i32 = 10;
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
const QUARTER: &str = "25%";

/// A Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
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
    /// `spec.replicas`
    pub replicas: i32,
    /// `spec.selector`, parsed.
    pub selector: LabelSelector,
    /// `spec.selector` as it was written.
    pub selector_json: Value,
    /// `spec.template`
    pub template: Template,
    /// `spec.strategy`
    pub strategy: Strategy,
    /// `spec.minReadySeconds`
    pub min_ready_seconds: i32,
    /// Old sets that are kept; `None` keeps all.
    pub history_limit: Option<i32>,
    /// Seconds without progress after which a rollout has failed; `None` for never.
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.paused`
    pub paused: bool,
    /// As it was last written.
    pub status: DeploymentStatus,
}

/// How old pods make way for new ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// All old ones go before a new one comes.
    Recreate,
    /// A few at a time.
    RollingUpdate {
        /// Pods beyond the wanted number.
        max_surge: IntOrString,
        /// Pods that may be missing of the wanted number.
        max_unavailable: IntOrString,
    },
}

#[derive(Deserialize)]
struct Json {
    metadata: ObjectMeta,
    spec: Spec,
    #[serde(default, deserialize_with = "client::or_default")]
    status: DeploymentStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    replicas: Option<i32>,
    #[serde(default, deserialize_with = "client::or_default")]
    selector: Value,
    #[serde(default, deserialize_with = "client::or_default")]
    template: Value,
    #[serde(default, deserialize_with = "client::or_default")]
    strategy: StrategyJson,
    #[serde(default, deserialize_with = "client::or_default")]
    min_ready_seconds: i32,
    revision_history_limit: Option<i32>,
    progress_deadline_seconds: Option<i32>,
    #[serde(default, deserialize_with = "client::or_default")]
    paused: bool,
}

// === impl Deployment ===

impl Deployment {
    /// The Deployment in its stored JSON.
    pub fn parse(key: &Key, json: &[u8]) -> Result<Deployment, Unusable> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        let forever = |number: i32| (number != i32::MAX).then_some(number);
        Ok(Deployment {
            key: key.clone(),
            uid: metadata.uid.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            generation: metadata.generation.unwrap_or(0),
            replicas: spec.replicas.unwrap_or(1),
            selector: LabelSelector::from_json(&spec.selector).map_err(Unusable::Selector)?,
            selector_json: spec.selector,
            template: Template(spec.template),
            strategy: spec.strategy.into(),
            min_ready_seconds: spec.min_ready_seconds,
            history_limit: forever(spec.revision_history_limit.unwrap_or(HISTORY_LIMIT)),
            progress_deadline_seconds: forever(
                spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_SECONDS),
            ),
            paused: spec.paused,
            status,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Whether these labels are what it selects.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches_with(|label| labels.get(label).map(String::as_str))
    }
}

impl From<StrategyJson> for Strategy {
    fn from(json: StrategyJson) -> Self {
        if json.kind == "Recreate" {
            return Strategy::Recreate;
        }
        let or_quarter =
            |bound: Option<IntOrString>| bound.unwrap_or(IntOrString::String(QUARTER.to_owned()));
        Strategy::RollingUpdate {
            max_surge: or_quarter(json.rolling_update.max_surge),
            max_unavailable: or_quarter(json.rolling_update.max_unavailable),
        }
    }
}
