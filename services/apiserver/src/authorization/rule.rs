//! One rule of a role: what may be done to what.

use serde_json::Value;

use super::attributes::{Attributes, On, Resource};

/// Stands for every verb, group, resource or path.
const ALL: &str = "*";

/// A rule, about resources or about paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `get`, `*`
    pub verbs: Vec<String>,
    /// Empty text for the core group.
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, `*`
    pub resources: Vec<String>,
    /// Only objects of these names; all when there are none.
    pub names: Vec<String>,
    /// `/healthz`, `/healthz/*`
    pub paths: Vec<String>,
}

// === impl Rule ===

impl Rule {
    /// Reads an element of `rules`.
    pub fn from_value(rule: &Value) -> Rule {
        let texts = |field: &str| {
            let list = rule.get(field).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Rule {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// An element of `rules`.
    pub fn to_value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        let said = fields.into_iter().filter(|(_, list)| !list.is_empty());
        Value::Object(said.map(|(field, list)| (field.to_owned(), list.clone().into())).collect())
    }

    /// Whether it allows that.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        has(&self.verbs, wanted.verb)
            && match &wanted.on {
                On::Resource(resource) => self.is_about(resource),
                On::Path(path) => self.paths.iter().any(|pattern| path_matches(pattern, path)),
            }
    }

    fn is_about(&self, wanted: &Resource<'_>) -> bool {
        has(&self.groups, wanted.group)
            && self.resources.iter().any(|one| resource_matches(one, wanted.resource, wanted.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == wanted.name))
    }

    /// Whether whoever has this rule has all that `other` gives, which is a rule of [`Rule::parts`].
    pub fn covers(&self, other: &Rule) -> bool {
        let all_of = |mine: &[String], theirs: &[String]| theirs.iter().all(|one| has(mine, one));
        let resources = other.resources.iter().all(|wanted| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.iter().any(|mine| mine == wanted || resource_matches(mine, resource, subresource))
        });
        let names = match (self.names.as_slice(), other.names.as_slice()) {
            ([], _) => true,
            (_, []) => false,
            (mine, theirs) => theirs.iter().all(|name| mine.contains(name)),
        };
        let paths = other.paths.iter().all(|wanted| self.paths.iter().any(|mine| path_matches(mine, wanted)));
        all_of(&self.verbs, &other.verbs)
            && all_of(&self.groups, &other.groups)
            && resources
            && names
            && paths
    }

    /// The rule as rules with one verb each, about one thing: what somebody has of it may come from several rules.
    pub fn parts(&self) -> Vec<Rule> {
        let one = |text: &str| vec![text.to_owned()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                parts.push(Rule { verbs: one(verb), paths: one(path), ..Rule::default() });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let whole = Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    match self.names.as_slice() {
                        [] => parts.push(whole),
                        names => {
                            parts.extend(names.iter().map(|name| Rule { names: one(name), ..whole.clone() }))
                        }
                    }
                }
            }
        }
        parts
    }

    /// As upstream's messages write a rule: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let fields = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let said = fields.into_iter().filter(|(_, list)| !list.is_empty());
        let said: Vec<String> = said.map(|(field, list)| format!("{field}:{}", quoted(list))).collect();
        format!("{{{}}}", said.join(", "))
    }
}

/// `["a" "b"]`: lists as Go prints them.
pub fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == ALL || one == wanted)
}

fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    match pattern.split_once('/') {
        _ if pattern == ALL => true,
        None => pattern == resource && subresource.is_empty(),
        Some((one, part)) => part == subresource && !part.is_empty() && (one == ALL || one == resource),
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: Value) -> Rule {
        Rule::from_value(&value)
    }

    fn on(verb: &'static str, resource: &'static str, name: &'static str) -> Attributes<'static> {
        let (group, resource) = resource.split_once(':').unwrap_or(("", resource));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes::resource(verb, Resource { group, resource, subresource, namespace: "n", name })
    }

    #[test]
    fn verbs_groups_resources_and_names_all_have_to_match() {
        let reader = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        let scaler = json!({"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]});
        let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        let one =
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]});
        let cases = [
            (&reader, on("get", "pods", ""), true),
            (&reader, on("list", "pods/log", ""), true),
            (&reader, on("delete", "pods", ""), false),
            (&reader, on("get", "pods/exec", ""), false),
            (&reader, on("get", "apps:pods", ""), false),
            (&scaler, on("update", "apps:deployments/scale", "x"), true),
            (&scaler, on("update", "apps:deployments", "x"), false),
            (&scaler, on("update", "apps:deployments/status", "x"), false),
            (&everything, on("impersonate", "x.io:things/part", "x"), true),
            (&one, on("get", "secrets", "a"), true),
            (&one, on("get", "secrets", "b"), false),
            (&one, on("get", "secrets", ""), false),
        ];
        for (value, wanted, expected) in cases {
            assert_eq!(rule(value.clone()).allows(&wanted), expected, "{value} {wanted:?}");
        }
    }

    #[test]
    fn paths_end_in_a_star_or_are_meant_exactly() {
        let health = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]});
        let cases = [
            ("get", "/healthz", true),
            ("get", "/healthz/ping", false),
            ("get", "/openapi/v3", true),
            ("get", "/openapi", false),
            ("post", "/healthz", false),
        ];
        for (verb, path, expected) in cases {
            assert_eq!(rule(health.clone()).allows(&Attributes::path(verb, path)), expected, "{verb} {path}");
        }
        assert!(
            rule(json!({"verbs": ["*"], "nonResourceURLs": ["*"]})).allows(&Attributes::path("put", "/x"))
        );
    }

    #[test]
    fn a_rule_covers_what_it_gives_and_no_more() {
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
        let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
        let named =
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        let logs = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]});
        let log = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]});
        let health = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]});
        let ping = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz/ping"]});
        let cases = [
            (&all, &pods, true),
            (&pods, &all, false),
            (&pods, &named, true),
            (&named, &pods, false),
            (&logs, &log, true),
            (&log, &logs, false),
            (&health, &ping, true),
            (&all, &ping, false),
        ];
        for (mine, theirs, expected) in cases {
            let covered = rule(theirs.clone()).parts().iter().all(|part| rule(mine.clone()).covers(part));
            assert_eq!(covered, expected, "{mine} {theirs}");
        }
    }

    #[test]
    fn a_rule_reads_as_upstream_writes_it() {
        let value = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
        assert_eq!(
            rule(value.clone()).compact(),
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#
        );
        assert_eq!(rule(value.clone()).to_value(), value);
    }
}
