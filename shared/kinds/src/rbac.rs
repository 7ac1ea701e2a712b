//! Roles and who has them. That nobody grants what they do not have is a matter of authorization, not of here.

use model::Object;
use serde_json::Value;

use crate::field::Field;
use crate::{Column, Kind, NameRule, cell, fill};

const GROUP: &str = "rbac.authorization.k8s.io";

/// `Role` and `ClusterRole`, `RoleBinding` and `ClusterRoleBinding`
pub fn kinds() -> Vec<Kind> {
    let role = |kind: Kind| kind.with_names(NameRule::PathSegment).with_columns(vec![Column::created_at()]);
    let binding = |kind: Kind| {
        kind.with_names(NameRule::PathSegment).with_columns(binding_columns()).with_hooks(|hooks| {
            hooks.default = default_role_binding;
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
