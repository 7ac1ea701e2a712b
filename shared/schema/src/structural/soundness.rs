//! Whether an `openAPIV3Schema` may be the schema of a custom kind: structural, with defaults that fit it.
//!
//! ```text
//!   structure  every value has a type outside of allOf, anyOf, oneOf and not; nothing there brings in fields
//!   words      what JSON Schema has and structural schemas do not
//!   lists      list and map types with the keys they need
//!   defaults   are what they would be after fitting and judging
//! ```

use std::collections::HashMap;

use model::FieldError;
use serde_json::{Map, Value, json};

use super::{fit, node::Node, pattern, unique, validate};
use crate::Schemas;

/// What a schema is judged with.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The version has a status of its own, which restricts what the root may say.
    pub status_apart: bool,
}

type Errors = Vec<FieldError>;

static NULL: Value = Value::Null;

/// Words that a junctor's schema may not have: they say what is there, not what has to hold of it.
const STRUCTURE: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];
/// Words of JSON Schema that the API does not have.
const UNSUPPORTED: [&str; 7] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref", "$schema"];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Everything that is wrong with a schema, which is at `path`.
pub fn judge(schemas: &Schemas, schema: &Value, path: &str, context: Context) -> Errors {
    let mut errors = Errors::new();
    root(schema, path, context, &mut errors);
    let mut structure = Errors::new();
    structural(schema, Level::Root, path, &mut structure);
    complete(schema, Some(schema), path, path, &mut structure);
    patterns(schema, path, &mut structure);
    structure.sort_by_key(ToString::to_string);
    let is_structural = structure.is_empty();
    errors.extend(structure);
    words(schema, path, Place { root: true, forbids_defaults: false }, &mut errors);
    if is_structural && errors.is_empty() {
        defaults(schemas, schema, path, &mut errors);
    }
    errors
}

fn root(schema: &Value, path: &str, context: Context, errors: &mut Errors) {
    const ALLOWED: [&str; 7] = [
        "description",
        "type",
        "format",
        "title",
        "properties",
        "required",
        "x-kubernetes-preserve-unknown-fields",
    ];
    const ALLOWED_TOO: [&str; 7] = [
        "x-kubernetes-validations",
        "example",
        "externalDocs",
        "minProperties",
        "maxProperties",
        "exclusiveMaximum",
        "exclusiveMinimum",
    ];
    if is_true(schema, "nullable") {
        errors.push(FieldError::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    let Some(words) = schema.as_object().filter(|_| context.status_apart) else { return };
    let other =
        words.keys().find(|word| !ALLOWED.contains(&word.as_str()) && !ALLOWED_TOO.contains(&word.as_str()));
    if let Some(other) = other {
        let why = format!(
            "only {ALLOWED:?} fields are allowed at the root of the schema if the status subresource is enabled, \
             not {other:?}"
        );
        errors.push(FieldError::invalid(path, json!({}), why));
    }
}

// === Structure ===

fn structural(schema: &Value, level: Level, path: &str, errors: &mut Errors) {
    let ty = text(schema, "type");
    if ty == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        structural(items, Level::Item, &format!("{path}.items"), errors);
    }
    for (name, property) in fields(schema, "properties") {
        structural(property, Level::Field, &format!("{path}.properties[{name}]"), errors);
    }
    additional(schema, level, path, errors);
    extensions(schema, path, errors);
    typed(schema, ty, level, path, errors);
    let is_object = level == Level::Root || is_true(schema, "x-kubernetes-embedded-resource");
    meta_fields(schema, is_object, level, path, errors);
    value_checks(schema, skips_any_of(schema), skips_first_all_of(schema), level, path, errors);
}

fn additional(schema: &Value, level: Level, path: &str, errors: &mut Errors) {
    let Some(additional) = schema.get("additionalProperties") else { return };
    let path = format!("{path}.additionalProperties");
    if level == Level::Root {
        errors.push(FieldError::forbidden(&path, "must not be used at the root"));
    }
    if is_true(schema, "x-kubernetes-embedded-resource") {
        errors
            .push(FieldError::forbidden(&path, "must not be used if x-kubernetes-embedded-resource is set"));
    }
    if additional.is_object() {
        structural(additional, Level::Field, &path, errors);
    }
}

fn extensions(schema: &Value, path: &str, errors: &mut Errors) {
    let int_or_string = is_true(schema, "x-kubernetes-int-or-string");
    for other in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if int_or_string && is_true(schema, other) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(format!("{path}.{other}"), true, why));
        }
    }
}

