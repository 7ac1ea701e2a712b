//! Lists that say that their elements differ.

use std::collections::HashSet;

use model::FieldError;
use serde_json::{Map, Value};

use super::node::{Additional, List, Node};

/// What is there twice.
pub(super) fn value(node: &Node, path: &str, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, path, value, &mut errors);
    errors
}

fn walk(node: &Node, path: &str, value: &Value, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = match (node.property(name), &node.additional) {
                    (Some(inner), _) => inner,
                    (None, Additional::Of(inner)) => inner,
                    _ => continue,
                };
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(inner, &path, value, errors);
            }
        }
        Value::Array(items) => {
            judge(&node.list, node.items.as_deref(), path, items, errors);
            for (at, item) in items.iter().enumerate() {
                if let Some(inner) = &node.items {
                    walk(inner, &format!("{path}[{at}]"), item, errors);
                }
            }
        }
        _ => {}
    }
}

fn judge(list: &List, element: Option<&Node>, path: &str, items: &[Value], errors: &mut Vec<FieldError>) {
    let identity: &dyn Fn(&Value) -> Value = match list {
        List::Atomic => return,
        List::Set => &Value::clone,
        List::Map(keys) => &|item| key(keys, element, item),
    };
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let identity = identity(item);
        if !seen.insert(identity.to_string()) {
            errors.push(FieldError::duplicate(format!("{path}[{at}]"), identity));
        }
    }
}

/// The fields that tell an element from the others; what is left out counts as its default.
fn key(keys: &[Box<str>], element: Option<&Node>, item: &Value) -> Value {
    let default = |name: &str| element?.property(name)?.default.as_deref().cloned();
    let fields = keys.iter().filter_map(|name| {
        let value = item.get(name.as_ref()).cloned().or_else(|| default(name))?;
        Some((name.to_string(), value))
    });
    Value::Object(fields.collect::<Map<String, Value>>())
}
