//! OpenAPI v3: an index, and a document for each group version with its paths and the types in them.
//!
//! ```text
//!   /openapi/v3                ── index: each path with the hash of its document
//!   /openapi/v3/apis/apps/v1   ── paths (from the rows) + components (from crate `schema`, with descriptions)
//! ```
//! A document is text of up to 2 MB, so it is written piece by piece and types are read from the packed file one
//! at a time; what keeps it is [`super::documents`].

use std::sync::LazyLock;

use kinds::{Kind, Table};
use schema::{Schemas, TypeId};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::custom_types::{self, Form};
use super::document::Document;
use super::groups;
use super::operations::{self, Answer, Body, Operation, Parameter, Path, Ty};

/// `/openapi/v3`: where each group version's document is.
pub fn index(table: &Table) -> Document {
    let mut paths = Map::new();
    for (group, version) in table.group_versions() {
        let path = match group {
            "" => format!("api/{version}"),
            group => format!("apis/{group}/{version}"),
        };
        let hash = hash(&path, groups::rows(table, group, version));
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    let text = json!({ "paths": paths }).to_string();
    Document::new(text.as_bytes(), &hex(&Sha256::digest(&text)))
}

/// `/openapi/v3/{path}`, where `path` is as `api/v1` or `apis/apps/v1`. Takes tens of milliseconds.
pub fn group_version(table: &Table, path: &str) -> Option<Document> {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return None,
    };
    let rows: Vec<&Kind> = groups::rows(table, group, version).collect();
    if rows.is_empty() {
        return None;
    }
    let paths: Vec<Path> = rows.iter().copied().flat_map(operations::paths).collect();
    let mut out = Vec::with_capacity(1 << 20);
    out.extend_from_slice(b"{\"openapi\":\"3.0.0\",\"info\":");
    push(&mut out, &json!({"title": "Sampan", "version": schema::document::VERSION}));
    out.extend_from_slice(b",\"paths\":{");
    push_fields(&mut out, paths.iter().map(|path| (path.path.as_str(), path_item(path))));
    out.extend_from_slice(b"},\"components\":{\"securitySchemes\":");
    push(
        &mut out,
        &json!({"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header",
                                "description": "Bearer token authentication"}}),
    );
    out.extend_from_slice(b",\"schemas\":{");
    components(&mut out, &operations::types(&paths));
    let custom = rows.iter().flat_map(|kind| custom_types::schemas(kind, Form::V3));
    custom.for_each(|(name, schema)| push_field(&mut out, &name, &schema));
    out.extend_from_slice(b"}}}");
    Some(Document::new(&out, &hash(path, rows.into_iter())))
}

/// The hash of a document, without making it: of everything that it is made from.
pub(super) fn hash<'a>(path: &str, rows: impl Iterator<Item = &'a Kind>) -> String {
    /// The text of what turns rows into documents, so that a change of it changes the hash.
    const MAKERS: [&str; 4] = [
        include_str!("openapi_v3.rs"),
        include_str!("openapi_v2.rs"),
        include_str!("operations.rs"),
        include_str!("custom_types.rs"),
    ];
    static FIXED: LazyLock<Sha256> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        MAKERS.iter().for_each(|text| hash.update(text));
        hash.update(schema::document::checksum());
        hash
    });
    let mut hash = FIXED.clone();
    hash.update(path);
    for kind in rows {
        let (group, version, name, plural) = (&kind.group, &kind.version, &kind.kind, &kind.plural);
        hash.update(format!("\n{group}/{version}/{name} {plural} {} {:?}", kind.namespaced, kind.verbs));
        if let Some(custom) = &kind.custom {
            hash.update(format!(" {:?}", custom.edition));
        }
        for sub in &kind.subresources {
            let (name, group, version, kind) = (&sub.name, &sub.group, &sub.version, &sub.kind);
            hash.update(format!("\n/{name} {group}/{version}/{kind} {:?}", sub.verbs));
        }
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

pub(super) fn push(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a JSON value always encodes into memory");
}

/// Writes `"name":value` for each, with commas between them.
pub(super) fn push_fields<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, Value)>) {
    for (name, value) in fields {
        push_field(out, name, &value);
    }
}

/// Writes `"name":value`, after a comma unless it is the first of its object.
pub(super) fn push_field(out: &mut Vec<u8>, name: &str, value: &Value) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    push(out, &Value::from(name));
    out.push(b':');
    push(out, value);
}

