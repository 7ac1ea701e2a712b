//! Filling in what a client left out. An empty text and, where upstream's types cannot tell it from an absent
//! one, a zero count as left out; nulls are gone before.

use model::Object;
use serde_json::{Map, Value};

/// The fields of an object.
pub type Fields = Map<String, Value>;

/// The object at `name`, if it is one.
pub fn object<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    fields.get_mut(name)?.as_object_mut()
}

/// The objects in the list at `name`.
pub fn objects<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The object at `name`, made when there is none; `None` when there is something else.
pub fn object_or_new<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    value(fields, name, Map::new());
    object(fields, name)
}

/// The spec, made when there is none.
pub fn spec(object: &mut Object) -> Option<&mut Fields> {
    object_or_new(object, "spec")
}

/// Sets a field that is absent or null.
pub fn value(fields: &mut Fields, name: &str, default: impl Into<Value>) {
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), default.into());
    }
}

/// Sets a text that is absent or empty.
pub fn text(fields: &mut Fields, name: &str, default: &str) {
    if fields.get(name).is_none_or(|value| value.is_null() || value.as_str() == Some("")) {
        fields.insert(name.to_owned(), default.into());
    }
}

/// Sets a number that is absent or zero.
pub fn number(fields: &mut Fields, name: &str, default: i64) {
    if fields.get(name).is_none_or(|value| value.is_null() || value.as_i64() == Some(0)) {
        fields.insert(name.to_owned(), default.into());
    }
}

/// Adds the entries of `from` that `fields` does not have.
pub fn missing(fields: &mut Fields, from: &Fields) {
    for (name, value) in from {
        fields.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// Writes the amounts of a resource list in canonical form, rounded up to thousandths.
pub fn resources(fields: &mut Fields, name: &str) {
    let Some(list) = object(fields, name) else { return };
    for amount in list.values_mut() {
        if let Some(parsed) = crate::field::quantity(amount) {
            *amount = parsed.round_to_milli().to_string().into();
        }
    }
}
