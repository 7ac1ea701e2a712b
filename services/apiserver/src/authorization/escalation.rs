//! Nobody grants what they do not have: what is checked when a role or binding is written.

use model::{Key, Object};
use serde_json::Value;

use super::grants::{role_of, rules_of};
use super::rule::{Rule, quoted};
use super::{Attributes, Authorizer, GROUP, Resource, is_master};
use crate::verbs::Identity;

/// Why `identity` may not write this role in place of `old`; `None` when they may.
pub fn of_role(
    authorizer: &Authorizer,
    identity: &Identity,
    plural: &str,
    role: &Object,
    old: Option<&Object>,
) -> Option<String> {
    if is_master(identity) || old.is_some_and(|old| gives_the_same(role, old)) {
        return None;
    }
    let permissions = authorizer.permissions(identity);
    let wanted = Resource {
        group: GROUP,
        resource: plural,
        namespace: role.namespace(),
        name: role.name(),
        ..Resource::default()
    };
    if permissions.allows(&Attributes::resource("escalate", wanted)) {
        return None;
    }
    if role.get("aggregationRule").is_some_and(Value::is_object) {
        // It gathers whatever there is or will be.
        let lacks = everything().iter().any(|rule| !permissions.missing("", rule).is_empty());
        return lacks.then(|| "must have cluster-admin privileges to use an aggregationRule".to_owned());
    }
    lacking(&permissions, identity, role.namespace(), &rules_of(role))
}

/// Why `identity` may not write this binding in place of `old`; `None` when they may.
pub fn of_binding(
    authorizer: &Authorizer,
    identity: &Identity,
    binding: &Object,
    old: Option<&Object>,
) -> Option<String> {
    let same = |field: &str, old: &Object| binding.get(field) == old.get(field);
    if is_master(identity) || old.is_some_and(|old| same("roleRef", old) && same("subjects", old)) {
        return None;
    }
    let namespace = binding.namespace();
    let role: Key = role_of(namespace, binding);
    let permissions = authorizer.permissions(identity);
    let wanted = Resource {
        group: GROUP,
        resource: role.resource(),
        namespace,
        name: role.name(),
        ..Resource::default()
    };
    if permissions.allows(&Attributes::resource("bind", wanted)) {
        return None;
    }
    let Some(rules) = authorizer.rules(&role) else {
        let kind = if role.resource() == "roles" { "role" } else { "clusterrole" };
        return Some(format!("{kind}.{GROUP} {:?} not found", role.name()));
    };
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.as_ref().clone()).collect();
    lacking(&permissions, identity, namespace, &rules)
}

fn gives_the_same(role: &Object, old: &Object) -> bool {
    ["rules", "aggregationRule"].iter().all(|field| role.get(*field) == old.get(*field))
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), paths: all(), ..Rule::default() },
    ]
}

fn lacking(
    permissions: &super::Permissions,
    identity: &Identity,
    namespace: &str,
    rules: &[Rule],
) -> Option<String> {
    let missing: Vec<String> = rules
        .iter()
        .flat_map(|rule| permissions.missing(namespace, rule))
        .map(|rule| rule.compact())
        .collect();
    if missing.is_empty() {
        return None;
    }
    Some(format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        quoted(&identity.groups),
        missing.join("\n")
    ))
}
