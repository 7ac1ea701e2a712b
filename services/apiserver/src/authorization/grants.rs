//! Roles and bindings as an index: who has which rules. Plain data, no clock, no IO.
//!
//! ```text
//!  put, remove ──> bindings ── by subject ──┐
//!                  roles, cluster roles     ├──> permissions(user, groups) ──> allows? covers?
//!                     └ aggregated from others by label
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{Key, LabelSelector, Object, Status};
use serde_json::Value;

use super::attributes::{Attributes, On};
use super::rule::Rule;
use super::{GROUP, metrics};
use crate::identity::service_account_user;

/// Everything that roles and bindings say.
#[derive(Debug, Default)]
pub struct Grants {
    roles: HashMap<Key, Role>,
    bindings: HashMap<Key, Binding>,
    by_subject: HashMap<Subject, BTreeSet<Key>>,
}

/// A Role or ClusterRole.
#[derive(Debug, Default)]
struct Role {
    labels: serde_json::Map<String, Value>,
    rules: Vec<Arc<Rule>>,
    /// Its rules are those of the cluster roles that one of these selects.
    aggregation: Option<Vec<LabelSelector>>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug)]
struct Binding {
    role: Key,
    subjects: BTreeSet<Subject>,
}

/// Who is bound; a service account is a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Subject {
    User(String),
    Group(String),
}

/// All that an identity may do.
#[derive(Debug, Default)]
pub struct Permissions {
    /// May do everything: nothing is looked up.
    unlimited: bool,
    everywhere: Vec<Grant>,
    by_namespace: BTreeMap<String, Vec<Grant>>,
    /// Bindings that lead nowhere, by the namespace that they are in.
    broken: Vec<(String, String)>,
}

/// What one binding gives.
#[derive(Debug)]
struct Grant {
    rules: Vec<Arc<Rule>>,
    /// In upstream's words, for reviews.
    by: String,
}

/// Whether something is allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// What allows it, or what went wrong while nothing did.
    pub reason: String,
}

// === impl Grants ===

impl Grants {
    /// Takes in a role or binding as it is now; anything else is passed over.
    pub fn put(&mut self, key: &Key, object: &Object) {
        self.remove(key);
        match key.resource() {
            "roles" | "clusterroles" => {
                self.roles.insert(key.clone(), Role::read(object));
            }
            "rolebindings" | "clusterrolebindings" => {
                let binding = Binding::read(key, object);
                for subject in &binding.subjects {
                    self.by_subject.entry(subject.clone()).or_default().insert(key.clone());
                }
                self.bindings.insert(key.clone(), binding);
            }
            _ => {}
        }
    }

    /// Forgets what is gone.
    pub fn remove(&mut self, key: &Key) {
        self.roles.remove(key);
        for subject in self.bindings.remove(key).into_iter().flat_map(|binding| binding.subjects) {
            if let Some(bound) = self.by_subject.get_mut(&subject) {
                bound.remove(key);
                if bound.is_empty() {
                    self.by_subject.remove(&subject);
                }
            }
        }
    }

    /// What a user in these groups may do.
    pub fn permissions(&self, user: &str, groups: &[String]) -> Permissions {
        let mut permissions = Permissions::default();
        let groups = groups.iter().map(|group| Subject::Group(group.clone()));
        let mut seen = BTreeSet::new();
        for subject in std::iter::once(Subject::User(user.to_owned())).chain(groups) {
            for key in self.by_subject.get(&subject).into_iter().flatten() {
                if seen.insert(key) {
                    self.add(&mut permissions, key, &subject);
                }
            }
        }
        permissions
    }

    fn add(&self, permissions: &mut Permissions, key: &Key, subject: &Subject) {
        let binding = &self.bindings[key];
        let namespace = key.namespace();
        match self.rules(&binding.role) {
            Some(rules) => {
                let grant = Grant { rules, by: allowed_by(key, &binding.role, subject) };
                match namespace {
                    "" => permissions.everywhere.push(grant),
                    _ => permissions.by_namespace.entry(namespace.to_owned()).or_default().push(grant),
                }
            }
            None => permissions.broken.push((namespace.to_owned(), missing(&binding.role))),
        }
    }

    /// The rules of a role; `None` when there is no such role.
    pub fn rules(&self, role: &Key) -> Option<Vec<Arc<Rule>>> {
        let mut rules = Vec::new();
        self.collect(role, &mut BTreeSet::new(), &mut rules)?;
        Some(rules)
    }

