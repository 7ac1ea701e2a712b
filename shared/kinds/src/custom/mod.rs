//! Custom kinds: rows made at run time from a CustomResourceDefinition.
//!
//! ```text
//!   CustomResourceDefinition ── rows ──> a Kind for each served version ──> the same table, the same path
//!        (names accepted)                  └ Custom: schema, storage version, since when
//! ```
//! A row knows since which revision its schema holds: what was written later was judged by it and goes out as it
//! is stored, what is older is fitted and defaulted again whenever it is read.

mod columns;
pub(crate) mod json_path;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use model::{Class, FieldError, Object, Revision};
use schema::Schemas;
use schema::fields::Report;
use schema::structural::Structural;
use serde_json::Value;

use crate::descriptor::Text;
use crate::scale::Scale;
use crate::{Kind, SelectableField, Storage, Verbs, metadata};
use json_path::JsonPath;

/// Formats that a printer column may have.
pub const COLUMN_FORMATS: [&str; 8] =
    ["int32", "int64", "float", "double", "byte", "date", "date-time", "password"];

/// What a definition says of the objects of its kind in one version.
pub struct Custom {
    /// The definition's name: `memcacheds.cache.example.com`.
    pub definition: String,
    /// Its uid and generation: another pair, another schema.
    pub edition: (String, i64),
    /// No object is made any longer.
    pub terminating: bool,
    schema: Structural,
    list_kind: Text,
    deprecation: Option<String>,
    /// `apiVersion` of this version, and the one that objects are stored in.
    api_version: String,
    stored_as: String,
    /// Objects of other versions could only be read through a webhook.
    converts_by_webhook: bool,
    /// How the stored form of this version begins, up to the revision.
    head: String,
    since: Revision,
    /// The definition as it is stored.
    source: Bytes,
}

/// What a definition makes.
#[derive(Debug, Default)]
pub struct Rows {
    /// A row for each version that is served.
    pub served: Vec<Arc<Kind>>,
    /// The row of the version that objects are stored in, served or not.
    pub stored: Option<Arc<Kind>>,
}

/// The rows that a definition makes; none before its names were accepted. Its schemas hold since `since`.
pub fn rows(definition: &Object, source: &Bytes, since: Revision) -> Rows {
    if !metadata::is_true(definition, "Established") {
        return Rows::default();
    }
    let versions =
        definition.at(&["spec", "versions"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let flag = |version: &Value, name: &str| version[name].as_bool().unwrap_or(false);
    let Some(storage) = versions.iter().find(|version| flag(version, "storage")) else {
        return Rows::default();
    };
    let by_webhook = definition.str_at(&["spec", "conversion", "strategy"]) == "Webhook";
    let row = |version: &Value| row(definition, version, storage, source, since);
    let served = versions.iter().filter(|version| flag(version, "served"));
    // Without the webhook only the form that objects are stored in can be told.
    let served = served.filter(|version| !by_webhook || flag(version, "storage"));
    let served: Vec<Arc<Kind>> = served.map(|version| Arc::new(row(version))).collect();
    let own = served.iter().find(|row| row.version == text(storage, "name")).cloned();
    let stored = own.unwrap_or_else(|| Arc::new(row(storage)));
    Rows { served, stored: Some(stored) }
}

fn row(definition: &Object, version: &Value, storage: &Value, source: &Bytes, since: Revision) -> Kind {
    let accepted = |field: &str| definition.str_at(&["status", "acceptedNames", field]).to_owned();
    let list = |field: &str| -> Vec<Text> {
        let names = definition.at(&["status", "acceptedNames", field]).and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).map(|name| name.to_owned().into()).collect()
    };
    let group = definition.str_at(&["spec", "group"]).to_owned();
    let (name, kind, plural) = (text(version, "name"), accepted("kind"), accepted("plural"));
    let custom = Custom::new(definition, version, storage, source, since);
    let plain = Kind {
        group: group.clone().into(),
        version: name.to_owned().into(),
        kind: kind.into(),
        plural: plural.clone().into(),
        singular: accepted("singular").into(),
        short_names: list("shortNames"),
        categories: list("categories"),
        namespaced: definition.str_at(&["spec", "scope"]) == "Namespaced",
        class: Class::of(&group, &plural),
        storage: Storage::Collection { group: group.into(), resource: plural.into() },
        verbs: Verbs::ALL,
        columns: columns::of(version),
        selectable_fields: selectable(version),
        tracks_generation: true,
        unconditional_update: false,
        custom: Some(Arc::new(custom)),
        ..Kind::namespaced("", "", "", "")
    };
    let parts = &version["subresources"];
    let mut row = plain;
    if parts.get("status").is_some() {
        row = row.with_status().with_hooks(|hooks| hooks.prepare_status = keep_all_but_status);
    }
    match parts.get("scale") {
        Some(scale) => row.with_scale(scale_of(scale)),
        None => row,
    }
}

/// On update of the status: everything else stays, metadata too.
fn keep_all_but_status(new: &mut Object, old: &Object) {
    let status = new.remove("status");
    *new = old.clone();
    match status {
        Some(status) => new.insert("status".to_owned(), status),
        None => new.remove("status"),
    };
}

fn scale_of(scale: &Value) -> Scale {
    let path =
        |field: &str| JsonPath::parse(text(scale, field)).and_then(|path| path.names()).unwrap_or_default();
    Scale {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: path("labelSelectorPath"),
    }
}

fn selectable(version: &Value) -> Vec<SelectableField> {
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    fields
        .filter_map(|field| {
            let names = JsonPath::parse(text(field, "jsonPath"))?.names()?;
            let path = names.join(".").into();
            let value = move |object: &Object| {
                let path: Vec<&str> = names.iter().map(String::as_str).collect();
                match object.at(&path) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(value) => value.to_string(),
                }
            };
            Some(SelectableField { path, value: Arc::new(value) })
        })
        .collect()
}

