//! The roles and bindings that a cluster begins with, and how those that are there are brought up to them.
//!
//! ```text
//!  users, parts, controllers ──> Default (what upstream's clusters have) ──┐
//!  the store ──> what is there ────────────────────────────────────────────┴─> reconciled: create, change, or nothing
//! ```
//! What an administrator added stays; what was taken away comes back, unless the object says that it is not to
//! (`rbac.authorization.kubernetes.io/autoupdate: "false"`), as upstream has it.

mod controllers;
mod parts;
mod users;

use model::Object;
use serde_json::{Map, Value, json};

use super::GROUP;
use super::grants::rules_of;
use super::rule::Rule;

/// Where the cluster's own parts live.
const SYSTEM: &str = "kube-system";
/// On an object that is to stay as it is.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// A cluster role, or a role of a namespace.
struct Role {
    /// Empty for a cluster role.
    namespace: &'static str,
    name: String,
    /// The role that takes over its rules, as `admin`.
    feeds: Option<&'static str>,
    /// Whose feeders it takes its rules from.
    gathers: Option<&'static str>,
    rules: Vec<Rule>,
}

/// A binding where its role is, and of the same name.
struct Binding {
    /// Empty for a cluster role.
    namespace: &'static str,
    role: String,
    subjects: Vec<Value>,
}

/// An object that a cluster begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Default {
    /// `clusterroles`, `roles`, `clusterrolebindings` or `rolebindings`.
    pub plural: &'static str,
    /// As it would be made.
    pub object: Object,
}

/// Every role and binding, the roles first.
pub fn defaults() -> Vec<Default> {
    let roles = users::roles().into_iter().chain(parts::roles()).chain(controllers::roles());
    let bindings = users::bindings().into_iter().chain(parts::bindings()).chain(controllers::bindings());
    let plural =
        |namespace: &str, whole, of_namespace| if namespace.is_empty() { whole } else { of_namespace };
    let roles = roles.map(|role| Default {
        plural: plural(role.namespace, "clusterroles", "roles"),
        object: role.object(),
    });
    let bindings = bindings.map(|binding| Default {
        plural: plural(binding.namespace, "clusterrolebindings", "rolebindings"),
        object: binding.object(),
    });
    roles.chain(bindings).collect()
}

/// What is to be stored in place of what is there; `None` to leave it.
pub fn reconciled(wanted: &Object, there: Option<&Object>) -> Option<Object> {
    let Some(there) = there else { return Some(wanted.clone()) };
    if there.str_at(&["metadata", "annotations", AUTO_UPDATE]) == "false" {
        return None;
    }
    let mut new = there.clone();
    for field in ["labels", "annotations"] {
        let texts = wanted.at(&["metadata", field]).and_then(Value::as_object).into_iter().flatten();
        for (name, text) in texts {
            new.set(&["metadata", field, name], text.clone());
        }
    }
    match wanted.get("roleRef") {
        Some(_) => add_subjects(&mut new, wanted),
        None if wanted.get("aggregationRule").is_some() => add_selectors(&mut new, wanted),
        None => add_rules(&mut new, wanted),
    }
    (new != *there).then_some(new)
}

fn add_rules(new: &mut Object, wanted: &Object) {
    let mut rules = rules_of(new);
    for rule in rules_of(wanted) {
        let covered = |part: &Rule| rules.iter().any(|mine| mine.covers(part));
        if !rule.parts().iter().all(covered) {
            rules.push(rule);
        }
    }
    if rules.len() > rules_of(new).len() {
        new.set(&["rules"], rules.iter().map(Rule::to_value).collect::<Vec<_>>());
    }
}

fn add_subjects(new: &mut Object, wanted: &Object) {
    add_missing(new, wanted, &["subjects"]);
}

fn add_selectors(new: &mut Object, wanted: &Object) {
    add_missing(new, wanted, &["aggregationRule", "clusterRoleSelectors"]);
}

