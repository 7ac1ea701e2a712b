//! Which nodes a pod must or would rather run on, by their labels and names.

use std::collections::BTreeMap;

use model::selector::{Operator, Requirement};
use serde::Deserialize;

/// The labels of a node.
pub type Labels = BTreeMap<String, String>;

/// The only field that a node is selected by.
pub const NAME: &str = "metadata.name";

/// What a pod says about its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeAffinity {
    /// Labels that must have these values, sorted.
    pub selector: Vec<(String, String)>,
    /// One of these must hold; `None` asks for nothing.
    pub required: Option<Vec<Term>>,
    /// What is wished for, and how much.
    pub preferred: Vec<(i32, Term)>,
}

/// Requirements that must hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Term {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields.
    pub fields: Vec<Requirement>,
}

/// `spec.affinity` in JSON, as far as it is about nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AffinityJson {
    node_affinity: Option<NodeAffinityJson>,
}

/// A node selector in JSON: of a pod's affinity, or of the nodes that reach a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelectorJson {
    node_selector_terms: Option<Vec<TermJson>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeAffinityJson {
    required_during_scheduling_ignored_during_execution: Option<NodeSelectorJson>,
    preferred_during_scheduling_ignored_during_execution: Option<Vec<PreferredJson>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PreferredJson {
    weight: i32,
    preference: TermJson,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TermJson {
    match_expressions: Option<Vec<RequirementJson>>,
    match_fields: Option<Vec<RequirementJson>>,
}

#[derive(Clone, Debug, Deserialize)]
struct RequirementJson {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

// === impl NodeAffinity ===

impl NodeAffinity {
    /// What a pod's `nodeSelector` and `nodeAffinity` say together; `None` if nothing.
    pub fn of(selector: Option<BTreeMap<String, String>>, affinity: Option<AffinityJson>) -> Option<Self> {
        let mut node_affinity =
            NodeAffinity { selector: selector.into_iter().flatten().collect(), ..NodeAffinity::default() };
        if let Some(json) = affinity.and_then(|affinity| affinity.node_affinity) {
            let required = json.required_during_scheduling_ignored_during_execution;
            node_affinity.required = required.map(NodeSelectorJson::into_terms);
            let preferred = json.preferred_during_scheduling_ignored_during_execution.unwrap_or_default();
            let wishes = preferred.into_iter().map(|one| (one.weight, Term::from(one.preference)));
            node_affinity.preferred = wishes.filter(|(weight, _)| *weight != 0).collect();
        }
        (node_affinity != NodeAffinity::default()).then_some(node_affinity)
    }

    /// The nodes that a selector holds of.
    pub fn to(selector: NodeSelectorJson) -> Self {
        NodeAffinity { required: Some(selector.into_terms()), ..NodeAffinity::default() }
    }

    /// Whether a pod may run on the node.
    pub fn admits(&self, name: &str, labels: &Labels) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term.holds(name, labels)))
    }

    /// The weights of the wishes that the node fulfils.
    pub fn preference(&self, name: &str, labels: &Labels) -> i64 {
        let fulfilled = self.preferred.iter().filter(|(_, term)| term.holds(name, labels));
        fulfilled.map(|(weight, _)| i64::from(*weight)).sum()
    }

    /// The names of the only nodes that can be meant, if every term names its nodes: as of a DaemonSet's pods.
    pub fn pinned(&self) -> Option<Vec<&str>> {
        let terms = self.required.as_ref().filter(|terms| !terms.is_empty())?;
        let mut pinned = Vec::new();
        for term in terms {
            let field = term.fields.iter().find(|one| one.operator == Operator::In && one.key == NAME)?;
            pinned.extend(field.values.iter().map(String::as_str));
        }
        Some(pinned)
    }
}

// === impl Term ===

impl Term {
    /// Whether it holds of a node. One that asks for nothing holds of none.
    pub fn holds(&self, name: &str, labels: &Labels) -> bool {
        let has_any = !self.labels.is_empty() || !self.fields.is_empty();
        let field = |one: &Requirement| one.key == NAME && one.holds(Some(name));
        has_any
            && self.labels.iter().all(|one| one.holds(labels.get(&one.key).map(String::as_str)))
            && self.fields.iter().all(field)
    }
}

