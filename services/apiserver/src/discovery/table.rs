//! Objects as rows of a table, and objects reduced to their metadata: what `kubectl get` prints.
//!
//! Pure: the row of the kind says what the cells hold, `now` is an argument.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use kinds::{CellContext, Column, Kind};
use model::Object;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::http::negotiate::{Include, MetaVersion};

/// Makes the rows of one answer.
#[derive(Clone, Debug)]
pub struct Rows {
    columns: Vec<Column>,
    context: CellContext,
    version: MetaVersion,
    include: Include,
}

/// An object's JSON with its metadata left as it is written.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

// === impl Rows ===

impl Rows {
    /// Rows of a kind.
    pub fn of(kind: &Kind, now: Timestamp, version: MetaVersion, include: Include) -> Rows {
        Rows { columns: kind.columns.clone(), context: CellContext { now }, version, include }
    }

    /// Version of the group `meta.k8s.io` that the table is in.
    pub fn version(&self) -> MetaVersion {
        self.version
    }

    /// `columnDefinitions`.
    pub fn definitions(&self) -> Value {
        let definition = |column: &Column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        };
        self.columns.iter().map(definition).collect()
    }

    /// One row, as JSON.
    pub fn row(&self, item: &Bytes) -> Bytes {
        let object: Object = serde_json::from_slice(item).unwrap_or_default();
        let cells: Vec<Value> =
            self.columns.iter().map(|column| (column.cell)(&object, &self.context)).collect();
        let mut out = BytesMut::with_capacity(1024);
        out.extend_from_slice(b"{\"cells\":");
        write_json(&mut out, &cells);
        out.extend_from_slice(b",\"object\":");
        match self.include {
            Include::Nothing => out.extend_from_slice(b"null"),
            Include::Metadata => out.extend_from_slice(&metadata_only(item, self.version)),
            Include::Object => out.extend_from_slice(item),
        }
        out.put_u8(b'}');
        out.freeze()
    }

    /// A table of one object. Without headings when the client has seen them, as in a watch.
    pub fn single(&self, item: &Bytes, with_headings: bool) -> Bytes {
        let revision = resource_version(item);
        self.table(&json!({ "resourceVersion": revision }), with_headings, &[self.row(item)])
    }

    /// A table of nothing that says how far a watch has come. Its annotations are kept: they mark the end of the
    /// initial events.
    pub fn bookmark(&self, item: &Bytes, with_headings: bool) -> Bytes {
        let object: Object = serde_json::from_slice(item).unwrap_or_default();
        let metadata = object.get("metadata").cloned().unwrap_or_else(|| json!({}));
        self.table(&metadata, with_headings, &[])
    }

    fn table(&self, metadata: &Value, with_headings: bool, rows: &[Bytes]) -> Bytes {
        let mut out = BytesMut::with_capacity(2048);
        out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"");
        out.extend_from_slice(self.version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        write_json(&mut out, metadata);
        out.extend_from_slice(b",\"columnDefinitions\":");
        write_json(&mut out, &if with_headings { self.definitions() } else { json!([]) });
        out.extend_from_slice(b",\"rows\":[");
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.extend_from_slice(row);
        }
        out.extend_from_slice(b"]}");
        out.freeze()
    }
}

/// The object as a `PartialObjectMetadata`.
pub fn metadata_only(item: &Bytes, version: MetaVersion) -> Bytes {
    let metadata = serde_json::from_slice::<Head<'_>>(item).ok().and_then(|head| head.metadata);
    let metadata = metadata.map_or("{}", RawValue::get);
    let api_version = version.api_version();
    format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata}}}")
        .into()
}

fn resource_version(item: &Bytes) -> String {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(default)]
        metadata: Version,
    }
    #[derive(Default, Deserialize)]
    struct Version {
        #[serde(default, rename = "resourceVersion")]
        resource_version: String,
    }
    serde_json::from_slice::<Versioned>(item)
        .map(|object| object.metadata.resource_version)
        .unwrap_or_default()
}

fn write_json(out: &mut BytesMut, value: &impl serde::Serialize) {
    serde_json::to_writer(out.writer(), value).expect("JSON values always encode into memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(include: Include) -> Rows {
        let kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
        Rows::of(&kind, "2026-01-01T00:01:00Z".parse().unwrap(), MetaVersion::V1, include)
    }

    fn item() -> Bytes {
        Bytes::from_static(
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"7","name":"a","creationTimestamp":"2026-01-01T00:00:00Z"},"data":{"k":"v"}}"#,
        )
    }

    #[test]
    fn a_table_of_one_object() {
        let table: Value = serde_json::from_slice(&rows(Include::Metadata).single(&item(), true)).unwrap();
        assert_eq!(table["kind"], "Table");
        assert_eq!(table["apiVersion"], "meta.k8s.io/v1");
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
        assert_eq!(table["columnDefinitions"][0]["format"], "name");
        assert_eq!(table["rows"][0]["cells"], json!(["a", "60s"]));
        let object = &table["rows"][0]["object"];
        assert_eq!(
            (&object["kind"], &object["metadata"]["name"]),
            (&json!("PartialObjectMetadata"), &json!("a"))
        );
        assert_eq!(object.get("data"), None);
    }

    #[test]
    fn a_row_holds_as_much_of_the_object_as_was_asked() {
        let object = |include| {
            let row: Value = serde_json::from_slice(&rows(include).row(&item())).unwrap();
            row["object"].clone()
        };
        assert_eq!(object(Include::Nothing), Value::Null);
        assert_eq!(object(Include::Object)["data"]["k"], "v");
    }

    #[test]
    fn a_bookmark_is_a_table_without_rows() {
        let bookmark = Bytes::from_static(
            br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}"#,
        );
        let table: Value =
            serde_json::from_slice(&rows(Include::Metadata).bookmark(&bookmark, false)).unwrap();
        assert_eq!((&table["rows"], &table["columnDefinitions"]), (&json!([]), &json!([])));
        assert_eq!(table["metadata"]["resourceVersion"], "9");
        assert_eq!(table["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    }
}
