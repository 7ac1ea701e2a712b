//! ConfigMaps.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use model::{FieldError, Object, names};

use crate::field::{Errors, Field};
use crate::{Column, Kind, cell};

/// What the values of a ConfigMap or Secret may have together: they are held in memory on every node that
/// uses them.
pub const DATA_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

/// The row.
pub fn kind() -> Kind {
    Kind::namespaced("", "v1", "ConfigMap", "configmaps")
        .short(&["cm"])
        .with_columns(vec![
            Column::count("Data", "How many keys it has.", |object| {
                cell::count(object, &["data"]) + cell::count(object, &["binaryData"])
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.validate = validate;
            hooks.validate_update = |new, old| frozen(new, old, &["data", "binaryData"]);
        })
}

fn validate(object: &Object) -> Errors {
    let (data, binary) = (Field::of(object, "data"), Field::of(object, "binaryData"));
    let mut errors = Errors::new();
    let mut size = 0;
    for (key, value) in data.entries() {
        valid_key(key, &value, &mut errors);
        if binary.key(key).is_set() {
            errors.push(FieldError::invalid(&value.path, key, "duplicate of key present in binaryData"));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        valid_key(key, &value, &mut errors);
        size += decoded_length(&value, &mut errors);
    }
    if size > DATA_MAX {
        errors.push(Field::new("[]", data.value).too_long(DATA_MAX));
    }
    errors
}

/// Judges a key of `data`.
pub fn valid_key(key: &str, value: &Field<'_>, errors: &mut Errors) {
    errors.extend(names::config_key(key).into_iter().map(|why| FieldError::invalid(&value.path, key, why)));
}

/// The length of what a value in base64 stands for.
pub fn decoded_length(value: &Field<'_>, errors: &mut Errors) -> usize {
    match BASE64_STANDARD.decode(value.text()) {
        Ok(bytes) => bytes.len(),
        Err(_) => {
            errors.push(FieldError::invalid(&value.path, "<redacted>", "illegal base64 data"));
            0
        }
    }
}

/// What is marked immutable stays so, with its data.
pub fn frozen(new: &Object, old: &Object, data: &[&str]) -> Errors {
    let mut errors = Errors::new();
    if !Field::of(old, "immutable").truth() {
        return errors;
    }
    let immutable = Field::of(new, "immutable");
    if !immutable.truth() {
        errors.push(immutable.forbidden(FROZEN));
    }
    for name in data {
        let (new, old) = (Field::of(new, name), Field::of(old, name));
        if new.value != old.value && !(new.is_empty() && old.is_empty()) {
            errors.push(new.forbidden(FROZEN));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headings, object, row, said};
    use serde_json::json;

    #[test]
    fn keys_are_file_names_and_values_have_a_limit() {
        let cases = [
            (json!({"data": {"a.b": "c"}, "binaryData": {"d": "AAEC"}}), ""),
            (
                json!({"data": {"a/b": "c"}}),
                "data[a/b]: Invalid value: \"a/b\": a valid config key must consist",
            ),
            (json!({"data": {"..": "c"}}), "data[..]: Invalid value: \"..\": must not be '..'"),
            (
                json!({"data": {"a": ""}, "binaryData": {"a": ""}}),
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ),
            (
                json!({"binaryData": {"a": "?"}}),
                "binaryData[a]: Invalid value: \"<redacted>\": illegal base64 data",
            ),
            (
                json!({"data": {"a": "x".repeat(DATA_MAX + 1)}}),
                "[]: Too long: may not be more than 1048576 bytes",
            ),
            (json!({"data": {"a": "x".repeat(DATA_MAX)}}), ""),
        ];
        for (map, wrong) in cases {
            let found = said(validate(&object(map)));
            assert!(found.starts_with(wrong) && found.is_empty() == wrong.is_empty(), "{wrong}: {found}");
        }
    }

    #[test]
    fn an_immutable_map_stays() {
        let old = object(json!({"immutable": true, "data": {"a": "b"}}));
        assert_eq!(said(frozen(&old, &old, &["data"])), "");
        assert_eq!(
            said(frozen(&object(json!({"data": {"a": "c"}})), &old, &["data"])),
            "immutable: Forbidden: field is immutable when `immutable` is set\n\
             data: Forbidden: field is immutable when `immutable` is set"
        );
    }

    #[test]
    fn columns() {
        let map = object(json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-02T11:00:00Z"},
            "data": {"a": "b"}, "binaryData": {"c": "AA=="}}));
        assert_eq!(headings(&kind()), "Name | Data | Age");
        assert_eq!(row(&kind(), &map), "a | 2 | 60m");
    }
}
