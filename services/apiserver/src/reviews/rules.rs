//! All that I may do in a namespace: `kubectl auth can-i --list`.

use model::{Object, Status};
use serde_json::{Value, json};

use super::spec_text;
use crate::authorization::Rule;
use crate::registry::Registry;
use crate::verbs::Identity;

/// The rules that count for whoever asks.
pub fn review(registry: &Registry, identity: &Identity, review: &Object) -> Result<Value, Status> {
    let namespace = spec_text(review, "namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let permissions = registry.authorizer().permissions(identity);
    let all = || vec!["*".to_owned()];
    let everything = [
        Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), paths: all(), ..Rule::default() },
    ];
    let mut rules: Vec<&Rule> = permissions.rules(namespace).collect();
    if permissions.is_unlimited() {
        rules.extend(&everything);
    }
    let (of_paths, of_resources): (Vec<&Rule>, Vec<&Rule>) =
        rules.into_iter().partition(|rule| !rule.paths.is_empty());
    let values = |rules: Vec<&Rule>| rules.into_iter().map(Rule::to_value).collect::<Vec<_>>();
    Ok(json!({
        "resourceRules": values(of_resources), "nonResourceRules": values(of_paths), "incomplete": false,
    }))
}