fn typed(schema: &Value, ty: &str, level: Level, path: &str, errors: &mut Errors) {
    let embedded = is_true(schema, "x-kubernetes-embedded-resource");
    let preserves = is_true(schema, "x-kubernetes-preserve-unknown-fields");
    let at = format!("{path}.type");
    if embedded && ty != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if ty.is_empty() {
            FieldError::required(&at, why)
        } else {
            FieldError::invalid(&at, ty, why)
        });
    } else if ty.is_empty() && !preserves && !is_true(schema, "x-kubernetes-int-or-string") {
        let what = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.push(FieldError::required(&at, format!("must not be empty {what}")));
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        errors.push(FieldError::invalid(&at, ty, "must be object at the root"));
    }
    if embedded && !preserves && fields(schema, "properties").next().is_none() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without \
                   x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{path}.properties"), why));
    }
}

/// What a schema says of `apiVersion`, `kind` and `metadata` of an object, which have their form anyway.
fn meta_fields(schema: &Value, is_object: bool, level: Level, path: &str, errors: &mut Errors) {
    let properties = &schema["properties"];
    let wanted = [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")];
    for (name, ty) in wanted.into_iter().filter(|_| is_object) {
        if let Some(found) =
            properties.get(name).map(|property| text(property, "type")).filter(|found| *found != ty)
        {
            errors.push(FieldError::invalid(
                format!("{path}.properties[{name}].type"),
                found,
                format!("must be {ty}"),
            ));
        }
    }
    let Some(Value::Object(metadata)) = properties.get("metadata").filter(|_| level == Level::Root) else {
        return;
    };
    let restricts = metadata.iter().any(|(word, value)| match word.as_str() {
        "type" | "default" => false,
        "properties" => {
            let names = value.as_object().into_iter().flatten();
            names.into_iter().any(|(name, _)| name != "name" && name != "generateName")
        }
        _ => true,
    });
    if restricts {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(format!("{path}.properties[metadata]"), why));
    }
}

fn is_int_or_string(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

fn skips_any_of(schema: &Value) -> bool {
    is_true(schema, "x-kubernetes-int-or-string") && is_int_or_string(&schema["anyOf"])
}

fn skips_first_all_of(schema: &Value) -> bool {
    is_true(schema, "x-kubernetes-int-or-string") && is_int_or_string(&schema["allOf"][0]["anyOf"])
}

fn value_checks(
    schema: &Value,
    skip_any_of: bool,
    skip_first_all_of: bool,
    level: Level,
    path: &str,
    errors: &mut Errors,
) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        for (at, inner) in list(schema, junctor).enumerate() {
            if junctor == "anyOf" && skip_any_of {
                continue;
            }
            let skips = junctor == "allOf" && at == 0 && skip_first_all_of;
            nested(inner, skips, level, &format!("{path}.{junctor}[{at}]"), errors);
        }
    }
    if let Some(not) = schema.get("not") {
        nested(not, false, level, &format!("{path}.not"), errors);
    }
}