fn deprecation(version: &Value, what: &str) -> Option<String> {
    let own = || version["deprecationWarning"].as_str().map(str::to_owned);
    let deprecated = version["deprecated"].as_bool().unwrap_or(false);
    deprecated.then(|| own().unwrap_or_else(|| format!("{what} is deprecated")))
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

// === impl Custom ===

impl Custom {
    fn new(definition: &Object, version: &Value, storage: &Value, source: &Bytes, since: Revision) -> Custom {
        let group = definition.str_at(&["spec", "group"]);
        let kind = definition.str_at(&["status", "acceptedNames", "kind"]);
        let list_kind = definition.str_at(&["status", "acceptedNames", "listKind"]);
        let api_version = format!("{group}/{}", text(version, "name"));
        Custom {
            definition: definition.name().to_owned(),
            edition: (definition.uid().to_owned(), definition.generation()),
            terminating: definition.deletion_timestamp().is_some(),
            schema: Structural::parse(&version["schema"]["openAPIV3Schema"]),
            list_kind: list_kind.to_owned().into(),
            deprecation: deprecation(version, &format!("{api_version} {kind}")),
            stored_as: format!("{group}/{}", text(storage, "name")),
            converts_by_webhook: definition.str_at(&["spec", "conversion", "strategy"]) == "Webhook",
            head: format!(
                "{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",\"metadata\":{{\"resourceVersion\":\""
            ),
            api_version,
            since,
            source: source.clone(),
        }
    }

    /// As `MemcachedList`.
    pub fn list_kind(&self) -> &Text {
        &self.list_kind
    }

    /// What every answer to a request in this version warns of.
    pub fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    /// Takes away what the schema does not know; see [`Structural::fit`].
    pub fn fit(&self, object: &mut Value) -> Report {
        self.schema.fit(Schemas::builtin(), object)
    }

    /// Fits, and puts in what was left out.
    pub fn default(&self, object: &mut Object) {
        let mut value = std::mem::take(object).into_value();
        self.fit(&mut value);
        *object = Object::from_value(value).unwrap_or_default();
        self.schema.default(object);
    }

    /// Everything that the schema finds wrong.
    pub fn validate(&self, object: &Object) -> Vec<FieldError> {
        self.schema.validate(object)
    }

    /// Everything that the schema finds wrong with the status.
    pub fn validate_status(&self, object: &Object) -> Vec<FieldError> {
        self.schema.validate_status(object)
    }

    /// Whether stored bytes, with their revision, are what a client of this version sees.
    pub fn serves_as_stored(&self, json: &[u8]) -> bool {
        let Some(rest) = json.strip_prefix(self.head.as_bytes()) else { return false };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let revision = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
        revision.is_some_and(|revision: Revision| revision > self.since)
    }

    /// From the form of this version to the stored one: with no webhook only the version differs.
    pub fn to_storage(&self, object: &mut Object) {
        object.set(&["apiVersion"], self.stored_as.as_str());
    }

    /// From the stored form to the one of this version.
    pub fn from_storage(&self, object: &mut Object) {
        self.default(object);
        object.set(&["apiVersion"], self.api_version.as_str());
    }

    /// Why an object stored as `api_version` cannot be told in this version.
    pub fn unreadable(&self, api_version: &str) -> Option<String> {
        (self.converts_by_webhook && api_version != self.api_version).then(|| {
            let to = &self.api_version;
            format!(
                "conversion webhooks are not called yet: an object in {api_version} cannot be shown in {to}"
            )
        })
    }

    /// Since when the schema holds.
    pub fn since(&self) -> Revision {
        self.since
    }

    /// The schema of this version as its author wrote it.
    pub fn open_api_schema(&self) -> Value {
        let definition: Value = serde_json::from_slice(&self.source).unwrap_or_default();
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let name = self.api_version.rsplit('/').next().unwrap_or_default();
        let own = versions.into_iter().find(|version| text(version, "name") == name);
        own.map(|version| version["schema"]["openAPIV3Schema"].clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("definition", &self.definition).finish_non_exhaustive()
    }
}
