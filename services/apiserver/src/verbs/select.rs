//! Which objects of a collection a list or a watch is about.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use kinds::Kind;
use model::selector::{FieldSelector, LabelSelector};
use model::{Key, Object, Status};
use serde::Deserialize;

use super::Target;
use crate::registry::{served, storage_of};

/// The objects of a collection that the selectors of a request choose.
#[derive(Clone, Debug)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The keys that can match all begin with this.
    prefix: String,
    /// `prefix` is the key of the only object that can match.
    single: bool,
    /// A text that stands in the JSON of every object that matches.
    telling: Option<String>,
}

/// Fields whose value is a text that stands in the object as it is, and that differs from object to object: by them
/// most objects can be passed over without being decoded, as when a node's pods are looked for among all.
const TELLING: [&str; 6] = [
    "spec.nodeName",
    "involvedObject.name",
    "involvedObject.uid",
    "regarding.name",
    "regarding.uid",
    "metadata.name",
];

/// Objects that are looked at before others get their turn on the thread: about a millisecond.
pub const TURN: usize = 500;

/// As much of an object as a label selector looks at.
#[derive(Deserialize)]
struct Labelled<'a> {
    #[serde(borrow)]
    metadata: Labels<'a>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow, default)]
    labels: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
}

// === impl Selection ===

impl Selection {
    /// Reads the selectors of a request; 400 for one that makes no sense for the kind.
    pub fn new(target: &Target, label_selector: &str, field_selector: &str) -> Result<Selection, Status> {
        let kind = &target.kind;
        let labels = LabelSelector::parse(label_selector).map_err(Status::bad_request)?;
        let fields = FieldSelector::parse(field_selector)?;
        let unknown = fields.requirements().iter().find(|one| !kind.is_selectable(&one.field));
        if let Some(one) = unknown {
            return Err(Status::bad_request(format!("field label not supported: {}", one.field)));
        }
        let (group, resource) = storage_of(kind)?;
        let namespace = match target.namespace.as_str() {
            "" if kind.namespaced => fields.exact("metadata.namespace"),
            namespace => Some(namespace),
        };
        let name = match target.name.as_str() {
            "" => fields.exact("metadata.name"),
            name => Some(name),
        };
        // A namespace of the query is text that somebody typed: with a slash in it it names nothing.
        let (prefix, single) = match (namespace, name) {
            (Some(namespace), Some(name)) => {
                (Key::object(group, resource, namespace, name).as_str().to_owned(), true)
            }
            (namespace, _) => (Key::prefix(group, resource, namespace), false),
        };
        // Only such values are certain to be written in JSON as they are.
        let is_plain = |value: &&str| {
            !value.is_empty()
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let telling =
            TELLING.into_iter().find_map(|field| fields.exact(field).filter(is_plain)).map(str::to_owned);
        Ok(Selection { labels, fields, prefix, single, telling })
    }

    /// The prefix of the keys that can match.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether everything under the prefix matches.
    pub fn is_everything(&self) -> bool {
        !self.single && self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether the selectors leave something out; only then is the number of further matches unknown.
    pub fn selects(&self) -> bool {
        !self.labels.is_everything() || !self.fields.is_everything()
    }

    /// Whether an object is chosen.
    pub fn matches(&self, kind: &Kind, key: &Key, json: &Bytes) -> bool {
        if self.single && key.as_str() != self.prefix {
            return false;
        }
        let tells = |text: &String| std::str::from_utf8(json).is_ok_and(|json| json.contains(text.as_str()));
        self.telling.as_ref().is_none_or(tells)
            && self.matches_labels(json)
            && self.matches_fields(kind, json)
    }

    fn matches_labels(&self, json: &Bytes) -> bool {
        if self.labels.is_everything() {
            return true;
        }
        let Ok(object) = serde_json::from_slice::<Labelled<'_>>(json) else { return false };
        let labels = object.metadata.labels.unwrap_or_default();
        self.labels.matches_with(|name| labels.get(name).map(AsRef::as_ref))
    }

    fn matches_fields(&self, kind: &Kind, json: &Bytes) -> bool {
        if self.fields.is_everything() {
            return true;
        }
        let Ok(object) = serde_json::from_slice::<Object>(json) else { return false };
        let object = served(kind, object);
        self.fields.matches_with(|field| kind.field(&object, field))
    }
}
