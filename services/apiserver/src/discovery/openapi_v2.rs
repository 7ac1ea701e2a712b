//! OpenAPI v2: the whole API in one document, as JSON and in the protobuf form that kubectl up to 1.27 asks for.
//!
//! Both are written piece by piece, a path or a type at a time; the protobuf form is the JSON of each piece,
//! encoded by [`gnostic`].

use kinds::{Kind, Table};
use schema::Schemas;
use serde_json::{Map, Value, json};

use super::custom_types::{self, Form};
use super::document::Document;
use super::gnostic::{self, Message};
use super::openapi_v3;
use super::operations::{self, Answer, Body, Operation, Parameter, Path, Ty};

/// `/openapi/v2` as JSON. Takes tens of milliseconds.
pub fn json(table: &Table) -> Document {
    let paths = paths(table);
    let mut out = Vec::with_capacity(4 << 20);
    out.extend_from_slice(b"{\"swagger\":\"2.0\",\"info\":");
    openapi_v3::push(&mut out, &info());
    out.extend_from_slice(b",\"paths\":{");
    openapi_v3::push_fields(&mut out, paths.iter().map(|path| (path.path.as_str(), path_item(path))));
    out.extend_from_slice(b"},\"definitions\":{");
    definitions(table, &paths, |name, schema| openapi_v3::push_field(&mut out, name, &schema));
    out.extend_from_slice(b"},\"security\":[{\"BearerToken\":[]}],\"securityDefinitions\":");
    openapi_v3::push(
        &mut out,
        &json!({"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header",
                                "description": "Bearer token authentication"}}),
    );
    out.push(b'}');
    Document::new(&out, &hash(table, "v2"))
}

/// What clients ask for the protobuf form by.
pub const PROTOBUF_ACCEPT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What the answer is labelled: the `@` of the name above is not allowed in a content type, and clients that
/// parse it refuse it.
pub const PROTOBUF_CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2` in protobuf.
pub fn protobuf(table: &Table) -> Document {
    let paths = paths(table);
    let mut encoded_paths = Message::default();
    for path in &paths {
        encoded_paths.message(2, &gnostic::named(&path.path, &gnostic::path_item(&path_item(path))));
    }
    let mut encoded_types = Message::default();
    definitions(table, &paths, |name, schema| {
        encoded_types.message(1, &gnostic::named(name, &gnostic::schema(&schema)));
    });
    let document = gnostic::document(&info(), &encoded_paths, &encoded_types);
    Document::new(&document.into_bytes(), &hash(table, "v2 protobuf"))
}

fn hash(table: &Table, form: &str) -> String {
    openapi_v3::hash(form, table.iter().map(AsRef::as_ref))
}

fn info() -> Value {
    json!({"title": "Sampan", "version": schema::document::VERSION})
}

fn paths(table: &Table) -> Vec<Path> {
    table.iter().map(AsRef::<Kind>::as_ref).flat_map(operations::paths).collect()
}

fn definitions(table: &Table, paths: &[Path], mut visit: impl FnMut(&str, Value)) {
    let schemas = Schemas::builtin();
    let names = schemas.closure(operations::types(paths));
    schema::document::each(|name| names.contains(name), &mut visit);
    let custom = table.iter().flat_map(|kind| custom_types::schemas(kind, Form::V2));
    custom.for_each(|(name, schema)| visit(&name, schema));
}

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
        "type": one.kind, "uniqueItems": true,
    });
    if one.place == "path" {
        value["required"] = json!(true);
    }
    value
}

fn operation(one: &Operation) -> Value {
    let about = &one.about;
    let parameters: Vec<Value> =
        body(&one.body).into_iter().chain(one.parameters.iter().map(parameter)).collect();
    json!({
        "tags": [one.tag], "description": one.description, "operationId": one.id,
        "schemes": ["https"], "consumes": consumes(&one.body), "produces": produces(one),
        "parameters": parameters, "responses": responses(one),
        "x-kubernetes-action": one.action,
        "x-kubernetes-group-version-kind":
            {"group": about.group, "kind": about.kind, "version": about.version},
    })
}

fn body(body: &Body) -> Option<Value> {
    let schema = type_schema(body.ty());
    match body {
        Body::None => None,
        Body::Options(_) => Some(json!({"name": "body", "in": "body", "schema": schema})),
        Body::Object(_) | Body::Patch(..) => {
            Some(json!({"name": "body", "in": "body", "required": true, "schema": schema}))
        }
    }
}

fn consumes(body: &Body) -> &'static [&'static str] {
    match body {
        Body::Patch(_, formats) => formats,
        _ => &["*/*"],
    }
}

fn produces(one: &Operation) -> &'static [&'static str] {
    match (&one.answer, one.action) {
        (Answer::Text, _) => &["*/*"],
        (_, "list") => &["application/json", "application/json;stream=watch"],
        _ => &["application/json"],
    }
}

fn responses(one: &Operation) -> Value {
    let (schema, made) = match &one.answer {
        Answer::Object(ty, made) => (type_schema(ty.as_ref()), *made),
        Answer::Text => (json!({"type": "string"}), false),
    };
    let mut responses = json!({
        "200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"},
    });
    if made {
        responses["201"] = json!({"description": "Created", "schema": schema});
    }
    responses
}

fn type_schema(ty: Option<&Ty>) -> Value {
    match ty.and_then(Ty::name) {
        Some(name) => json!({"$ref": format!("#/definitions/{name}")}),
        None => json!({"type": "object"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_every_path_and_type() {
        let table = Table::builtin();
        let document: Value = serde_json::from_slice(&json(&table).bytes()).expect("the document is JSON");
        assert_eq!(document["swagger"], "2.0");
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
        let names: Vec<&str> = patch["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(names, ["body", "dryRun", "fieldManager", "fieldValidation", "force"]);
        for kind in table.iter() {
            let ty = Schemas::builtin().resource(&kind.group, &kind.version, &kind.kind);
            let name =
                ty.and_then(|ty| Schemas::builtin().definition_name(ty)).expect("every kind has a type");
            assert!(document["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_protobuf_form_holds_the_same() {
        let mut table = Table::default();
        table.insert(Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases"));
        let document = protobuf(&table);
        let fields = gnostic::tests::fields(&document.bytes());
        let tags: Vec<u32> = fields.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [1, 2, 8, 9]);
        let named = |container: &[u8]| -> Vec<String> {
            gnostic::tests::fields(container)
                .into_iter()
                .map(|(_, entry)| gnostic::tests::fields(&entry).remove(0).1)
                .map(|name| String::from_utf8(name).expect("names are text"))
                .collect()
        };
        assert_eq!(
            named(&fields[2].1),
            [
                "/apis/coordination.k8s.io/v1/leases",
                "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
                "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}",
            ]
        );
        assert!(named(&fields[3].1).contains(&"io.k8s.api.coordination.v1.LeaseSpec".to_owned()));
    }
}
