//! Nodes as far as DaemonSets look at them.

use placement::{Labels, Taint, TaintJson};
use serde::Deserialize;

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `metadata.labels`
    pub labels: Labels,
    /// `spec.taints`
    pub taints: Vec<Taint>,
}

#[derive(Deserialize)]
struct Json {
    metadata: Metadata,
    #[serde(default, deserialize_with = "client::or_default")]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "client::or_default")]
    labels: Labels,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default, deserialize_with = "client::or_default")]
    taints: Vec<TaintJson>,
}

// === impl Node ===

impl Node {
    /// The node in its stored JSON.
    pub fn parse(json: &[u8]) -> serde_json::Result<Node> {
        let Json { metadata, spec } = serde_json::from_slice(json)?;
        let taints = spec.taints.into_iter().filter_map(TaintJson::into_taint).collect();
        Ok(Node { labels: metadata.labels, taints })
    }
}
