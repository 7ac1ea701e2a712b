//! Cluster roles that gather their rules from others: what they come to is written into them, for people to see.
//!
//! The API server gathers by itself when it decides, so nothing waits for this.

use std::collections::BTreeMap;

use bus::command::{PatchFormat, Resource, Write};
use client::{Controller, Decision, Observed};
use k8s_openapi::jiff::Timestamp;
use model::{Key, LabelSelector, Object};
use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The controller.
#[derive(Debug, Default)]
pub struct Aggregation {
    roles: BTreeMap<String, Object>,
}

// === impl Aggregation ===

impl Aggregation {
    /// The roles that gather: any change may concern any of them, and there are few.
    fn gathering(&self) -> Vec<String> {
        let gathers = |role: &Object| role.get("aggregationRule").is_some_and(Value::is_object);
        self.roles.iter().filter(|(_, role)| gathers(role)).map(|(name, _)| name.clone()).collect()
    }

    /// The rules of those that a role selects, each once. What gathers itself counts with what it holds by now, so
    /// that after a few rounds all of it is there.
    fn gathered(&self, role: &Object) -> Vec<Value> {
        let selectors = role.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(Value::as_array);
        let selectors: Vec<LabelSelector> =
            selectors.into_iter().flatten().filter_map(|one| LabelSelector::from_json(one).ok()).collect();
        let selected = |other: &&Object| {
            let labels = other.at(&["metadata", "labels"]).and_then(Value::as_object);
            let labels = labels.cloned().unwrap_or_default();
            other.name() != role.name() && selectors.iter().any(|selector| selector.matches(&labels))
        };
        let mut rules: Vec<Value> = Vec::new();
        for rule in self.roles.values().filter(selected).flat_map(rules_of) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        rules
    }
}

fn rules_of(role: &Object) -> &[Value] {
    role.get("rules").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Controller for Aggregation {
    type Key = String;
    const NAME: &'static str = "clusterrole-aggregation-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[(GROUP, "clusterroles")];

    fn observe(&mut self, observed: &Observed) -> Vec<String> {
        match observed {
            Observed::Reset => self.roles.clear(),
            Observed::Synced => {}
            Observed::Put(item) => {
                let Some(role) = client::typed(&item.key, &item.value) else { return Vec::new() };
                self.roles.insert(item.key.name().to_owned(), role);
            }
            Observed::Delete { key, .. } => drop(self.roles.remove(Key::name(key))),
        }
        self.gathering()
    }

    fn decide(&mut self, name: &String, _now: Timestamp) -> Decision {
        let Some(role) = self.roles.get(name) else {
            return Decision { reason: "the role is gone", ..Decision::default() };
        };
        let rules = self.gathered(role);
        if rules == rules_of(role) {
            return Decision { reason: "it shows what it gathers", ..Decision::default() };
        }
        let write = Write::Patch {
            resource: Resource::new(GROUP, "v1", "clusterroles"),
            namespace: String::new(),
            name: name.clone(),
            subresource: String::new(),
            format: PatchFormat::Merge,
            patch: json!({"metadata": {"resourceVersion": role.resource_version()}, "rules": rules})
                .to_string()
                .into(),
        };
        Decision { writes: vec![write], reason: "it gathers something else by now", ..Decision::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Revision;
    use store::Item;

    fn item(role: &Value) -> Item {
        let key = Key::object(GROUP, "clusterroles", "", role["metadata"]["name"].as_str().unwrap());
        Item { key, revision: Revision(1), created: Revision(1), value: role.to_string().into() }
    }

    fn put(aggregation: &mut Aggregation, role: &Value) -> Vec<String> {
        aggregation.observe(&Observed::Put(item(role)))
    }

    /// What the role is to hold, if that is something else than it does.
    fn written(aggregation: &mut Aggregation, name: &str) -> Option<Value> {
        let decision = aggregation.decide(&name.to_owned(), Timestamp::UNIX_EPOCH);
        let Write::Patch { patch, .. } = decision.writes.first()? else { panic!("not a patch") };
        let mut patch: Value = serde_json::from_slice(patch).unwrap();
        Some(patch["rules"].take())
    }

    fn role(name: &str, labels: Value, verbs: &[&str]) -> Value {
        let rule = |verb: &&str| json!({"verbs": [verb], "apiGroups": [""], "resources": ["pods"]});
        json!({"metadata": {"name": name, "labels": labels}, "rules": verbs.iter().map(rule).collect::<Vec<_>>()})
    }

    #[test]
    fn a_role_shows_the_rules_of_those_that_it_selects_each_once() {
        let mut aggregation = Aggregation::default();
        let mut admin = role("admin", json!({"to": "admin"}), &[]);
        admin["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "admin"}}]});
        assert_eq!(put(&mut aggregation, &admin), ["admin"]);
        assert_eq!(written(&mut aggregation, "admin"), None);
        put(&mut aggregation, &role("a", json!({"to": "admin"}), &["get", "list"]));
        put(&mut aggregation, &role("b", json!({"to": "admin"}), &["list"]));
        assert_eq!(put(&mut aggregation, &role("c", json!({"to": "edit"}), &["delete"])), ["admin"]);
        let rules = written(&mut aggregation, "admin").unwrap();
        assert_eq!(rules, role("", json!({}), &["get", "list"])["rules"]);
        admin["rules"] = rules;
        put(&mut aggregation, &admin);
        assert_eq!(written(&mut aggregation, "admin"), None, "it is there now");
        let previous = item(&role("a", json!({}), &[]));
        aggregation.observe(&Observed::Delete { key: previous.key.clone(), previous });
        assert_eq!(written(&mut aggregation, "admin"), Some(role("", json!({}), &["list"])["rules"].clone()));
    }
}