// === Paths ===

fn path_item(path: &Path) -> Value {
    let mut item = Map::new();
    for one in &path.operations {
        item.insert(one.method.to_owned(), operation(one));
    }
    item.insert("parameters".to_owned(), path.parameters.iter().map(parameter).collect());
    Value::Object(item)
}

fn parameter(one: &Parameter) -> Value {
    let mut value = json!({
        "name": one.name, "in": one.place, "description": one.description,
        "schema": {"type": one.kind, "uniqueItems": true},
    });
    if one.place == "path" {
        value["required"] = json!(true);
    }
    value
}

fn operation(one: &Operation) -> Value {
    let about = &one.about;
    let mut value = json!({
        "tags": [one.tag], "description": one.description, "operationId": one.id,
        "responses": responses(one),
        "x-kubernetes-action": one.action,
        "x-kubernetes-group-version-kind":
            {"group": about.group, "kind": about.kind, "version": about.version},
    });
    if !one.parameters.is_empty() {
        value["parameters"] = one.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = request_body(&one.body) {
        value["requestBody"] = body;
    }
    value
}

fn request_body(body: &Body) -> Option<Value> {
    let schema = type_schema(body.ty());
    match body {
        Body::None => None,
        Body::Options(_) => Some(json!({"content": {"*/*": {"schema": schema}}})),
        Body::Object(_) => Some(json!({"content": {"*/*": {"schema": schema}}, "required": true})),
        Body::Patch(_, formats) => {
            let content: Map<String, Value> =
                formats.iter().map(|format| ((*format).to_owned(), json!({"schema": schema}))).collect();
            Some(json!({"content": content, "required": true}))
        }
    }
}

fn responses(one: &Operation) -> Value {
    let (schema, made) = match &one.answer {
        Answer::Object(ty, made) => (type_schema(ty.as_ref()), *made),
        Answer::Text => (json!({"type": "string"}), false),
    };
    let format = if one.answer == Answer::Text { "*/*" } else { "application/json" };
    let mut content = json!({ format: {"schema": schema} });
    if one.action == "list" {
        content["application/json;stream=watch"] = json!({"schema": schema});
    }
    let mut responses = json!({
        "200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"},
    });
    if made {
        responses["201"] = json!({"description": "Created", "content": content});
    }
    responses
}

fn type_schema(ty: Option<&Ty>) -> Value {
    match ty.and_then(Ty::name) {
        Some(name) => json!({"$ref": format!("{COMPONENTS}{name}")}),
        None => json!({"type": "object"}),
    }
}

// === Components ===

const COMPONENTS: &str = "#/components/schemas/";
const DEFINITIONS: &str = "#/definitions/";

/// Types that are no objects: a default of `{}` does not fit them.
const VALUES: [&str; 9] = [
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
];

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// A definition or an optional property.
    Alone,
    /// A required property, or an element of a list or map: it has a value, if only an empty one.
    Present,
}

fn components(out: &mut Vec<u8>, types: &[TypeId]) {
    let schemas = Schemas::builtin();
    let names = schemas.closure(types.iter().copied());
    schema::document::each(
        |name| names.contains(name),
        |name, schema| {
            let schema = match name {
                "io.k8s.apimachinery.pkg.api.resource.Quantity" => one_of(schema, &["string", "number"]),
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => one_of(schema, &["integer", "string"]),
                _ => convert(schema, Role::Alone),
            };
            push_field(out, name, &schema);
        },
    );
}

fn one_of(mut schema: Value, types: &[&str]) -> Value {
    if let Value::Object(words) = &mut schema {
        words.remove("type");
        let types: Value = types.iter().map(|one| json!({"type": one})).collect();
        words.insert("oneOf".to_owned(), types);
    }
    schema
}

/// From the form of version 2 to that of version 3.
fn convert(schema: Value, role: Role) -> Value {
    let Value::Object(mut words) = schema else { return schema };
    if let Some(reference) = words.remove("$ref") {
        return reference_to(reference.as_str().unwrap_or_default(), words, role);
    }
    let required = words.get("required").cloned().unwrap_or_default();
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(Value::Object(properties)) = words.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            let shown =
                ["metadata", "spec", "status"].contains(&name.as_str()) && property.get("$ref").is_some();
            let present = shown || required.contains(&name.as_str());
            *property = convert(property.take(), if present { Role::Present } else { Role::Alone });
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(element) = words.get_mut(inner) {
            *element = convert(element.take(), Role::Present);
        }
    }
    if role == Role::Present
        && !words.contains_key("default")
        && let Some(zero) = zero(&words)
    {
        words.insert("default".to_owned(), zero);
    }
    Value::Object(words)
}

