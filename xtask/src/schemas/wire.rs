//! The join: which JSON field a number on the wire stands for.
//!
//! Names are compared without case and punctuation (`r#type`, `server_address_by_client_cid_rs`). A message that
//! has no JSON name of its own is one that Go embeds: JSON shows its fields among those of the type around it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::definitions::Definitions;
use super::prost::{Field, MessagePath, Messages};

/// What the join gives.
pub struct Joined {
    /// For a definition's name, `[[number, JSON name or list of the same form], …]`.
    pub wires: BTreeMap<String, Value>,
    /// What did not match, for a person.
    pub remarks: Vec<String>,
}

/// Roots of module paths and of definition names.
const ROOTS: [(&str, &str); 4] = [
    ("api", "io.k8s.api"),
    ("apimachinery", "io.k8s.apimachinery"),
    ("apiextensions_apiserver", "io.k8s.apiextensions-apiserver"),
    ("kube_aggregator", "io.k8s.kube-aggregator"),
];

/// Joins every definition that has fields with the message of its name.
pub fn join(definitions: &Definitions, messages: &Messages) -> Joined {
    let by_name: BTreeMap<String, &MessagePath> =
        messages.keys().filter_map(|path| Some((definition_name(path)?, path))).collect();
    let mut joined = Joined { wires: BTreeMap::new(), remarks: Vec::new() };
    for (name, definition) in definitions {
        let Some(properties) = definition["properties"].as_object() else { continue };
        let Some(path) = by_name.get(&name.to_lowercase()) else {
            joined.remarks.push(format!("{name}: no message has this name"));
            continue;
        };
        let mut join = Join {
            messages,
            properties: properties.iter().map(|(field, schema)| (plain(field), (field, schema))).collect(),
            found: BTreeSet::new(),
            remarks: Vec::new(),
        };
        let wire = join.message(path);
        let missing = properties.keys().filter(|field| {
            !join.found.contains(field.as_str()) && !["apiVersion", "kind"].contains(&field.as_str())
        });
        let missing: Vec<String> = missing.map(|field| format!("{field} has no number")).collect();
        joined.remarks.extend(join.remarks.iter().chain(&missing).map(|remark| format!("{name}: {remark}")));
        joined.wires.insert(name.clone(), wire);
    }
    joined
}

struct Join<'a> {
    messages: &'a Messages,
    /// Plain name to JSON name and schema.
    properties: BTreeMap<String, (&'a String, &'a Value)>,
    found: BTreeSet<&'a str>,
    remarks: Vec<String>,
}

impl<'a> Join<'a> {
    fn message(&mut self, path: &MessagePath) -> Value {
        let Some(fields) = self.messages.get(path) else { return json!([]) };
        Value::Array(fields.iter().filter_map(|field| self.field(field)).collect())
    }

    fn field(&mut self, field: &Field) -> Option<Value> {
        let Some((name, schema)) = self.properties.get(&plain(&field.name)).copied() else {
            return self.embedded(field);
        };
        if field.message.is_some() && schema["type"] == "array" {
            // A list that is masked as a message, so that an empty one differs from none: in discovery only.
            self.remarks.push(format!("{name} is a masked list"));
            return None;
        }
        self.found.insert(name.as_str());
        Some(json!([field.tag, name]))
    }

    fn embedded(&mut self, field: &Field) -> Option<Value> {
        let inner = field.message.as_ref().map(|path| self.message(path));
        match inner {
            Some(Value::Array(fields)) if !fields.is_empty() => Some(json!([field.tag, fields])),
            _ => {
                self.remarks.push(format!("number {} ({}) has no JSON name", field.tag, field.name));
                None
            }
        }
    }
}

/// The lower-case name of the definition that a message belongs to.
fn definition_name(path: &MessagePath) -> Option<String> {
    let (root, rest) = path.split_first()?;
    let (_, prefix) = ROOTS.iter().find(|(module, _)| module == root)?;
    Some(format!("{prefix}.{}", rest.join(".")).to_lowercase())
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, tag: u32, message: Option<&str>) -> Field {
        let message = message.map(|name| vec!["api".to_owned(), name.to_owned()]);
        Field { name: name.to_owned(), tag, message }
    }

    #[test]
    fn an_embedded_message_gives_its_fields_to_the_type_around_it() {
        let messages = Messages::from([
            (
                vec!["api".into(), "Volume".into()],
                vec![field("name", 1, None), field("source", 2, Some("Source"))],
            ),
            (vec!["api".into(), "Source".into()], vec![field("host_path", 1, None), field("newer", 2, None)]),
        ]);
        let definitions = Definitions::from([(
            "io.k8s.api.Volume".to_owned(),
            json!({"properties": {"name": {}, "hostPath": {}, "other": {}}}),
        )]);
        let joined = join(&definitions, &messages);
        assert_eq!(joined.wires["io.k8s.api.Volume"], json!([[1, "name"], [2, [[1, "hostPath"]]]]));
        assert_eq!(
            joined.remarks,
            [
                "io.k8s.api.Volume: number 2 (newer) has no JSON name",
                "io.k8s.api.Volume: other has no number"
            ]
        );
    }
}
