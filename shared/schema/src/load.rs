//! From the committed file to the compact form.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::document;
use crate::names::{Interner, Name};
use crate::types::{Choice, Field, Raw, Scalar, Schemas, Span, Struct, Target, Type, TypeId, Wire};

const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
/// The one optional list that is not the same empty as absent: empty, it asks the server to forget who set what.
const EMPTY_SAYS_SOMETHING: &str = "managedFields";
const REFERENCE: &str = "#/definitions/";

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    name: String,
    schema: Node,
    #[serde(default)]
    wire: Vec<(u32, WireTarget)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireTarget {
    Field(String),
    Embedded(Vec<(u32, WireTarget)>),
}

/// What the compact form keeps of a schema.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "type", default)]
    ty: String,
    #[serde(default)]
    format: String,
    #[serde(rename = "$ref")]
    reference: Option<String>,
    properties: Option<BTreeMap<String, Node>>,
    items: Option<Box<Node>>,
    #[serde(rename = "additionalProperties")]
    values: Option<Box<Node>>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(rename = "x-kubernetes-patch-strategy", default)]
    strategy: String,
    #[serde(rename = "x-kubernetes-patch-merge-key")]
    merge_key: Option<String>,
    #[serde(rename = "x-kubernetes-group-version-kind", default)]
    kinds: Vec<GroupVersionKind>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Default)]
struct Loader {
    names: Interner,
    types: Vec<Type>,
    fields: Vec<Field>,
    wires: Vec<Wire>,
    /// Definitions by name, also those that are only mentioned so far.
    known: HashMap<String, TypeId>,
    definitions: Vec<(Name, TypeId)>,
    kinds: HashMap<Box<str>, TypeId>,
}

/// Reads the whole file.
pub(crate) fn load() -> Schemas {
    let mut loader = Loader::default();
    document::lines(|line| {
        loader.line(serde_json::from_str(line).expect("the committed file is well formed"));
    });
    assert_eq!(loader.definitions.len(), loader.known.len(), "every type that is mentioned is in the file");
    let Loader { names, mut types, mut fields, mut wires, definitions, kinds, .. } = loader;
    types.shrink_to_fit();
    fields.shrink_to_fit();
    wires.shrink_to_fit();
    Schemas { names: names.finish(), types, fields, wires, definitions, kinds }
}

impl Loader {
    fn line(&mut self, line: Line) {
        let ty = self.known(&line.name);
        let name = self.names.intern(&line.name);
        self.definitions.push((name, ty));
        self.types[ty.0 as usize] = match special(&line.name, || self.known(PROPS)) {
            Some(special) => special,
            None => self.definition(name, &line.schema, &line.wire),
        };
        // Types that every group shares list every group; one entry serves them all.
        let shared = line.schema.kinds.len() > 1;
        for kind in line.schema.kinds.iter().filter(|kind| !shared || kind.group.is_empty()) {
            let key = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
            self.kinds.insert(key.into_boxed_str(), ty);
        }
    }

    /// The handle of a definition, which may come later in the file.
    fn known(&mut self, name: &str) -> TypeId {
        if let Some(ty) = self.known.get(name) {
            return *ty;
        }
        let ty = self.push(Type::Raw(Raw::Embedded));
        self.known.insert(name.to_owned(), ty);
        ty
    }

    fn push(&mut self, ty: Type) -> TypeId {
        self.types.push(ty);
        TypeId(index(self.types.len() - 1))
    }

    fn definition(&mut self, name: Name, schema: &Node, wire: &[(u32, WireTarget)]) -> Type {
        if schema.ty != "object" || schema.values.is_some() {
            return self.plain(schema);
        }
        let none = BTreeMap::new();
        let properties = schema.properties.as_ref().unwrap_or(&none);
        // The types of fields are made first, so that the fields of this struct follow each other.
        let fields: Vec<Field> = properties
            .iter()
            .map(|(field, property)| Field {
                name: self.names.intern(field),
                ty: self.field_type(property),
                required: schema.required.contains(field) || field == EMPTY_SAYS_SOMETHING,
                merges: property.strategy.split(',').any(|one| one == "merge"),
                merge_key: property.merge_key.as_deref().map(|key| self.names.intern(key)),
            })
            .collect();
        let start = index(self.fields.len());
        let positions: HashMap<&str, u32> =
            properties.keys().map(String::as_str).zip(start..start + index(fields.len())).collect();
        let span = Span { start, len: index(fields.len()) };
        self.fields.extend(fields);
        Type::Struct(Struct { name, fields: span, wire: self.wire(wire, &positions) })
    }

    fn field_type(&mut self, schema: &Node) -> TypeId {
        if let Some(reference) = &schema.reference {
            return self.known(reference.strip_prefix(REFERENCE).unwrap_or(reference));
        }
        let ty = self.plain(schema);
        self.push(ty)
    }

    /// A type that is no struct.
    fn plain(&mut self, schema: &Node) -> Type {
        match (schema.ty.as_str(), schema.format.as_str(), &schema.items, &schema.values) {
            ("array", _, Some(items), _) => Type::List(self.field_type(items)),
            ("object", _, _, Some(values)) => Type::Map(self.field_type(values)),
            ("string", "byte", ..) => Type::Scalar(Scalar::Bytes),
            ("string", ..) => Type::Scalar(Scalar::Text),
            ("integer", "int32", ..) => Type::Scalar(Scalar::Int32),
            ("integer", ..) => Type::Scalar(Scalar::Int64),
            ("number", ..) => Type::Scalar(Scalar::Double),
            ("boolean", ..) => Type::Scalar(Scalar::Bool),
            _ => Type::Raw(Raw::Embedded),
        }
    }

    fn wire(&mut self, wire: &[(u32, WireTarget)], positions: &HashMap<&str, u32>) -> Span {
        let entries: Vec<Wire> = wire
            .iter()
            .filter_map(|(tag, target)| {
                let target = match target {
                    WireTarget::Field(name) => Target::Field(*positions.get(name.as_str())?),
                    WireTarget::Embedded(inner) => Target::Embedded(self.wire(inner, positions)),
                };
                Some(Wire { tag: *tag, target })
            })
            .collect();
        let span = Span { start: index(self.wires.len()), len: index(entries.len()) };
        self.wires.extend(entries);
        span
    }
}

/// Types whose JSON and protobuf forms are written by hand upstream.
fn special(name: &str, props: impl FnOnce() -> TypeId) -> Option<Type> {
    let (package, short) = name.rsplit_once('.')?;
    if !package.starts_with("io.k8s.api") || package.starts_with("io.k8s.api.") {
        return None;
    }
    Some(match short {
        "Time" => Type::Scalar(Scalar::Time),
        "MicroTime" => Type::Scalar(Scalar::MicroTime),
        "Quantity" => Type::Scalar(Scalar::Quantity),
        "IntOrString" => Type::Scalar(Scalar::IntOrString),
        "JSON" => Type::Raw(Raw::Json),
        "RawExtension" | "FieldsV1" | "Patch" => Type::Raw(Raw::Embedded),
        "JSONSchemaPropsOrArray" => Type::Choice(Choice::List(props())),
        "JSONSchemaPropsOrBool" => Type::Choice(Choice::Bool(props())),
        "JSONSchemaPropsOrStringArray" => Type::Choice(Choice::Strings(props())),
        _ => return None,
    })
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("the types of one API fit into 32 bits")
}
