//! Discovery as newer clients ask: every group, version and resource in one document.

use kinds::{Kind, Subresource, Table};
use serde_json::{Value, json};

use super::groups;

/// Versions of the group `apidiscovery.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiscoveryVersion {
    /// `v2`
    V2,
    /// `v2beta1`, for kubectl up to 1.29.
    V2Beta1,
}

/// `/api`, with the core group alone.
pub fn core(table: &Table, version: DiscoveryVersion) -> Value {
    list(version, vec![group(table, "")])
}

/// `/apis`, with every other group.
pub fn others(table: &Table, version: DiscoveryVersion) -> Value {
    list(version, groups::names(table).into_iter().map(|name| group(table, name)).collect())
}

fn list(version: DiscoveryVersion, items: Vec<Value>) -> Value {
    let api_version = format!("apidiscovery.k8s.io/{}", version.as_str());
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn group(table: &Table, name: &str) -> Value {
    let versions: Vec<Value> = groups::versions(table, name)
        .into_iter()
        .map(|version| {
            let mut rows: Vec<&Kind> = groups::rows(table, name, version).collect();
            rows.sort_by(|a, b| a.plural.cmp(&b.plural));
            let resources: Vec<Value> = rows.into_iter().map(resource).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "resource": kind.plural, "singularResource": kind.singular, "verbs": groups::verbs(kind.verbs),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        resource["subresources"] = kind.subresources.iter().map(subresource).collect();
    }
    resource
}

fn subresource(one: &Subresource) -> Value {
    json!({
        "subresource": one.name, "verbs": groups::verbs(one.verbs),
        "responseKind": {"group": one.group, "version": one.version, "kind": one.kind},
    })
}

// === impl DiscoveryVersion ===

impl DiscoveryVersion {
    /// As in `apiVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            DiscoveryVersion::V2 => "v2",
            DiscoveryVersion::V2Beta1 => "v2beta1",
        }
    }

    /// The version of that name.
    pub fn parse(text: &str) -> Option<DiscoveryVersion> {
        [DiscoveryVersion::V2, DiscoveryVersion::V2Beta1].into_iter().find(|version| version.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_document_holds_everything() {
        let mut table = Table::default();
        table.insert(Kind::cluster("", "v1", "Node", "nodes").short(&["no"]).with_status());
        table.insert(Kind::namespaced("apps", "v1", "Deployment", "deployments").in_all());
        let core = core(&table, DiscoveryVersion::V2);
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
        let nodes = &core["items"][0]["versions"][0]["resources"][0];
        assert_eq!((&nodes["resource"], &nodes["scope"]), (&json!("nodes"), &json!("Cluster")));
        assert_eq!(nodes["subresources"][0]["subresource"], "status");
        let others = others(&table, DiscoveryVersion::V2Beta1);
        assert_eq!(others["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(others["items"][0]["metadata"]["name"], "apps");
        assert_eq!(others["items"].as_array().map(Vec::len), Some(1));
    }
}
