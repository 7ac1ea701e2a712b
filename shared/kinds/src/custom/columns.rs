//! Printer columns as a definition gives them.

use model::Object;
use serde_json::Value;

use super::json_path::JsonPath;
use crate::{CellContext, Column, age};

/// The columns of a version, the name first; the age alone where it names none.
pub(super) fn of(version: &Value) -> Vec<Column> {
    let given = version["additionalPrinterColumns"].as_array().map_or(&[][..], Vec::as_slice);
    let named = given.iter().map(column);
    let mut columns: Vec<Column> = std::iter::once(Column::name()).chain(named).collect();
    if given.is_empty() {
        columns.push(Column { kind: "date", ..Column::age() });
    }
    columns
}

fn column(given: &Value) -> Column {
    let text = |field: &str| given[field].as_str().unwrap_or_default();
    let (kind, path) = (kind(text("type")), text("jsonPath"));
    let description = match text("description") {
        "" => format!("The value at {path}."),
        description => description.to_owned(),
    };
    let found = JsonPath::parse(path);
    let cell = move |object: &Object, context: &CellContext| -> Value {
        let whole = Value::Object(object.0.clone());
        let value = found.as_ref().and_then(|path| path.first(&whole)).filter(|value| !value.is_null());
        value.map_or(Value::Null, |value| cell(kind, value, context))
    };
    Column {
        name: text("name").to_owned().into(),
        kind,
        format: format(text("format")),
        priority: given["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
        description: description.into(),
        cell: std::sync::Arc::new(cell),
    }
}

/// The value as the column's type shows it; nothing where it is of another type.
fn cell(kind: &str, value: &Value, context: &CellContext) -> Value {
    let shown = match (kind, value) {
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).map(Value::from)
        }
        ("number", Value::Number(number)) => Some(Value::Number(number.clone())),
        ("boolean", Value::Bool(flag)) => Some(Value::Bool(*flag)),
        ("date", Value::String(time)) => Some(age::since(time, context.now).into()),
        ("string", Value::String(text)) => Some(text.as_str().into()),
        ("string", value) => Some(value.to_string().into()),
        _ => None,
    };
    shown.unwrap_or(Value::Null)
}

fn kind(text: &str) -> &'static str {
    ["integer", "number", "boolean", "date"].into_iter().find(|kind| *kind == text).unwrap_or("string")
}

fn format(text: &str) -> &'static str {
    super::COLUMN_FORMATS.into_iter().find(|format| *format == text).unwrap_or_default()
}
