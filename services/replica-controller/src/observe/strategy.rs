//! How an update is to go, as Deployments and DaemonSets spell it alike.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

/// `spec.strategy` or `spec.updateStrategy`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyJson {
    /// Empty for the default.
    #[serde(rename = "type", default, deserialize_with = "client::or_default")]
    pub kind: String,
    /// Bounds of a rolling update.
    #[serde(default, deserialize_with = "client::or_default")]
    pub rolling_update: RollingUpdateJson,
}

/// Bounds of a rolling update.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdateJson {
    /// Pods beyond what is wanted.
    pub max_surge: Option<IntOrString>,
    /// Pods that may be missing of what is wanted.
    pub max_unavailable: Option<IntOrString>,
}
