//! The one in-memory form of every kind: a JSON object with Kubernetes metadata.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Revision;

/// A JSON object with `apiVersion`, `kind` and `metadata`. Dereferences to its map of fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

// === impl Object ===

impl Object {
    /// The object in `value`, if it is a JSON object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Object(map)),
            _ => None,
        }
    }

    /// The object as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The string at a path of field names, or `""`.
    pub fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    /// The value at a path of field names.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, field| value.get(field))
    }

    /// Sets the value at a path of field names, making objects on the way.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut map = &mut self.0;
        for field in parents {
            let slot = map.entry(*field).or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(inner) = slot else { return };
            map = inner;
        }
        map.insert((*last).to_owned(), value.into());
    }

    /// Removes and returns the value at a path of field names.
    pub fn take(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for field in parents {
            map = map.get_mut(*field)?.as_object_mut()?;
        }
        map.remove(*last)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.str_at(&["metadata", "name"])
    }

    /// `metadata.namespace`, empty for cluster scope.
    pub fn namespace(&self) -> &str {
        self.str_at(&["metadata", "namespace"])
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.str_at(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion` as written, empty when absent.
    pub fn resource_version(&self) -> &str {
        self.str_at(&["metadata", "resourceVersion"])
    }

    /// `metadata.generation`, 0 when absent.
    pub fn generation(&self) -> i64 {
        self.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0)
    }

    /// `metadata.deletionTimestamp`, if the object is being deleted.
    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.at(&["metadata", "deletionTimestamp"]).and_then(Value::as_str)
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.at(&["metadata", "finalizers"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// One of `metadata.labels`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.at(&["metadata", "labels", name]).and_then(Value::as_str)
    }

    /// The canonical stored form: JSON with `apiVersion`, `kind` and `metadata` first, the rest sorted, and
    /// without `metadata.resourceVersion`, which the log gives and [`with_resource_version`] puts in.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(1024);
        let mut separator = b'{';
        let head = HEAD_FIELDS.iter().filter_map(|name| self.0.get_key_value(*name));
        let rest = self.0.iter().filter(|(name, _)| !HEAD_FIELDS.contains(&name.as_str()));
        for (name, value) in head.chain(rest) {
            out.push(separator);
            separator = b',';
            write_json(&mut out, name);
            out.push(b':');
            match value {
                Value::Object(metadata) if name == "metadata" => write_json(&mut out, &Unversioned(metadata)),
                value => write_json(&mut out, value),
            }
        }
        if out.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
        out.into()
    }
}

/// Metadata without its `resourceVersion`.
struct Unversioned<'a>(&'a Map<String, Value>);

impl Serialize for Unversioned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(name, _)| *name != "resourceVersion"))
    }
}

const HEAD_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a string or JSON value always encodes into memory");
}

impl Deref for Object {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Object {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

const METADATA: &[u8] = b"\"metadata\":{";
const FIELD: &[u8] = b"\"resourceVersion\":\"";

/// Puts `revision` as the first field of `metadata` into an object's canonical JSON, replacing one that is there.
///
/// In the canonical form only `apiVersion` and `kind` stand before `metadata`, and a string cannot contain
/// an unescaped quote, so the first `"metadata":{` is the object's own. Bytes without metadata come back as they are.
pub fn with_resource_version(json: &[u8], revision: Revision) -> Bytes {
    let Some(start) = json.windows(METADATA.len()).position(|window| window == METADATA) else {
        return Bytes::copy_from_slice(json);
    };
    let head = start + METADATA.len();
    let mut tail = &json[head..];
    if let Some(rest) = tail.strip_prefix(FIELD) {
        let end = rest.iter().position(|b| *b == b'"').map_or(rest.len(), |at| at + 1);
        tail = &rest[end..];
        tail = tail.strip_prefix(b",").unwrap_or(tail);
    }
    let digits = revision.to_string();
    let mut out = Vec::with_capacity(json.len() + FIELD.len() + digits.len() + 2);
    out.extend_from_slice(&json[..head]);
    out.extend_from_slice(FIELD);
    out.extend_from_slice(digits.as_bytes());
    out.push(b'"');
    if !tail.starts_with(b"}") {
        out.push(b',');
    }
    out.extend_from_slice(tail);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_sorts_before_metadata_is_encoded_after_it() {
        let json = serde_json::json!({
            "data": {"metadata": {"x": "y"}}, "kind": "K", "metadata": {"resourceVersion": "3", "name": "a"}
        });
        let object = Object::from_value(json).expect("an object");
        assert_eq!(
            &object.encode()[..],
            br#"{"kind":"K","metadata":{"name":"a"},"data":{"metadata":{"x":"y"}}}"#
        );
    }

    #[test]
    fn the_resource_version_is_put_in_and_replaced() {
        let stored = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;
        let once = with_resource_version(stored, Revision(7));
        assert_eq!(
            &once[..],
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"a"}}"#
        );
        let twice = with_resource_version(&once, Revision(1024));
        assert_eq!(
            &twice[..],
            br#"{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"1024","name":"a"}}"#
        );
        let empty = with_resource_version(br#"{"metadata":{}}"#, Revision(1));
        assert_eq!(&empty[..], br#"{"metadata":{"resourceVersion":"1"}}"#);
    }
}