fn add_missing(new: &mut Object, wanted: &Object, path: &[&str]) {
    let list = |object: &Object| object.at(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut has = list(new);
    let missing: Vec<Value> = list(wanted).into_iter().filter(|one| !has.contains(one)).collect();
    if !missing.is_empty() {
        has.extend(missing);
        new.set(path, has);
    }
}

// === impl Role ===

impl Role {
    fn new(name: impl Into<String>, rules: Vec<Rule>) -> Role {
        Role { namespace: "", name: name.into(), feeds: None, gathers: None, rules }
    }

    fn within(self, namespace: &'static str) -> Role {
        Role { namespace, ..self }
    }

    fn feeding(self, role: &'static str) -> Role {
        Role { feeds: Some(role), ..self }
    }

    fn gathering(name: &'static str) -> Role {
        Role { gathers: Some(name), ..Role::new(name, Vec::new()) }
    }

    fn object(self) -> Object {
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut role = begun(kind, self.namespace, &self.name);
        if let Some(to) = self.feeds {
            role.set(&["metadata", "labels", &aggregate_to(to)], "true");
        }
        if let Some(from) = self.gathers {
            let label = Map::from_iter([(aggregate_to(from), json!("true"))]);
            role.set(&["aggregationRule", "clusterRoleSelectors"], json!([{ "matchLabels": label }]));
        }
        role.set(&["rules"], self.rules.iter().map(Rule::to_value).collect::<Vec<_>>());
        role
    }
}

fn aggregate_to(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

// === impl Binding ===

impl Binding {
    fn object(self) -> Object {
        let (kind, role) = match self.namespace {
            "" => ("ClusterRoleBinding", "ClusterRole"),
            _ => ("RoleBinding", "Role"),
        };
        let mut binding = begun(kind, self.namespace, &self.role);
        binding.set(&["roleRef"], json!({"apiGroup": GROUP, "kind": role, "name": self.role}));
        binding.set(&["subjects"], self.subjects);
        binding
    }

    fn of_group(role: &str, groups: &[&str]) -> Binding {
        let group = |name: &&str| json!({"apiGroup": GROUP, "kind": "Group", "name": name});
        Binding::new(role, groups.iter().map(group).collect())
    }

    fn of_user(role: &str, name: &str) -> Binding {
        Binding::new(role, vec![json!({"apiGroup": GROUP, "kind": "User", "name": name})])
    }

    fn of_account(role: &str, name: &str) -> Binding {
        Binding::new(role, vec![json!({"kind": "ServiceAccount", "name": name, "namespace": SYSTEM})])
    }

    fn new(role: &str, subjects: Vec<Value>) -> Binding {
        Binding { namespace: "", role: role.to_owned(), subjects }
    }

    fn within(self, namespace: &'static str) -> Binding {
        Binding { namespace, ..self }
    }
}

fn begun(kind: &str, namespace: &str, name: &str) -> Object {
    let mut object = Object::default();
    object.set(&["apiVersion"], format!("{GROUP}/v1"));
    object.set(&["kind"], kind);
    object.set(&["metadata", "name"], name);
    if !namespace.is_empty() {
        object.set(&["metadata", "namespace"], namespace);
    }
    object.set(&["metadata", "labels", "kubernetes.io/bootstrapping"], "rbac-defaults");
    object.set(&["metadata", "annotations", AUTO_UPDATE], "true");
    object
}

/// Rules are written with words: verbs, a group (`core` for the one without a name), resources.
fn may(verbs: &str, groups: &str, resources: &str) -> Rule {
    let groups = words(groups).into_iter().map(|group| if group == "core" { String::new() } else { group });
    Rule {
        verbs: words(verbs),
        groups: groups.collect(),
        resources: words(resources),
        ..std::default::Default::default()
    }
}

fn may_named(verbs: &str, groups: &str, resources: &str, names: &str) -> Rule {
    Rule { names: words(names), ..may(verbs, groups, resources) }
}

fn may_get(paths: &str) -> Rule {
    Rule { verbs: words("get"), paths: words(paths), ..std::default::Default::default() }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL: &str = "create delete deletecollection get list patch update watch";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kinds::Table;

    use super::*;

    #[test]
    fn every_default_is_valid_and_named_once() {
        let table = Table::builtin();
        let mut names = BTreeSet::new();
        let all = defaults();
        let is_role = |one: &&Default| one.plural.ends_with("roles");
        let roles: BTreeSet<(&str, &str)> =
            all.iter().filter(is_role).map(|one| (one.object.namespace(), one.object.name())).collect();
        for Default { plural, object } in &all {
            let kind = table.find(GROUP, "v1", plural).expect("a row");
            assert_eq!(kind.validate(object), [], "{}", object.name());
            assert_eq!(kind.kind, object.str_at(&["kind"]));
            assert!(names.insert((plural, object.name())), "{} twice", object.name());
            if plural.ends_with("bindings") {
                let role = (object.namespace(), object.str_at(&["roleRef", "name"]));
                assert!(roles.contains(&role), "{role:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_comes_back_and_what_was_added_stays() {
        let wanted = Role::new("r", vec![may("get list", "core", "pods")]).object();
        assert_eq!(reconciled(&wanted, None), Some(wanted.clone()));
        assert_eq!(reconciled(&wanted, Some(&wanted)), None);

        let mut more = wanted.clone();
        more.set(&["rules"], json!([{"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "secrets"]}]));
        assert_eq!(reconciled(&wanted, Some(&more)), None, "all of it is covered");

        let mut less = wanted.clone();
        less.set(&["rules"], json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]));
        let healed = reconciled(&wanted, Some(&less)).expect("a change");
        assert_eq!(rules_of(&healed), [may("get", "core", "pods"), may("get list", "core", "pods")]);
        less.set(&["metadata", "annotations", AUTO_UPDATE], "false");
        assert_eq!(reconciled(&wanted, Some(&less)), None, "it says that it is to stay so");

        let wanted = Binding::of_group("r", &["a", "b"]).object();
        let mut there = Binding::of_group("r", &["b", "c"]).object();
        there = reconciled(&wanted, Some(&there)).expect("a change");
        let names: Vec<&str> = there["subjects"]
            .as_array()
            .expect("subjects")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(names, ["b", "c", "a"]);
    }
}