/// Version 3 ignores what stands beside a reference, so it is wrapped.
fn reference_to(reference: &str, mut words: Map<String, Value>, role: Role) -> Value {
    let name = reference.strip_prefix(DEFINITIONS).unwrap_or(reference);
    words.insert("allOf".to_owned(), json!([{"$ref": format!("{COMPONENTS}{name}")}]));
    if role == Role::Present && !VALUES.contains(&name) {
        words.insert("default".to_owned(), json!({}));
    }
    Value::Object(words)
}

fn zero(words: &Map<String, Value>) -> Option<Value> {
    match words.get("type")?.as_str()? {
        "string" if words.get("format").is_none() => Some(json!("")),
        "integer" | "number" => Some(json!(0)),
        "boolean" => Some(json!(false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parsed(table: &Table, path: &str) -> Value {
        let document = group_version(table, path).expect("the group version is there");
        serde_json::from_slice(&document.bytes()).expect("the document is JSON")
    }

    /// Every reference in a value.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_built_in_kind_has_a_type() {
        let schemas = Schemas::builtin();
        let table = Table::builtin();
        let missing: Vec<String> = table
            .iter()
            .filter(|kind| schemas.resource(&kind.group, &kind.version, &kind.kind).is_none())
            .map(|kind| format!("{} {}", kind.api_version(), kind.kind))
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn the_index_names_the_hash_of_each_document() {
        let table = Table::builtin();
        let index = index(&table);
        let value: Value = serde_json::from_slice(&index.bytes()).expect("the index is JSON");
        let paths = value["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), table.group_versions().len());
        for (path, entry) in paths {
            let document = group_version(&table, path).expect("what the index names is there");
            let hash = document.etag.trim_matches('"');
            assert_eq!(entry["serverRelativeURL"], format!("/openapi/v3/{path}?hash={hash}"));
        }
        assert!(paths.contains_key("api/v1"));
        assert!(group_version(&table, "apis/nothing/v1").is_none());
    }

    #[test]
    fn every_reference_of_every_document_leads_somewhere() {
        let table = Table::builtin();
        for (group, version) in table.group_versions() {
            let path =
                if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let document = parsed(&table, &path);
            let mut found = BTreeSet::new();
            references(&document, &mut found);
            for target in found {
                let pointer = target.strip_prefix('#').expect("references are within the document");
                assert!(document.pointer(pointer).is_some(), "{path}: {target}");
            }
        }
    }

    #[test]
    fn a_patch_says_that_fields_are_validated() {
        let document = parsed(&Table::builtin(), "api/v1");
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "", "kind": "Pod", "version": "v1"})
        );
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    }

    #[test]
    fn types_have_the_form_of_version_three() {
        let document = parsed(&Table::builtin(), "api/v1");
        let schemas = &document["components"]["schemas"];
        let pod = &schemas["io.k8s.api.core.v1.Pod"];
        assert_eq!(
            pod["x-kubernetes-group-version-kind"],
            json!([{"group": "", "kind": "Pod", "version": "v1"}])
        );
        assert_eq!(
            pod["properties"]["spec"]["allOf"],
            json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
        );
        assert_eq!(pod["properties"]["spec"]["default"], json!({}));
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(
            containers["items"],
            json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}})
        );
        let port = &schemas["io.k8s.api.core.v1.ContainerPort"]["properties"];
        assert_eq!(
            (&port["protocol"]["default"], &port["containerPort"]["default"]),
            (&json!("TCP"), &json!(0))
        );
        let quantity = &schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!(quantity["oneOf"], json!([{"type": "string"}, {"type": "number"}]));
    }

    #[test]
    fn the_hash_changes_with_the_rows() {
        let mut table = Table::default();
        table.insert(Kind::namespaced("apps", "v1", "Deployment", "deployments"));
        let before = group_version(&table, "apis/apps/v1").expect("it is there").etag;
        table.insert(Kind::namespaced("apps", "v1", "Deployment", "deployments").with_status());
        let after = group_version(&table, "apis/apps/v1").expect("it is there").etag;
        assert_ne!(before, after);
    }
}
