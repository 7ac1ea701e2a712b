//! A node's JSON as the scheduler reads it.

use std::collections::BTreeMap;

use placement::{Labels, Taint, TaintJson};
use serde::Deserialize;

use super::amount::AmountsByName;
use super::{Amounts, ResourceNames};

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// `metadata.labels`
    pub labels: Labels,
    /// Whether it was cordoned off.
    pub unschedulable: bool,
    /// `spec.taints`
    pub taints: Vec<Taint>,
    /// What pods may take.
    pub allocatable: Amounts,
    /// How many pods it takes.
    pub pods: i64,
    /// Images that it has, by each of their names, with their sizes in bytes.
    pub images: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
struct Json {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Metadata {
    labels: Option<Labels>,
}

#[derive(Default, Deserialize)]
struct Spec {
    unschedulable: Option<bool>,
    taints: Option<Vec<TaintJson>>,
}

#[derive(Default, Deserialize)]
struct Status {
    allocatable: Option<AmountsByName>,
    capacity: Option<AmountsByName>,
    images: Option<Vec<Image>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    names: Option<Vec<String>>,
    size_bytes: Option<i64>,
}

// === impl Node ===

impl Node {
    /// The node in its stored JSON. A node that lies about negative amounts has none.
    pub fn parse(json: &[u8], resources: &mut ResourceNames) -> serde_json::Result<Node> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let allocatable = status.allocatable.or(status.capacity);
        let pods =
            allocatable.as_ref().and_then(|amounts| amounts.get("pods")).map_or(0, |pods| pods.0.value());
        let mut images = BTreeMap::new();
        for image in status.images.into_iter().flatten() {
            let size = image.size_bytes.unwrap_or(0);
            images.extend(image.names.into_iter().flatten().map(|name| (name, size)));
        }
        Ok(Node {
            labels: metadata.labels.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            taints: spec.taints.into_iter().flatten().filter_map(TaintJson::into_taint).collect(),
            allocatable: Amounts::of(allocatable.as_ref(), resources).max(&Amounts::default()),
            pods: pods.max(0),
            images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::Effect;
    use serde_json::json;

    #[test]
    fn a_node_is_parsed_into_what_filters_and_scores_need() {
        let json = json!({
            "metadata": {"name": "n", "labels": {"zone": "a"}},
            "spec": {"unschedulable": true, "taints": [{"key": "k", "effect": "NoExecute", "timeAdded": "…"}]},
            "status": {
                "allocatable": {"cpu": "4", "memory": "-1", "pods": "110", "example.com/gpu": "2"},
                "images": [{"names": ["a:1", "a@sha256:0"], "sizeBytes": 7}, {"names": null}]
            }
        });
        let mut resources = ResourceNames::default();
        let node = Node::parse(json.to_string().as_bytes(), &mut resources).expect("a node");
        assert_eq!((node.allocatable.cpu, node.allocatable.memory, node.pods), (4000, 0, 110));
        assert_eq!(node.allocatable.others, [(resources.id("example.com/gpu"), 2)]);
        assert_eq!(node.images, BTreeMap::from([("a:1".to_owned(), 7), ("a@sha256:0".to_owned(), 7)]));
        assert_eq!(node.taints[0].effect, Effect::NoExecute);
        assert!(node.unschedulable);
    }
}
