//! Puts defaults where nothing is, and takes away nulls where none may be: "not there" and "null" mean the same to
//! clients that cannot say null.

use serde_json::{Map, Value};

use super::node::{Additional, Node};

pub(super) fn object(node: &Node, fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        let Some(inner) = node.property(name).or_else(|| node.additional.node()) else { return true };
        !(value.is_null() && !inner.nullable && inner.default.is_none())
    });
    for (name, inner) in &node.properties {
        let Some(default) = &inner.default else { continue };
        let missing = fields.get(name.as_ref()).is_none_or(|value| value.is_null() && !inner.nullable);
        if missing {
            fields.insert(name.to_string(), (**default).clone());
        }
    }
    for (name, value) in fields.iter_mut() {
        if let Some(inner) = node.property(name).or_else(|| node.additional.node()) {
            element(inner, value);
        }
    }
}

/// A value that has its place in any case: the default stands for a null that may not be.
fn element(node: &Node, value: &mut Value) {
    if let (Value::Null, false, Some(default)) = (&value, node.nullable, &node.default) {
        *value = (**default).clone();
    }
    match value {
        Value::Object(fields) => object(node, fields),
        Value::Array(items) => {
            if let Some(inner) = &node.items {
                items.iter_mut().for_each(|item| element(inner, item));
            }
        }
        _ => {}
    }
}

// === impl Additional ===

impl Additional {
    fn node(&self) -> Option<&Node> {
        match self {
            Additional::Of(node) => Some(node),
            _ => None,
        }
    }
}
