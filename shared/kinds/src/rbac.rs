//! Roles and who has them. That nobody grants what they do not have is a matter of authorization, not of here.

use model::Object;
use serde_json::Value;

use crate::field::{Errors, Field};
use crate::{Column, Kind, NameRule, cell, fill};

const GROUP: &str = "rbac.authorization.k8s.io";

/// `Role` and `ClusterRole`, `RoleBinding` and `ClusterRoleBinding`
pub fn kinds() -> Vec<Kind> {
    let role = |kind: Kind| {
        let namespaced = kind.namespaced;
        kind.with_names(NameRule::PathSegment).with_columns(vec![Column::created_at()]).with_hooks(|hooks| {
            hooks.validate = if namespaced { |role| judge_rules(role, true) } else { judge_cluster_role };
        })
    };
    let binding = |kind: Kind| {
        let namespaced = kind.namespaced;
        kind.with_names(NameRule::PathSegment).with_columns(binding_columns()).with_hooks(|hooks| {
            hooks.default = default_role_binding;
            hooks.validate = match namespaced {
                true => |binding| judge_binding(binding, &["Role", "ClusterRole"]),
                false => |binding| judge_binding(binding, &["ClusterRole"]),
            };
            hooks.validate_update = |new, old| {
                let mut errors = Vec::new();
                let role = |object| Field::of(object, "roleRef");
                if role(new).value != role(old).value {
                    errors.push(role(new).invalid("cannot change roleRef"));
                }
                errors
            };
        })
    };
    vec![
        binding(Kind::cluster(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings")),
        role(Kind::cluster(GROUP, "v1", "ClusterRole", "clusterroles")),
        binding(Kind::namespaced(GROUP, "v1", "RoleBinding", "rolebindings")),
        role(Kind::namespaced(GROUP, "v1", "Role", "roles")),
    ]
}

fn default_role_binding(object: &mut Object) {
    if let Some(role) = fill::object(object, "roleRef") {
        fill::text(role, "apiGroup", GROUP);
    }
    for subject in fill::objects(object, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            fill::text(subject, "apiGroup", GROUP);
        }
    }
}

/// A rule is about resources or about paths, and says what may be done.
fn judge_rules(role: &Object, namespaced: bool) -> Errors {
    let mut errors = Errors::new();
    for rule in Field::of(role, "rules").items() {
        if rule.at("verbs").is_empty() {
            errors.push(rule.at("verbs").required("verbs must contain at least one value"));
        }
        let paths = rule.at("nonResourceURLs");
        let about_resources =
            ["apiGroups", "resources", "resourceNames"].iter().any(|field| !rule.at(field).is_empty());
        if !paths.is_empty() {
            if namespaced {
                errors.push(paths.invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if about_resources {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(paths.invalid(why));
            }
            continue;
        }
        if rule.at("apiGroups").is_empty() {
            errors.push(rule.at("apiGroups").required("resource rules must supply at least one api group"));
        }
        if rule.at("resources").is_empty() {
            errors.push(rule.at("resources").required("resource rules must supply at least one resource"));
        }
    }
    errors
}

fn judge_cluster_role(role: &Object) -> Errors {
    let mut errors = judge_rules(role, false);
    let aggregation = Field::of(role, "aggregationRule");
    let selectors = aggregation.at("clusterRoleSelectors");
    if aggregation.is_set() && selectors.is_empty() {
        errors.push(
            selectors.required("at least one clusterRoleSelector required if aggregationRule is non-nil"),
        );
    }
    for selector in selectors.items() {
        if let Err(why) = model::LabelSelector::from_json(selector.value) {
            errors.push(selector.invalid(why));
        }
    }
    errors
}

/// A binding names a role of a kind that it can grant, and those who are to have it.
fn judge_binding(binding: &Object, kinds: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let role = Field::of(binding, "roleRef");
    if role.at("apiGroup").text() != GROUP {
        errors.push(role.at("apiGroup").not_supported(&[GROUP]));
    }
    if !kinds.contains(&role.at("kind").text()) {
        errors.push(role.at("kind").not_supported(kinds));
    }
    role.at("name").must_have(model::names::path_segment, &mut errors);
    for subject in Field::of(binding, "subjects").items() {
        let (name, group) = (subject.at("name"), subject.at("apiGroup"));
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        match subject.at("kind").text() {
            "ServiceAccount" => {
                name.may(model::names::dns_subdomain, &mut errors);
                if !group.text().is_empty() {
                    errors.push(group.not_supported(&[""]));
                }
                if subject.at("namespace").text().is_empty() {
                    errors.push(subject.at("namespace").required(""));
                }
            }
            "User" | "Group" if group.text() == GROUP => (),
            "User" | "Group" => errors.push(group.not_supported(&[GROUP])),
            _ => errors.push(subject.at("kind").not_supported(&["ServiceAccount", "User", "Group"])),
        }
    }
    errors
}

fn binding_columns() -> Vec<Column> {
    fn subjects(object: &Object, kind: &str) -> String {
        let text = |subject: &Value, field: &str| subject[field].as_str().unwrap_or_default().to_owned();
        let of_kind = cell::list(object, &["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = of_kind
            .map(|subject| match text(subject, "namespace") {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "name")),
                _ => text(subject, "name"),
            })
            .collect();
        names.join(", ")
    }
    vec![
        Column::text("Role", "The role that it grants.", |object| {
            format!("{}/{}", object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]))
        }),
        Column::age(),
        Column::text("Users", "The users that it grants it to.", |object| subjects(object, "User")).wide(),
        Column::text("Groups", "The groups that it grants it to.", |object| subjects(object, "Group")).wide(),
        Column::text("ServiceAccounts", "The service accounts that it grants it to.", |object| {
            subjects(object, "ServiceAccount")
        })
        .wide(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, object, row, said};
    use serde_json::json;

    fn binding() -> Kind {
        kinds().into_iter().find(|kind| kind.kind == "RoleBinding").expect("a row")
    }

    fn granted() -> Value {
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "s", "namespace": "n"}
        ]})
    }

    #[test]
    fn users_and_groups_are_of_the_group_unless_said() {
        let shown = defaulted(&binding(), granted());
        assert_eq!(shown["roleRef"]["apiGroup"], GROUP);
        assert_eq!(shown["subjects"][0]["apiGroup"], GROUP);
        assert_eq!(shown["subjects"][2].get("apiGroup"), None);
        assert_eq!(row(&binding(), &object(shown)), "b | Role/r | <unknown> | u | g | n/s");
    }

    #[test]
    fn a_rule_is_about_resources_or_about_paths() {
        let judged = |kind: &str, rule: Value| {
            let row = kinds().into_iter().find(|row| row.kind == kind).expect("a row");
            said((row.hooks.validate)(&object(json!({"metadata": {"name": "r"}, "rules": [rule]}))))
        };
        let cases = [
            ("Role", json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), ""),
            ("ClusterRole", json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}), ""),
            (
                "Role",
                json!({}),
                "rules[0].verbs: Required value: verbs must contain at least one value\n\
                 rules[0].apiGroups: Required value: resource rules must supply at least one api group\n\
                 rules[0].resources: Required value: resource rules must supply at least one resource",
            ),
            (
                "Role",
                json!({"verbs": ["get"], "nonResourceURLs": ["/x"]}),
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: \
                 namespaced rules cannot apply to non-resource URLs",
            ),
        ];
        for (kind, rule, expected) in cases {
            assert_eq!(judged(kind, rule.clone()), expected, "{kind} {rule}");
        }
    }

    #[test]
    fn a_binding_names_a_role_and_those_who_have_it() {
        let judged = |role: Value, subject: Value| {
            let shown =
                defaulted(&binding(), json!({"metadata": {}, "roleRef": role, "subjects": [subject]}));
            said((binding().hooks.validate)(&object(shown)))
        };
        let (role, user) = (json!({"kind": "Role", "name": "r"}), json!({"kind": "User", "name": "u"}));
        assert_eq!(judged(role.clone(), user.clone()), "");
        assert_eq!(
            judged(json!({"kind": "Pod", "name": ""}), user),
            "roleRef.kind: Unsupported value: \"Pod\": supported values: \"Role\", \"ClusterRole\"\n\
             roleRef.name: Required value"
        );
        assert_eq!(
            judged(role, json!({"kind": "ServiceAccount", "name": "s"})),
            "subjects[0].namespace: Required value"
        );
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let (old, mut new) = (object(granted()), object(granted()));
        assert_eq!(said((binding().hooks.validate_update)(&new, &old)), "");
        new.set(&["roleRef", "name"], "admin");
        assert_eq!(
            said((binding().hooks.validate_update)(&new, &old)),
            "roleRef: Invalid value: {\"kind\":\"Role\",\"name\":\"admin\"}: cannot change roleRef"
        );
    }
}
