//! Lists: spliced from the bytes of their items, in chunks that are made as the client takes them.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::body::CHUNK;
use super::negotiate::MetaVersion;
use crate::discovery::table::{self, Rows};
use crate::verbs::ListResult;

/// How the items of a list are shown.
#[derive(Clone, Debug)]
pub enum Items {
    /// As they are, in a list of this kind.
    Whole {
        /// As `PodList`.
        kind: String,
        /// As `v1`.
        api_version: String,
    },
    /// As rows.
    Rows(Box<Rows>),
    /// Their metadata.
    Metadata(MetaVersion),
}

/// The chunks of a list.
#[derive(Debug)]
pub struct ListChunks {
    items: std::vec::IntoIter<Bytes>,
    shown: Items,
    /// Made already and not yet given out: what stands before the items, items too large to be copied.
    ready: VecDeque<Bytes>,
    first: bool,
    ended: bool,
}

/// What stands after the last item.
const TAIL: &[u8] = b"]}\n";

// === impl ListChunks ===

impl ListChunks {
    /// The chunks of `list` as `shown`.
    pub fn new(list: ListResult, shown: Items) -> ListChunks {
        let head = head(&list, &shown);
        ListChunks {
            items: list.items.into_iter(),
            shown,
            ready: VecDeque::from([head]),
            first: true,
            ended: false,
        }
    }

    /// Bytes of all chunks together, where that can be told without making them.
    pub fn exact_len(&self) -> Option<usize> {
        match self.shown {
            Items::Whole { .. } => Some(self.items_len() + self.ready.iter().map(Bytes::len).sum::<usize>()),
            _ => None,
        }
    }

    /// Roughly the bytes of all chunks together.
    pub fn rough_len(&self) -> usize {
        self.items_len()
    }

    fn items_len(&self) -> usize {
        let items = self.items.as_slice();
        let commas = items.len().saturating_sub(1);
        items.iter().map(Bytes::len).sum::<usize>() + commas + TAIL.len()
    }

    fn show(&self, item: Bytes) -> Bytes {
        match &self.shown {
            Items::Whole { .. } => item,
            Items::Rows(rows) => rows.row(&item),
            Items::Metadata(version) => table::metadata_only(&item, *version),
        }
    }
}

impl Iterator for ListChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        if let Some(ready) = self.ready.pop_front() {
            if ready.len() > CHUNK {
                return Some(ready);
            }
            out.extend_from_slice(&ready);
        }
        while out.len() < CHUNK && !self.ended {
            let Some(item) = self.items.next() else {
                out.extend_from_slice(TAIL);
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                out.put_u8(b',');
            }
            let shown = self.show(item);
            if shown.len() > CHUNK {
                self.ready.push_back(shown);
                break;
            }
            out.extend_from_slice(&shown);
        }
        if out.is_empty() { self.ready.pop_front() } else { Some(out.freeze()) }
    }
}

/// Everything before the first item.
fn head(list: &ListResult, shown: &Items) -> Bytes {
    let (kind, api_version, before) = match shown {
        Items::Whole { kind, api_version } => (kind.as_str(), api_version.as_str(), "\"items\":[".to_owned()),
        Items::Rows(rows) => {
            let before = format!("\"columnDefinitions\":{},\"rows\":[", rows.definitions());
            ("Table", rows.version().api_version(), before)
        }
        Items::Metadata(version) => {
            ("PartialObjectMetadataList", version.api_version(), "\"items\":[".to_owned())
        }
    };
    let metadata = list_metadata(list);
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},{before}").into()
}

fn list_metadata(list: &ListResult) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(list.revision.to_string()));
    if !list.continue_token.is_empty() {
        metadata.insert("continue".to_owned(), json!(list.continue_token));
        if let Some(remaining) = list.remaining {
            metadata.insert("remainingItemCount".to_owned(), json!(remaining));
        }
    }
    Value::Object(metadata)
}

#[cfg(test)]
mod tests {
    use kinds::Kind;
    use model::Revision;

    use super::*;
    use crate::http::negotiate::Include;

    fn item(name: &str, padding: usize) -> Bytes {
        let padding = "x".repeat(padding);
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"p":"{padding}"}}}}"#)
            .into()
    }

    fn list(items: Vec<Bytes>) -> ListResult {
        ListResult { items, revision: Revision(42), continue_token: "next".to_owned(), remaining: Some(3) }
    }

    fn whole() -> Items {
        Items::Whole { kind: "ConfigMapList".to_owned(), api_version: "v1".to_owned() }
    }

    fn decoded(chunks: ListChunks) -> Value {
        serde_json::from_slice(&chunks.collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn an_empty_list_is_a_list() {
        let empty = ListResult { revision: Revision(7), ..ListResult::default() };
        let expected = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []});
        assert_eq!(decoded(ListChunks::new(empty, whole())), expected);
    }

    #[test]
    fn small_and_large_items_are_all_there_in_order_and_no_chunk_is_much_too_large() {
        let sizes = [10, CHUNK * 3, 10, CHUNK / 2, CHUNK / 2, CHUNK / 2, CHUNK * 2, CHUNK * 2, 10];
        let items: Vec<Bytes> =
            sizes.iter().enumerate().map(|(n, size)| item(&format!("n{n}"), *size)).collect();
        let chunks = ListChunks::new(list(items.clone()), whole());
        let expected_len = chunks.exact_len().unwrap();
        let parts: Vec<Bytes> = chunks.collect();
        assert!(parts.iter().all(|part| part.len() <= CHUNK * 4));
        let joined = parts.concat();
        assert_eq!(joined.len(), expected_len);
        let value: Value = serde_json::from_slice(&joined).unwrap();
        let names: Vec<&str> = value["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["metadata"]["name"].as_str())
            .collect();
        assert_eq!(names, ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"]);
        assert_eq!(
            value["metadata"],
            json!({"resourceVersion": "42", "continue": "next", "remainingItemCount": 3})
        );
    }

    #[test]
    fn a_table_has_a_row_for_each_item() {
        let kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
        let rows = Rows::of(&kind, jiff::Timestamp::UNIX_EPOCH, MetaVersion::V1, Include::Metadata);
        let table =
            decoded(ListChunks::new(list(vec![item("a", 1), item("b", 1)]), Items::Rows(Box::new(rows))));
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
        assert_eq!(table["rows"][1]["cells"][0], "b");
        assert_eq!(table["metadata"]["continue"], "next");
    }

    #[test]
    fn a_list_of_metadata_has_nothing_else() {
        let items = decoded(ListChunks::new(list(vec![item("a", 1)]), Items::Metadata(MetaVersion::V1)));
        assert_eq!(items["kind"], "PartialObjectMetadataList");
        let expected = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}});
        assert_eq!(items["items"], json!([expected]));
    }
}
