//! What a request body has to be before anything is done with it: of the right type, and about the right object.

use model::{Object, Reason, Status};
use schema::Schemas;
use serde_json::Value;

use super::Part;
use crate::verbs::{Body, FieldValidation, Target};

/// Decodes a body that came over the bus, as JSON; the HTTP side decodes bodies of any form.
pub fn decode(schemas: &Schemas, api_version: &str, kind: &str, json: &[u8]) -> Result<Body, Status> {
    let (value, duplicate) = schema::json::decode(json).map_err(|why| unusable(api_version, kind, &why))?;
    let object =
        Object::from_value(value).ok_or_else(|| unusable(api_version, kind, "it is not an object"))?;
    typed(schemas, api_version, kind, object, duplicate)
}

/// The body that a decoded object is: fields that its type does not know are taken out and named, values of the
/// wrong type are refused.
pub fn typed(
    schemas: &Schemas,
    api_version: &str,
    kind: &str,
    object: Object,
    duplicate: Vec<String>,
) -> Result<Body, Status> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(ty) = schemas.resource(group, version, kind) else {
        return Ok(Body { object, unknown: Vec::new(), duplicate });
    };
    let mut value = object.into_value();
    let report = schema::fields::check(schemas, ty, &mut value);
    if let Some(wrong) = report.wrong.first() {
        return Err(unusable(api_version, kind, wrong));
    }
    let object = Object::from_value(value).unwrap_or_default();
    Ok(Body { object, unknown: report.unknown, duplicate })
}

/// The body as an object of a custom kind: what its schema does not know is taken out and named.
pub fn fit(target: &Target, part: &Part, body: Body) -> Result<Body, Status> {
    let Some(custom) = target.kind.custom.as_ref().filter(|_| part.shows_whole()) else { return Ok(body) };
    let mut value = body.object.into_value();
    let report = custom.fit(&mut value);
    if let Some(wrong) = report.wrong.first() {
        return Err(unusable(&target.kind.api_version(), &target.kind.kind, wrong));
    }
    let object = Object::from_value(value).unwrap_or_default();
    Ok(Body { object, unknown: report.unknown, duplicate: body.duplicate })
}

fn unusable(api_version: &str, kind: &str, why: &str) -> Status {
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    let message = format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}");
    Status::new(Reason::BadRequest, message)
}

/// What a client is told of fields that the type does not know; a refusal if it asked for that.
pub fn field_warnings(
    target: &Target,
    body: &Body,
    validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    let unknown = body.unknown.iter().map(|path| format!("unknown field {path:?}"));
    let duplicate = body.duplicate.iter().map(|path| format!("duplicate field {path:?}"));
    let found: Vec<String> = unknown.chain(duplicate).collect();
    match validation {
        _ if found.is_empty() => Ok(found),
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(found),
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", found.join(", "));
            Err(unusable(&target.kind.api_version(), &target.kind.kind, &why))
        }
    }
}

/// The body is of the type that the path names; it may leave that unsaid.
pub fn check_type(object: &mut Object, api_version: &str, kind: &str) -> Result<(), Status> {
    match object.str_at(&["apiVersion"]) {
        "" => object.set(&["apiVersion"], api_version),
        same if same == api_version => (),
        other => {
            return Err(Status::bad_request(format!(
                "the API version in the data ({other}) does not match the expected API version ({api_version})"
            )));
        }
    }
    match object.str_at(&["kind"]) {
        "" => object.set(&["kind"], kind),
        same if same == kind => (),
        other => {
            let version = api_version.rsplit('/').next().unwrap_or(api_version);
            return Err(Status::bad_request(format!(
                "{other} in version {version:?} cannot be handled as a {kind}"
            )));
        }
    }
    Ok(())
}

/// The body is about the object that the path names; it may leave that unsaid.
pub fn check_place(object: &mut Object, target: &Target) -> Result<(), Status> {
    if !object.get("metadata").is_some_and(Value::is_object) {
        object.set(&["metadata"], serde_json::Map::new());
    }
    if !target.name.is_empty() {
        match object.name() {
            "" => object.set(&["metadata", "name"], target.name.as_str()),
            same if same == target.name => (),
            other => {
                return Err(Status::bad_request(format!(
                    "the name of the object ({other}) does not match the name on the URL ({})",
                    target.name
                )));
            }
        }
    }
    if !target.kind.namespaced {
        object.take(&["metadata", "namespace"]);
        return Ok(());
    }
    match object.namespace() {
        "" => object.set(&["metadata", "namespace"], target.namespace.as_str()),
        same if same == target.namespace => (),
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}
