//! Templates of pods as JSON: when two mean the same, and a hash that names one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::spelling::{Fnv, letters};

/// 27^10 is beyond 2^47: two templates of one owner practically never share a hash.
const HASH_LENGTH: usize = 10;
/// Objects that mean the same when they are empty and when they are absent, and that clients written in Go send
/// either way. Not so an empty `emptyDir` or `namespaceSelector`.
const EMPTY_OR_ABSENT: [&str; 8] =
    ["metadata", "labels", "annotations", "resources", "limits", "requests", "nodeSelector", "matchLabels"];

/// Whether two templates mean the same.
pub fn same(one: &Value, other: &Value) -> bool {
    meaning(one) == meaning(other)
}

/// A template without what says nothing: nulls, empty lists and some empty objects.
pub fn meaning(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, value)| (name.clone(), meaning(value)));
            Value::Object(kept.filter(|(name, value)| !says_nothing(name, value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(meaning).collect()),
        other => other.clone(),
    }
}

/// Ten characters that name a template; `collisions` gives it another name when that one is taken.
pub fn hash(template: &Value, collisions: Option<i32>) -> String {
    let mut hash = Fnv::default();
    write(&mut hash, &meaning(template));
    if let Some(count) = collisions {
        hash.write(&count.to_le_bytes());
    }
    letters(hash.0, HASH_LENGTH)
}

/// `metadata.labels` of a template, made if they are not there.
pub fn labels_mut(template: &mut Value) -> &mut Map<String, Value> {
    let mut at = template;
    for field in ["metadata", "labels"] {
        if !at.get(field).is_some_and(Value::is_object) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at[field] = Value::Object(Map::new());
        }
        at = &mut at[field];
    }
    at.as_object_mut().expect("it was made an object")
}

fn says_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty() && EMPTY_OR_ABSENT.contains(&name),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Takes in fields in the order of their names, whatever order they are kept in.
fn write(hash: &mut Fnv, value: &Value) {
    match value {
        Value::Object(fields) => {
            hash.write(b"{");
            for (name, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                hash.write(name.as_bytes());
                hash.write(b":");
                write(hash, value);
                hash.write(b",");
            }
            hash.write(b"}");
        }
        Value::Array(items) => {
            hash.write(b"[");
            for item in items {
                write(hash, item);
                hash.write(b",");
            }
            hash.write(b"]");
        }
        other => hash.write(other.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(spec: Value) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
    }

    #[test]
    fn the_hash_names_a_template_in_ten_safe_letters_and_never_changes() {
        let web = template(json!({"containers": [{"name": "web", "image": "web:1"}]}));
        assert_eq!(hash(&web, None), "7v89682bf5");
        assert_ne!(hash(&web, None), hash(&web, Some(1)));
        let other = template(json!({"containers": [{"name": "web", "image": "web:2"}]}));
        assert_ne!(hash(&web, None), hash(&other, None));
    }

    #[test]
    fn what_says_nothing_makes_no_difference_and_what_says_little_does() {
        let plain =
            template(json!({"containers": [{"name": "web"}], "volumes": [{"name": "v", "emptyDir": {}}]}));
        let from_go = template(json!({
            "containers": [{"name": "web", "resources": {}, "env": null}],
            "volumes": [{"name": "v", "emptyDir": {}}], "tolerations": []
        }));
        let other = template(json!({"containers": [{"name": "web"}], "volumes": [{"name": "v"}]}));
        assert_eq!(hash(&plain, None), hash(&from_go, None));
        assert!(same(&plain, &from_go) && !same(&plain, &other));
        assert_ne!(hash(&plain, None), hash(&other, None));
    }
}