    /// Aggregated roles may be aggregated from aggregated ones, in circles too.
    fn collect(&self, key: &Key, seen: &mut BTreeSet<Key>, rules: &mut Vec<Arc<Rule>>) -> Option<()> {
        let role = self.roles.get(key)?;
        if !seen.insert(key.clone()) {
            return Some(());
        }
        let Some(selectors) = &role.aggregation else {
            rules.extend(role.rules.iter().cloned());
            return Some(());
        };
        let selected = |role: &Role| selectors.iter().any(|selector| selector.matches(&role.labels));
        let mut parts: Vec<&Key> = self
            .roles
            .iter()
            .filter(|(key, role)| key.resource() == "clusterroles" && selected(role))
            .map(|(key, _)| key)
            .collect();
        parts.sort_unstable();
        for part in parts {
            self.collect(part, seen, rules);
        }
        Some(())
    }
}

fn allowed_by(binding: &Key, role: &Key, subject: &Subject) -> String {
    let kind = |key: &Key| match key.resource() {
        "clusterroles" => "ClusterRole",
        "roles" => "Role",
        "clusterrolebindings" => "ClusterRoleBinding",
        _ => "RoleBinding",
    };
    let (subject_kind, name) = match subject {
        Subject::User(name) => {
            match name.strip_prefix("system:serviceaccount:").and_then(|at| at.split_once(':')) {
                Some((namespace, account)) => ("ServiceAccount", format!("{account}/{namespace}")),
                None => ("User", name.clone()),
            }
        }
        Subject::Group(name) => ("Group", name.clone()),
    };
    let bound = match binding.namespace() {
        "" => binding.name().to_owned(),
        namespace => format!("{}/{namespace}", binding.name()),
    };
    format!(
        "RBAC: allowed by {} {bound:?} of {} {:?} to {subject_kind} {name:?}",
        kind(binding),
        kind(role),
        role.name()
    )
}

fn missing(role: &Key) -> String {
    let kind = if role.resource() == "roles" { "role" } else { "clusterrole" };
    format!("{kind}.{GROUP} {:?} not found", role.name())
}

// === impl Role ===

impl Role {
    fn read(object: &Object) -> Role {
        let selectors = object.at(&["aggregationRule", "clusterRoleSelectors"]).and_then(Value::as_array);
        Role {
            labels: object
                .at(&["metadata", "labels"])
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            rules: rules_of(object).into_iter().map(Arc::new).collect(),
            // What is no selector selects nothing; validation lets none pass.
            aggregation: selectors
                .map(|list| list.iter().filter_map(|one| LabelSelector::from_json(one).ok()).collect()),
        }
    }
}

/// The `rules` of a role.
pub fn rules_of(role: &Object) -> Vec<Rule> {
    role.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::from_value).collect()
}

// === impl Binding ===

impl Binding {
    fn read(key: &Key, object: &Object) -> Binding {
        let subjects = object.get("subjects").and_then(Value::as_array).into_iter().flatten();
        Binding {
            role: role_of(key.namespace(), object),
            subjects: subjects.filter_map(Subject::read).collect(),
        }
    }
}

/// The role that a binding in `namespace` names.
pub fn role_of(namespace: &str, binding: &Object) -> Key {
    let name = binding.str_at(&["roleRef", "name"]);
    match binding.str_at(&["roleRef", "kind"]) {
        "Role" => Key::object(GROUP, "roles", namespace, name),
        _ => Key::object(GROUP, "clusterroles", "", name),
    }
}

// === impl Subject ===

impl Subject {
    fn read(subject: &Value) -> Option<Subject> {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or("");
        let name = text("name");
        match text("kind") {
            "User" => Some(Subject::User(name.to_owned())),
            "Group" => Some(Subject::Group(name.to_owned())),
            "ServiceAccount" if !text("namespace").is_empty() => {
                Some(Subject::User(service_account_user(text("namespace"), name)))
            }
            _ => None,
        }
    }
}

// === impl Permissions ===

impl Permissions {
    /// Of those who may do everything.
    pub fn unlimited() -> Permissions {
        Permissions { unlimited: true, ..Permissions::default() }
    }

