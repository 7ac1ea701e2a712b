//! What the tests of this crate share.

use model::{FieldError, Object};
use serde_json::Value;

use crate::{CellContext, Kind};

/// The object in a JSON value.
pub fn object(value: Value) -> Object {
    Object::from_value(value).expect("a JSON object")
}

/// Errors, a line each.
pub fn said(errors: Vec<FieldError>) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The cells of an object at noon on 2 January 2026, as `kubectl get -o wide` shows them.
pub fn row(kind: &Kind, object: &Object) -> String {
    let context = CellContext { now: "2026-01-02T12:00:00Z".parse().expect("a timestamp") };
    let cells: Vec<String> = kind
        .columns
        .iter()
        .map(|column| match (column.cell)(object, &context) {
            Value::String(text) => text,
            other => other.to_string(),
        })
        .collect();
    cells.join(" | ")
}

/// The headings that `kubectl get -o wide` shows; those that `kubectl get` leaves out in parentheses.
pub fn headings(kind: &Kind) -> String {
    let names: Vec<String> = kind
        .columns
        .iter()
        .map(
            |column| {
                if column.priority == 0 { column.name.to_string() } else { format!("({})", column.name) }
            },
        )
        .collect();
    names.join(" | ")
}

/// The object after its kind's defaults.
pub fn defaulted(kind: &Kind, value: Value) -> Value {
    let mut object = object(value);
    (kind.hooks.default)(&mut object);
    let once = object.clone();
    (kind.hooks.default)(&mut object);
    assert_eq!(object, once, "defaults are idempotent");
    object.into_value()
}