impl NodeSelectorJson {
    fn into_terms(self) -> Vec<Term> {
        self.node_selector_terms.into_iter().flatten().map(Term::from).collect()
    }
}

impl From<TermJson> for Term {
    fn from(json: TermJson) -> Self {
        let requirements = |list: Option<Vec<RequirementJson>>| {
            list.into_iter().flatten().map(RequirementJson::into_requirement).collect()
        };
        Term { labels: requirements(json.match_expressions), fields: requirements(json.match_fields) }
    }
}

impl RequirementJson {
    fn into_requirement(self) -> Requirement {
        let operator = match self.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            // Validation lets no other through; should it, nothing must match by mistake.
            _ => return Requirement::new(self.key, Operator::In, Vec::new()),
        };
        Requirement::new(self.key, operator, self.values.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(node_affinity: Value) -> AffinityJson {
        serde_json::from_value(json!({"nodeAffinity": node_affinity})).expect("an affinity")
    }

    fn affinity(json: Value) -> NodeAffinity {
        NodeAffinity::of(None, Some(parsed(json))).expect("it says something")
    }

    fn required(terms: Value) -> NodeAffinity {
        affinity(json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}))
    }

    fn labels(json: Value) -> Labels {
        serde_json::from_value(json).expect("labels")
    }

    #[test]
    fn each_operator_decides_by_the_nodes_labels() {
        let node = labels(json!({"zone": "a", "cores": "16", "ssd": ""}));
        for (key, operator, values, holds) in [
            ("zone", "In", json!(["a", "b"]), true),
            ("zone", "In", json!(["b"]), false),
            ("zone", "NotIn", json!(["b"]), true),
            ("other", "NotIn", json!(["b"]), true),
            ("zone", "NotIn", json!(["a"]), false),
            ("ssd", "Exists", Value::Null, true),
            ("other", "Exists", Value::Null, false),
            ("other", "DoesNotExist", Value::Null, true),
            ("ssd", "DoesNotExist", Value::Null, false),
            ("cores", "Gt", json!(["15"]), true),
            ("cores", "Gt", json!(["16"]), false),
            ("cores", "Lt", json!(["17"]), true),
            ("zone", "Gt", json!(["1"]), false),
            ("zone", "Weird", json!(["a"]), false),
        ] {
            let one = required(
                json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]),
            );
            assert_eq!(one.admits("n", &node), holds, "{key} {operator} {values}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_an_empty_one_holds_of_no_node() {
        let zone =
            |zone: &str| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
        let node = labels(json!({"zone": "a"}));
        assert!(required(json!([zone("b"), zone("a")])).admits("n", &node));
        assert!(!required(json!([{}])).admits("n", &node));
        assert!(!required(json!([])).admits("n", &node));
        let both = NodeAffinity::of(
            Some(BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])),
            Some(parsed(json!({
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [zone("a")]}
            }))),
        );
        assert!(!both.expect("it says something").admits("n", &node), "the node selector must hold as well");
    }

    #[test]
    fn wishes_add_up() {
        let wish = |weight: i32, zone: &str| {
            let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
            json!({"weight": weight, "preference": term})
        };
        let wishes = affinity(json!({
            "preferredDuringSchedulingIgnoredDuringExecution": [wish(3, "a"), wish(5, "a"), wish(9, "b")]
        }));
        assert_eq!(wishes.preference("n", &labels(json!({"zone": "a"}))), 8);
        assert!(wishes.admits("n", &Labels::new()));
    }

    #[test]
    fn terms_that_name_their_nodes_pin_the_pod() {
        let field = |name: &str| json!({"matchFields": [{"key": NAME, "operator": "In", "values": [name]}]});
        let pinned = required(json!([field("a"), field("b")]));
        assert_eq!(pinned.pinned(), Some(vec!["a", "b"]));
        assert!(pinned.admits("b", &Labels::new()) && !pinned.admits("c", &Labels::new()));
        let or_zone = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]});
        assert_eq!(required(json!([field("a"), or_zone])).pinned(), None);
    }
}