fn nested(schema: &Value, skip_any_of: bool, level: Level, path: &str, errors: &mut Errors) {
    value_checks(schema, skip_any_of, false, level, path, errors);
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        nested(items, false, level, &format!("{path}.items"), errors);
    }
    for (name, property) in fields(schema, "properties") {
        nested(property, false, Level::Field, &format!("{path}.properties[{name}]"), errors);
    }
    for (word, why) in STRUCTURE {
        if says_something(schema.get(word)) {
            errors.push(FieldError::forbidden(format!("{path}.{word}"), why));
        }
    }
    if list(schema, "x-kubernetes-validations").next().is_some() {
        errors.push(FieldError::forbidden(
            format!("{path}.x-kubernetes-validations"),
            "must be empty to be structural",
        ));
    }
    if schema["properties"].get("metadata").is_some() {
        let why = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(format!("{path}.properties[metadata]"), why));
    }
}

fn says_something(word: Option<&Value>) -> bool {
    match word {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

/// Each pattern can be compiled. That takes a while, and large schemas have the same few again and again.
fn patterns(schema: &Value, path: &str, errors: &mut Errors) {
    let mut known: HashMap<&str, Option<String>> = HashMap::new();
    each(schema, path, &mut |schema, path| {
        let pattern = text(schema, "pattern");
        let wrong = known.entry(pattern).or_insert_with(|| pattern::compile(pattern).err());
        if let Some(why) = wrong {
            let why = format!("must be a valid regular expression, but isn't: {why}");
            errors.push(FieldError::invalid(format!("{path}.pattern"), pattern, why));
        }
    });
}

/// Every field and item that a junctor speaks of is there outside of it.
fn complete(checks: &Value, structure: Option<&Value>, path: &str, from: &str, errors: &mut Errors) {
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (at, inner) in list(checks, junctor).enumerate() {
            complete_nested(inner, structure, path, &format!("{from}.{junctor}[{at}]"), errors);
        }
    }
    if let Some(not) = checks.get("not") {
        complete_nested(not, structure, path, &format!("{from}.not"), errors);
    }
}

fn complete_nested(inner: &Value, structure: Option<&Value>, path: &str, from: &str, errors: &mut Errors) {
    let Some(structure) = structure else {
        return errors.push(FieldError::required(path, format!("because it is defined in {from}")));
    };
    complete(inner, Some(structure), path, from, errors);
    if let Some(items) = inner.get("items") {
        let theirs = structure.get("items");
        complete_nested(items, theirs, &format!("{path}.items"), &format!("{from}.items"), errors);
    }
    for (name, property) in fields(inner, "properties") {
        let step = format!("properties[{name}]");
        let theirs = structure["properties"].get(name);
        complete_nested(property, theirs, &format!("{path}.{step}"), &format!("{from}.{step}"), errors);
    }
}

// === Words ===

#[derive(Clone, Copy)]
struct Place {
    root: bool,
    /// In the metadata of an object, where a default would be added to every one.
    forbids_defaults: bool,
}

fn words(schema: &Value, path: &str, place: Place, errors: &mut Errors) {
    for word in UNSUPPORTED.into_iter().filter(|word| *word != "$schema") {
        if schema.get(word).is_some() {
            errors.push(FieldError::forbidden(format!("{path}.{word}"), format!("{word} is not supported")));
        }
    }
    if place.forbids_defaults && schema.get("default").is_some() {
        errors
            .push(FieldError::forbidden(format!("{path}.default"), "must not be set in top-level metadata"));
    }
    let ty = text(schema, "type");
    if ty == "null" {
        errors.push(FieldError::forbidden(
            format!("{path}.type"),
            "type cannot be set to null, use nullable as an alternative",
        ));
    } else if !ty.is_empty() && !TYPES.contains(&ty) {
        errors.push(FieldError::not_supported(format!("{path}.type"), ty, &TYPES));
    }
    if schema["items"].is_array() {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(format!("{path}.items"), why));
    }
    if is_true(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{path}.uniqueItems"), why));
    }
    let has_properties = fields(schema, "properties").next().is_some();
    if has_properties
        && schema.get("additionalProperties").is_some_and(|additional| *additional != json!(true))
    {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(format!("{path}.additionalProperties"), why));
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(false)) {
        let at = format!("{path}.x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(at, false, "must be true or undefined"));
    }
    list_types(schema, ty, path, errors);
    map_types(schema, ty, path, errors);
    rules(schema, path, errors);
    inner_words(schema, path, place, errors);
}

