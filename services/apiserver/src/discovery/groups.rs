//! Discovery as older clients ask: a document for the groups, and one for each group version.

use std::collections::HashSet;

use kinds::{Kind, Subresource, Table, Verbs};
use serde_json::{Map, Value, json};

/// `/api`: the versions of the core group, and where this server is.
pub fn core_versions(table: &Table, server: &str) -> Value {
    let versions: Vec<&str> = versions(table, "");
    json!({
        "kind": "APIVersions", "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
    })
}

/// `/apis`: every other group.
pub fn group_list(table: &Table) -> Value {
    let groups: Vec<Value> = names(table).into_iter().map(|group| group_value(table, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`; `None` when there is none of that name.
pub fn group(table: &Table, name: &str) -> Option<Value> {
    let known = !name.is_empty() && names(table).contains(&name);
    known.then(|| {
        let mut group = group_value(table, name);
        group["kind"] = json!("APIGroup");
        group["apiVersion"] = json!("v1");
        group
    })
}

/// `/api/v1` or `/apis/{group}/{version}`: the resources of a group version; `None` when there is none.
pub fn resource_list(table: &Table, group: &str, version: &str) -> Option<Value> {
    let rows: Vec<&Kind> = rows(table, group, version).collect();
    let first = rows.first()?;
    let mut resources: Vec<Value> = Vec::new();
    for kind in &rows {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|one| subresource(kind, one)));
    }
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": resources,
    }))
}

/// The groups besides the core group, in the table's order.
pub fn names(table: &Table) -> Vec<&str> {
    let mut seen = HashSet::new();
    let groups = table.group_versions().into_iter().map(|(group, _)| group);
    groups.filter(|group| !group.is_empty() && seen.insert(*group)).collect()
}

/// The versions of a group, the one that clients should prefer first.
pub fn versions<'a>(table: &'a Table, group: &str) -> Vec<&'a str> {
    let mut versions: Vec<&str> = table
        .group_versions()
        .into_iter()
        .filter(|(one, _)| *one == group)
        .map(|(_, version)| version)
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    versions
}

/// The rows of a group version.
pub fn rows<'a>(table: &'a Table, group: &'a str, version: &'a str) -> impl Iterator<Item = &'a Kind> {
    table.iter().map(AsRef::as_ref).filter(move |kind| kind.group == group && kind.version == version)
}

/// Verbs by name.
pub fn verbs(verbs: Verbs) -> Vec<&'static str> {
    verbs.iter().map(kinds::Verb::as_str).collect()
}

fn group_value(table: &Table, group: &str) -> Value {
    let versions: Vec<Value> = versions(table, group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs(kind.verbs),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    resource
}

fn subresource(kind: &Kind, one: &Subresource) -> Value {
    let mut resource = Map::new();
    resource.insert("name".to_owned(), json!(format!("{}/{}", kind.plural, one.name)));
    resource.insert("singularName".to_owned(), json!(""));
    resource.insert("namespaced".to_owned(), json!(kind.namespaced));
    resource.insert("kind".to_owned(), json!(one.kind));
    resource.insert("verbs".to_owned(), json!(verbs(one.verbs)));
    if (&one.group, &one.version) != (&kind.group, &kind.version) {
        resource.insert("group".to_owned(), json!(one.group));
        resource.insert("version".to_owned(), json!(one.version));
    }
    Value::Object(resource)
}

/// Stable versions before beta before alpha, and newer ones first; anything else last.
fn priority(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    let Some(rest) = version.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    else {
        return (0, 0, 0);
    };
    let split = |stage: &str| rest.split_once(stage).map(|(major, minor)| (number(major), number(minor)));
    match (split("beta"), split("alpha")) {
        (Some((major, minor)), _) => (2, major, minor),
        (None, Some((major, minor))) => (1, major, minor),
        (None, None) => (3, number(rest), 0),
    }
}

#[cfg(test)]
mod tests {
    use kinds::Verb;

    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        table.insert(Kind::namespaced("", "v1", "Pod", "pods").short(&["po"]).in_all().with_status());
        table.insert(Kind::namespaced(
            "autoscaling",
            "v1",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
        ));
        table.insert(Kind::namespaced(
            "autoscaling",
            "v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
        ));
        table.insert(
            Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets").with_subresource(Subresource::new(
                "scale",
                "autoscaling",
                "v1",
                "Scale",
                &[Verb::Get],
            )),
        );
        table
    }

    #[test]
    fn a_group_version_lists_its_resources_and_their_subresources() {
        let list = resource_list(&table(), "", "v1").unwrap();
        assert_eq!(list["groupVersion"], "v1");
        let expected = json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
            "categories": ["all"],
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        assert_eq!(list["resources"][0], expected);
        let status = json!({
            "name": "pods/status", "singularName": "", "namespaced": true, "kind": "Pod",
            "verbs": ["get", "patch", "update"],
        });
        assert_eq!(list["resources"][1], status);
        let apps = resource_list(&table(), "apps", "v1").unwrap();
        assert_eq!(
            (&apps["resources"][1]["group"], &apps["resources"][1]["kind"]),
            (&json!("autoscaling"), &json!("Scale"))
        );
        assert_eq!(resource_list(&table(), "apps", "v9"), None);
    }

    #[test]
    fn groups_prefer_their_newest_stable_version() {
        let groups = group_list(&table());
        assert_eq!(groups["groups"][0]["preferredVersion"]["groupVersion"], "autoscaling/v2");
        assert_eq!(groups["groups"][1]["name"], "apps");
        assert_eq!(group(&table(), "nothing"), None);
        assert_eq!(group(&table(), ""), None);
        let mut order = vec!["v1alpha1", "v2beta1", "v1", "v10", "v1beta2", "other", "v2"];
        order.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(order, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "other"]);
    }
}
