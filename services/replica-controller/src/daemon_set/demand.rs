//! What a DaemonSet's pods ask of a node, and so on which nodes they are to be. Pure.

use std::collections::BTreeMap;

use placement::{AffinityJson, Effect, NodeAffinity, Toleration, TolerationJson, tolerated};
use serde::Deserialize;
use serde_json::Value;

use crate::observe::Node;

/// What a set makes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A pod is to be there.
    Run,
    /// No pod comes, but one that is there may stay: a taint keeps new ones away.
    Stay,
    /// No pod may be there.
    Leave,
}

/// What the pods ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    node: Option<String>,
    affinity: Option<NodeAffinity>,
    tolerations: Vec<Toleration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<AffinityJson>,
    tolerations: Option<Vec<TolerationJson>>,
}

// === impl Demand ===

impl Demand {
    /// What a pod's spec asks for. One that makes no sense is refused: its pods could not be placed either.
    pub fn of(spec: &Value) -> serde_json::Result<Demand> {
        let json = Json::deserialize(spec)?;
        let tolerations = json.tolerations.into_iter().flatten().filter_map(TolerationJson::into_toleration);
        Ok(Demand {
            node: json.node_name.filter(|name| !name.is_empty()),
            affinity: NodeAffinity::of(json.node_selector, json.affinity),
            tolerations: tolerations.collect(),
        })
    }

    /// Fulfilled by no node.
    pub fn nowhere() -> Demand {
        let no_alternative = NodeAffinity { required: Some(Vec::new()), ..NodeAffinity::default() };
        Demand { affinity: Some(no_alternative), ..Demand::default() }
    }

    /// What becomes of the pods on a node.
    pub fn judge(&self, name: &str, node: &Node) -> Verdict {
        let is_named = self.node.as_deref().is_none_or(|only| only == name);
        let is_asked_for = self.affinity.as_ref().is_none_or(|asks| asks.admits(name, &node.labels));
        if !is_named || !is_asked_for {
            return Verdict::Leave;
        }
        let untolerated = |effect: Effect| {
            node.taints.iter().any(|taint| taint.effect == effect && !tolerated(&self.tolerations, taint))
        };
        if untolerated(Effect::NoExecute) {
            Verdict::Leave
        } else if untolerated(Effect::NoSchedule) {
            Verdict::Stay
        } else {
            Verdict::Run
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placement::Taint;
    use serde_json::json;

    fn node(labels: &[(&str, &str)], taints: &[(&str, Effect)]) -> Node {
        let taint = |(key, effect): &(&str, Effect)| Taint {
            key: (*key).to_owned(),
            value: String::new(),
            effect: *effect,
        };
        Node {
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            taints: taints.iter().map(taint).collect(),
        }
    }

    fn judge(spec: Value, node: &Node) -> Verdict {
        Demand::of(&spec).expect("a spec").judge("n", node)
    }

    #[test]
    fn names_and_labels_choose_nodes() {
        let plain = node(&[("disk", "ssd")], &[]);
        for (spec, verdict) in [
            (json!({}), Verdict::Run),
            (json!({"nodeName": ""}), Verdict::Run),
            (json!({"nodeName": "n"}), Verdict::Run),
            (json!({"nodeName": "other"}), Verdict::Leave),
            (json!({"nodeSelector": {"disk": "ssd"}}), Verdict::Run),
            (json!({"nodeSelector": {"disk": "hdd"}}), Verdict::Leave),
        ] {
            assert_eq!(judge(spec.clone(), &plain), verdict, "{spec}");
        }
        assert_eq!(Demand::nowhere().judge("n", &plain), Verdict::Leave);
    }

    #[test]
    fn a_taint_keeps_new_pods_away_or_drives_off_all() {
        let any = json!({"tolerations": [{"operator": "Exists"}]});
        for (effect, verdict) in [
            (Effect::PreferNoSchedule, Verdict::Run),
            (Effect::NoSchedule, Verdict::Stay),
            (Effect::NoExecute, Verdict::Leave),
        ] {
            let tainted = node(&[], &[("gpu", effect)]);
            assert_eq!(judge(json!({}), &tainted), verdict, "{effect:?}");
            assert_eq!(judge(any.clone(), &tainted), Verdict::Run, "{effect:?}, tolerated");
        }
    }
}