fn inner_words(schema: &Value, path: &str, place: Place, errors: &mut Errors) {
    let inner = Place { root: false, ..place };
    for (name, property) in fields(schema, "properties") {
        let of_metadata = place.root && ["apiVersion", "kind", "metadata"].contains(&name.as_str());
        let inner = Place { forbids_defaults: inner.forbids_defaults || of_metadata, ..inner };
        words(property, &format!("{path}.properties[{name}]"), inner, errors);
    }
    for word in ["items", "additionalProperties", "not"] {
        if let Some(schema) = schema.get(word).filter(|schema| schema.is_object()) {
            words(schema, &format!("{path}.{word}"), inner, errors);
        }
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (at, schema) in list(schema, junctor).enumerate() {
            words(schema, &format!("{path}.{junctor}[{at}]"), inner, errors);
        }
    }
}

fn list_types(schema: &Value, ty: &str, path: &str, errors: &mut Errors) {
    const TYPE: &str = "x-kubernetes-list-type";
    const KEYS: &str = "x-kubernetes-list-map-keys";
    let (kind, items) = (text(schema, TYPE), schema.get("items").unwrap_or(&NULL));
    let keys: Vec<&str> = list(schema, KEYS).filter_map(Value::as_str).collect();
    let at = format!("{path}.{TYPE}");
    if !kind.is_empty() && ty != "array" {
        wrong_type(ty, "must be array if x-kubernetes-list-type is specified", path, errors);
    } else if kind == "set" {
        let inner = text(items, TYPE);
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        match text(items, "type") {
            "array" if !matches!(inner, "" | "atomic") => {
                errors.push(FieldError::invalid(format!("{path}.items.{TYPE}"), inner, why));
            }
            "object" if text(items, "x-kubernetes-map-type") != "atomic" => {
                let found = items.get("x-kubernetes-map-type").cloned().unwrap_or_default();
                errors.push(FieldError::invalid(format!("{path}.items.x-kubernetes-map-type"), found, why));
            }
            _ => {}
        }
    }
    if !matches!(kind, "" | "atomic" | "set" | "map") {
        errors.push(FieldError::not_supported(&at, kind, &["atomic", "set", "map"]));
    }
    if !keys.is_empty() && kind != "map" {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(if kind.is_empty() {
            FieldError::required(&at, why)
        } else {
            FieldError::invalid(&at, kind, why)
        });
    }
    if matches!(kind, "map" | "set") && is_true(items, "nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(FieldError::forbidden(format!("{path}.items.nullable"), why));
    }
    if kind == "map" {
        map_keys(&keys, items, path, errors);
    }
}

fn map_keys(keys: &[&str], items: &Value, path: &str, errors: &mut Errors) {
    let at = format!("{path}.x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.push(FieldError::required(&at, "must not be empty if x-kubernetes-list-type is map"));
    }
    if !items.is_object() {
        return;
    }
    let ty = text(items, "type");
    if ty != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.push(FieldError::invalid(format!("{path}.items.type"), ty, why));
    }
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            errors.push(FieldError::invalid(&at, json!(keys), "must not contain duplicate entries"));
        }
        let Some(property) = items["properties"].get(*key) else {
            errors.push(FieldError::invalid(
                &at,
                json!(keys),
                "entries must all be names of item properties",
            ));
            continue;
        };
        let place = format!("{path}.items.properties[{key}]");
        let ty = text(property, "type");
        if matches!(ty, "array" | "object") {
            let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(format!("{place}.type"), ty, why));
        }
        if is_true(property, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(format!("{place}.nullable"), why));
        }
        let is_required = list(items, "required").any(|name| name == key);
        if !is_required && property.get("default").is_none() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                       property";
            errors.push(FieldError::required(format!("{place}.default"), why));
        }
    }
}