    /// Whether that is allowed.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        self.unlimited || self.grant(wanted).is_some()
    }

    /// 403 with the reason unless `user`, whose permissions these are, may do that.
    pub fn authorize(&self, user: &str, wanted: &Attributes<'_>) -> Result<(), Status> {
        let allowed = self.allows(wanted);
        metrics::count(allowed);
        match allowed {
            true => Ok(()),
            false => Err(wanted.refused(user, &self.problems(wanted.namespace()))),
        }
    }

    /// Whether that is allowed, and why.
    pub fn decide(&self, wanted: &Attributes<'_>) -> Decision {
        if self.unlimited {
            return Decision { allowed: true, reason: String::new() };
        }
        match self.grant(wanted) {
            Some(grant) => Decision { allowed: true, reason: grant.by.clone() },
            None => Decision { allowed: false, reason: self.problems(wanted.namespace()) },
        }
    }

    /// Why fewer bindings than there are count in a namespace; empty when all of them do.
    pub fn problems(&self, namespace: &str) -> String {
        let counts = |place: &str| place.is_empty() || place == namespace;
        let mut broken: Vec<&str> =
            self.broken.iter().filter(|(place, _)| counts(place)).map(|(_, why)| why.as_str()).collect();
        broken.dedup();
        match broken.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        }
    }

    /// Whether whoever has these permissions has all that `rule` gives; what of it is missing.
    pub fn missing(&self, namespace: &str, rule: &Rule) -> Vec<Rule> {
        if self.unlimited {
            return Vec::new();
        }
        let covered = |part: &Rule| self.rules(namespace).any(|mine| mine.covers(part));
        rule.parts().into_iter().filter(|part| !covered(part)).collect()
    }

    /// The rules that count in a namespace.
    pub fn rules(&self, namespace: &str) -> impl Iterator<Item = &Rule> {
        self.grants(namespace).flat_map(|grant| grant.rules.iter().map(Arc::as_ref))
    }

    /// Whether everything is allowed, by no rule.
    pub fn is_unlimited(&self) -> bool {
        self.unlimited
    }

    fn grant(&self, wanted: &Attributes<'_>) -> Option<&Grant> {
        // A path is in no namespace, and a role of one cannot speak of it.
        let namespace = match wanted.on {
            On::Resource(resource) => resource.namespace,
            On::Path(_) => "",
        };
        self.grants(namespace).find(|grant| grant.rules.iter().any(|rule| rule.allows(wanted)))
    }

    fn grants(&self, namespace: &str) -> impl Iterator<Item = &Grant> {
        let here = if namespace.is_empty() { None } else { self.by_namespace.get(namespace) };
        self.everywhere.iter().chain(here.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::attributes::Resource;
    use super::*;

    fn key(path: &str) -> Key {
        let (resource, rest) = path.split_once('/').expect("a path");
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        Key::object(GROUP, resource, namespace, name)
    }

    fn grants(objects: &[(&str, Value)]) -> Grants {
        let mut grants = Grants::default();
        for (path, value) in objects {
            grants.put(&key(path), &Object::from_value(value.clone()).expect("an object"));
        }
        grants
    }

    fn role(verbs: &[&str], resources: &[&str]) -> Value {
        json!({"rules": [{"verbs": verbs, "apiGroups": [""], "resources": resources}]})
    }

    fn binding(kind: &str, role: &str, subject: Value) -> Value {
        json!({"roleRef": {"kind": kind, "name": role}, "subjects": [subject]})
    }

    fn user(name: &str) -> Value {
        json!({"kind": "User", "name": name})
    }

    fn may(grants: &Grants, who: &str, groups: &[&str], verb: &str, resource: &str, namespace: &str) -> bool {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let resource = Resource { resource, namespace, ..Resource::default() };
        grants.permissions(who, &groups).allows(&Attributes::resource(verb, resource))
    }

    #[test]
    fn a_role_counts_in_its_namespace_and_a_cluster_role_where_it_is_bound() {
        let grants = grants(&[
            ("roles/a/reader", role(&["get"], &["pods"])),
            ("clusterroles/watcher", role(&["watch"], &["pods"])),
            ("rolebindings/a/one", binding("Role", "reader", user("jane"))),
            ("rolebindings/b/two", binding("ClusterRole", "watcher", user("jane"))),
            (
                "clusterrolebindings/all",
                binding("ClusterRole", "watcher", json!({"kind": "Group", "name": "ops"})),
            ),
            (
                "rolebindings/a/account",
                binding("Role", "reader", json!({"kind": "ServiceAccount", "name": "bot", "namespace": "c"})),
            ),
        ]);
        let cases = [
            ("jane", "", "get", "a", true),
            ("jane", "", "get", "b", false),
            ("jane", "", "get", "", false),
            ("jane", "", "watch", "b", true),
            ("jane", "", "watch", "a", false),
            ("jane", "", "watch", "", false),
            ("joe", "ops", "watch", "a", true),
            ("joe", "ops", "watch", "", true),
            ("joe", "ops", "get", "a", false),
            ("system:serviceaccount:c:bot", "", "get", "a", true),
            ("system:serviceaccount:a:bot", "", "get", "a", false),
        ];
        for (who, group, verb, namespace, expected) in cases {
            assert_eq!(
                may(&grants, who, &[group], verb, "pods", namespace),
                expected,
                "{who} {group} {verb} {namespace}"
            );
        }
    }

    #[test]
    fn what_is_changed_or_gone_no_longer_counts() {
        let mut grants = grants(&[
            ("roles/a/reader", role(&["get"], &["pods"])),
            ("rolebindings/a/one", binding("Role", "reader", user("jane"))),
        ]);
        assert!(may(&grants, "jane", &[], "get", "pods", "a"));
        let other = Object::from_value(binding("Role", "reader", user("joe"))).expect("an object");
        grants.put(&key("rolebindings/a/one"), &other);
        assert!(!may(&grants, "jane", &[], "get", "pods", "a"));
        assert!(may(&grants, "joe", &[], "get", "pods", "a"));
        grants.remove(&key("roles/a/reader"));
        let permissions = grants.permissions("joe", &[]);
        let pods = Resource { resource: "pods", namespace: "a", ..Resource::default() };
        let decision = permissions.decide(&Attributes::resource("get", pods));
        let reason = "RBAC: role.rbac.authorization.k8s.io \"reader\" not found".to_owned();
        assert_eq!(decision, Decision { allowed: false, reason });
        grants.remove(&key("rolebindings/a/one"));
        assert!(grants.by_subject.is_empty() && grants.bindings.is_empty());
    }

    #[test]
    fn an_aggregated_role_has_the_rules_of_those_that_it_selects_and_theirs() {
        let aggregated = |label: &str, own: Value| {
            let selector = json!([{"matchLabels": {label: "true"}}]);
            json!({
                "metadata": {"labels": own}, "aggregationRule": {"clusterRoleSelectors": selector},
                "rules": [{"verbs": ["stale"], "apiGroups": [""], "resources": ["pods"]}]
            })
        };
        let part = |label: &str, verb: &str| {
            let mut part = role(&[verb], &["pods"]);
            part["metadata"] = json!({"labels": {label: "true"}});
            part
        };
        let grants = grants(&[
            ("clusterroles/admin", aggregated("to-admin", json!({"to-edit": "true"}))),
            ("clusterroles/edit", aggregated("to-edit", json!({"to-admin": "true"}))),
            ("clusterroles/a", part("to-admin", "delete")),
            ("clusterroles/b", part("to-edit", "patch")),
            ("clusterrolebindings/x", binding("ClusterRole", "admin", user("jane"))),
            ("clusterrolebindings/y", binding("ClusterRole", "edit", user("joe"))),
        ]);
        for verb in ["delete", "patch"] {
            assert!(may(&grants, "jane", &[], verb, "pods", "n"), "{verb}");
            assert!(may(&grants, "joe", &[], verb, "pods", "n"), "{verb}: the two select each other");
        }
        assert!(!may(&grants, "jane", &[], "stale", "pods", "n"), "what it says itself does not count");
    }

    #[test]
    fn a_decision_says_what_led_to_it() {
        let grants = grants(&[
            ("clusterroles/reader", role(&["get"], &["pods"])),
            ("rolebindings/a/one", binding("ClusterRole", "reader", user("jane"))),
        ]);
        let pods = Resource { resource: "pods", namespace: "a", ..Resource::default() };
        let decision = grants.permissions("jane", &[]).decide(&Attributes::resource("get", pods));
        assert_eq!(
            decision.reason,
            "RBAC: allowed by RoleBinding \"one/a\" of ClusterRole \"reader\" to User \"jane\""
        );
    }

    #[test]
    fn what_somebody_lacks_of_a_rule_is_named() {
        let grants = grants(&[
            ("clusterroles/reader", role(&["get", "list"], &["pods"])),
            ("roles/a/writer", role(&["create"], &["pods"])),
            ("clusterrolebindings/x", binding("ClusterRole", "reader", user("jane"))),
            ("rolebindings/a/y", binding("Role", "writer", user("jane"))),
        ]);
        let permissions = grants.permissions("jane", &[]);
        let wanted = Rule::from_value(&role(&["get", "create", "delete"], &["pods"])["rules"][0]);
        let lacks = |namespace: &str| -> Vec<String> {
            permissions.missing(namespace, &wanted).iter().map(|part| part.verbs.join(" ")).collect()
        };
        assert_eq!(lacks("a"), ["delete"]);
        assert_eq!(lacks(""), ["create", "delete"]);
        assert!(Permissions::unlimited().missing("", &wanted).is_empty());
    }
}
