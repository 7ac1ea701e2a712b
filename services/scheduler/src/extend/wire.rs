//! `extender/v1` in JSON. Upstream's types have no field names of their own, so that fields are spelled as in Go;
//! readers there take any case, and so do we for the spellings that are about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// What `filter` and `prioritize` are asked. One of the two lists is there.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Args {
    /// The pod.
    #[serde(alias = "pod")]
    pub pod: Box<RawValue>,
    /// Whole nodes, for an extender that does not know them.
    #[serde(alias = "nodes", default)]
    pub nodes: Option<NodeList>,
    /// Names alone, for one that does.
    #[serde(alias = "nodeNames", alias = "nodenames", default)]
    pub node_names: Option<Vec<String>>,
}

/// A `NodeList`.
#[derive(Clone, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes.
    #[serde(default)]
    pub items: Vec<Box<RawValue>>,
}

/// What `filter` answers.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filtered {
    /// Nodes that are left, when whole nodes were asked about.
    #[serde(alias = "nodes", default)]
    pub nodes: Option<NodeList>,
    /// Names that are left.
    #[serde(alias = "nodeNames", alias = "nodenames", default)]
    pub node_names: Option<Vec<String>>,
    /// The others, and why.
    #[serde(alias = "failedNodes", default, deserialize_with = "client::reader::or_default")]
    pub failed_nodes: BTreeMap<String, String>,
    /// Those among them that preemption does not help.
    #[serde(alias = "failedAndUnresolvableNodes", default, deserialize_with = "client::reader::or_default")]
    pub failed_and_unresolvable_nodes: BTreeMap<String, String>,
    /// Why there is no answer.
    #[serde(alias = "error", default)]
    pub error: String,
}

/// One line of what `prioritize` answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority {
    /// The node.
    #[serde(alias = "host")]
    pub host: String,
    /// 0 to 10.
    #[serde(alias = "score")]
    pub score: i64,
}

/// What `bind` is asked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingArgs {
    /// The pod's name.
    #[serde(rename = "PodName", alias = "podName")]
    pub pod_name: String,
    /// Its namespace.
    #[serde(rename = "PodNamespace", alias = "podNamespace")]
    pub pod_namespace: String,
    /// Its uid.
    #[serde(rename = "PodUID", alias = "podUID")]
    pub pod_uid: String,
    /// The node.
    #[serde(rename = "Node", alias = "node")]
    pub node: String,
}

/// What `bind` answers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BindingResult {
    /// Why not.
    #[serde(alias = "error", default)]
    pub error: String,
}

/// The highest score of a node.
pub const SCORE_MAX: i64 = 10;

/// The name of a node in JSON.
pub fn node_name(node: &RawValue) -> Option<String> {
    let node: Value = serde_json::from_str(node.get()).ok()?;
    Some(node.get("metadata")?.get("name")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_go_and_others_write_them() {
        for text in [
            r#"{"Nodes":null,"NodeNames":["a"],"FailedNodes":{"b":"no"},"Error":""}"#,
            r#"{"nodenames":["a"],"failedNodes":{"b":"no"}}"#,
        ] {
            let filtered: Filtered = serde_json::from_str(text).expect("an answer");
            assert_eq!(filtered.node_names, Some(vec!["a".to_owned()]));
            assert_eq!(filtered.failed_nodes["b"], "no");
        }
        let nothing: Filtered = serde_json::from_str(r#"{"FailedNodes":null}"#).expect("an answer");
        assert!(nothing.failed_nodes.is_empty());
        let scores: Vec<HostPriority> =
            serde_json::from_str(r#"[{"Host":"a","Score":3},{"host":"b","score":4}]"#).expect("an answer");
        assert_eq!(scores.iter().map(|one| one.score).sum::<i64>(), 7);
    }

    #[test]
    fn questions_are_spelled_as_upstream_reads_them() {
        let pod = RawValue::from_string("{}".to_owned()).expect("JSON");
        let args = Args { pod, nodes: None, node_names: Some(vec!["a".to_owned()]) };
        let text = serde_json::to_string(&args).expect("JSON");
        assert_eq!(text, r#"{"Pod":{},"Nodes":null,"NodeNames":["a"]}"#);
    }
}