fn map_types(schema: &Value, ty: &str, path: &str, errors: &mut Errors) {
    let kind = text(schema, "x-kubernetes-map-type");
    if !kind.is_empty() && ty != "object" {
        wrong_type(ty, "must be object if x-kubernetes-map-type is specified", path, errors);
    }
    if !matches!(kind, "" | "atomic" | "granular") {
        let at = format!("{path}.x-kubernetes-map-type");
        errors.push(FieldError::not_supported(at, kind, &["atomic", "granular"]));
    }
}

fn wrong_type(ty: &str, why: &str, path: &str, errors: &mut Errors) {
    let at = format!("{path}.type");
    errors.push(if ty.is_empty() { FieldError::required(at, why) } else { FieldError::invalid(at, ty, why) });
}

fn rules(schema: &Value, path: &str, errors: &mut Errors) {
    for (index, rule) in list(schema, "x-kubernetes-validations").enumerate() {
        let at = format!("{path}.x-kubernetes-validations[{index}]");
        let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
        if expression.is_empty() {
            errors.push(FieldError::required(format!("{at}.rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let why = "message must be non-empty if specified";
            errors.push(FieldError::invalid(format!("{at}.message"), message, why));
        } else if message.trim().contains('\n') {
            let why = "message must not contain line breaks";
            errors.push(FieldError::invalid(format!("{at}.message"), message, why));
        } else if expression.contains('\n') && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(format!("{at}.message"), why));
        }
    }
}

// === Defaults ===

/// Each default is of the form that it would have in an object.
fn defaults(schemas: &Schemas, schema: &Value, path: &str, errors: &mut Errors) {
    if let Some(default) = schema.get("default") {
        judge_default(schemas, schema, default, &format!("{path}.default"), errors);
        return;
    }
    for (name, property) in fields(schema, "properties") {
        defaults(schemas, property, &format!("{path}.properties[{name}]"), errors);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
            defaults(schemas, inner, &format!("{path}.{word}"), errors);
        }
    }
}

fn judge_default(schemas: &Schemas, schema: &Value, default: &Value, path: &str, errors: &mut Errors) {
    let node = Node::parse(schema);
    // The default of a value within another value, so that what fits objects can be asked about it.
    let around = Node { properties: Box::new([("value".into(), Node::parse(schema))]), ..Node::default() };
    let mut fitted = json!({ "value": default });
    let report = fit::object(schemas, &around, &mut fitted);
    if !report.unknown.is_empty() {
        errors.push(FieldError::invalid(path, default.clone(), "must not have unknown fields"));
    }
    errors.extend(validate::value(&node, path, default));
    errors.extend(unique::value(&node, path, default));
}

// === Reading ===

fn text<'a>(schema: &'a Value, word: &str) -> &'a str {
    schema.get(word).and_then(Value::as_str).unwrap_or_default()
}

fn is_true(schema: &Value, word: &str) -> bool {
    schema.get(word).and_then(Value::as_bool).unwrap_or(false)
}

fn list<'a>(schema: &'a Value, word: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(word).and_then(Value::as_array).into_iter().flatten()
}

/// Shows `visit` a schema and all that are in it.
fn each<'a>(schema: &'a Value, path: &str, visit: &mut impl FnMut(&'a Value, &str)) {
    visit(schema, path);
    for (name, property) in fields(schema, "properties") {
        each(property, &format!("{path}.properties[{name}]"), visit);
    }
    for word in ["items", "additionalProperties", "not"] {
        if let Some(inner) = schema.get(word).filter(|inner| inner.is_object()) {
            each(inner, &format!("{path}.{word}"), visit);
        }
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (at, inner) in list(schema, junctor).enumerate() {
            each(inner, &format!("{path}.{junctor}[{at}]"), visit);
        }
    }
}

fn fields<'a>(schema: &'a Value, word: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema.get(word).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}
