//! Secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use model::{FieldError, Object};
use serde_json::Value;

use crate::config_map::{DATA_MAX, decoded_length, frozen, valid_key};
use crate::field::{Errors, Field};
use crate::{Column, Kind, cell, fill};

const OPAQUE: &str = "Opaque";

/// The row.
pub fn kind() -> Kind {
    Kind::namespaced("", "v1", "Secret", "secrets")
        .with_columns(vec![
            Column::text("Type", "What it is for.", |object| object.str_at(&["type"]).to_owned()),
            Column::count("Data", "How many keys it has.", |object| cell::count(object, &["data"])),
            Column::age(),
        ])
        .with_fields(&[("type", |object| object.str_at(&["type"]).to_owned())])
        .with_hooks(|hooks| {
            hooks.default = default;
            hooks.validate = validate;
            hooks.validate_update = validate_update;
        })
}

/// `stringData` is for writing only: its values go to `data`, over those that are there.
fn default(object: &mut Object) {
    fill::text(object, "type", OPAQUE);
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    let Some(data) = fill::object_or_new(object, "data") else { return };
    for (key, text) in texts {
        data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

fn validate(object: &Object) -> Errors {
    let data = Field::of(object, "data");
    let mut errors = Errors::new();
    let mut size = 0;
    for (key, value) in data.entries() {
        valid_key(key, &value, &mut errors);
        size += decoded_length(&value, &mut errors);
    }
    if size > DATA_MAX {
        errors.push(data.too_long(DATA_MAX));
    }
    validate_type(object, &data, &mut errors);
    errors
}

/// Some types promise keys.
fn validate_type(object: &Object, data: &Field<'_>, errors: &mut Errors) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    match object.str_at(&["type"]) {
        "kubernetes.io/service-account-token"
            if object.str_at(&["metadata", "annotations", ACCOUNT]).is_empty() =>
        {
            errors.push(FieldError::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
        }
        "kubernetes.io/dockercfg" => json_in(&data.key(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => json_in(&data.key(".dockerconfigjson"), errors),
        "kubernetes.io/basic-auth" => {
            let fields = [data.key("username"), data.key("password")];
            if fields.iter().all(|field| !field.is_set()) {
                errors.extend(fields.iter().map(|field| field.required("")));
            }
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").text().is_empty() => {
            errors.push(data.key("ssh-privatekey").required(""));
        }
        "kubernetes.io/tls" => {
            let missing =
                [data.key("tls.crt"), data.key("tls.key")].into_iter().filter(|field| !field.is_set());
            errors.extend(missing.map(|field| field.required("")));
        }
        _ => (),
    }
}

fn json_in(value: &Field<'_>, errors: &mut Errors) {
    if !value.is_set() {
        errors.push(value.required(""));
        return;
    }
    let decoded = BASE64_STANDARD.decode(value.text()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<fill::Fields>(&decoded) {
        errors.push(FieldError::invalid(&value.path, "<secret contents redacted>", error.to_string()));
    }
}

fn validate_update(new: &Object, old: &Object) -> Errors {
    let mut errors = Errors::new();
    Field::of(new, "type").unchanged(&Field::of(old, "type"), &mut errors);
    errors.extend(frozen(new, old, &["data"]));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{defaulted, object, row, said};
    use serde_json::json;

    #[test]
    fn string_data_becomes_data() {
        assert_eq!(
            defaulted(
                &kind(),
                json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"b": "z", "c": ""}})
            ),
            json!({"type": "Opaque", "data": {"a": "eA==", "b": "eg==", "c": ""}})
        );
        assert_eq!(defaulted(&kind(), json!({})), json!({"type": "Opaque"}));
    }

    #[test]
    fn each_type_has_its_keys() {
        let cases = [
            (json!({"type": "Opaque", "data": {"a": "eA=="}}), ""),
            (json!({"type": "x/y"}), ""),
            (
                json!({"type": "Opaque", "data": {"a b": "eA=="}}),
                "data[a b]: Invalid value: \"a b\": a valid",
            ),
            (json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), "data[tls.key]: Required value"),
            (json!({"type": "kubernetes.io/ssh-auth"}), "data[ssh-privatekey]: Required value"),
            (json!({"type": "kubernetes.io/basic-auth", "data": {"username": ""}}), ""),
            (json!({"type": "kubernetes.io/dockerconfigjson"}), "data[.dockerconfigjson]: Required value"),
            (json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), ""),
            (
                json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "eA=="}}),
                "data[.dockercfg]: Invalid value: \"<secret contents redacted>\"",
            ),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                "metadata.annotations[kubernetes.io/service-account.name]: Required value",
            ),
        ];
        for (secret, wrong) in cases {
            let found = said(validate(&object(secret)));
            assert!(found.starts_with(wrong) && found.is_empty() == wrong.is_empty(), "{wrong}: {found}");
        }
        assert_eq!(
            said(validate_update(&object(json!({"type": "a"})), &object(json!({"type": "b"})))),
            "type: Invalid value: \"a\": field is immutable"
        );
    }

    #[test]
    fn columns() {
        let secret = object(json!({"metadata": {"name": "a"}, "type": "Opaque", "data": {"b": ""}}));
        assert_eq!(row(&kind(), &secret), "a | Opaque | 1 | <unknown>");
    }
}
