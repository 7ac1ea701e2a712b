//! Which template a set was made from: equality and hash. Pure.

use std::collections::BTreeMap;

use model::spelling::{Fnv, letters};
use serde_json::{Map, Value};

use crate::observe::Template;

/// The label that keeps the pods of one Deployment's sets apart.
pub const HASH_LABEL: &str = "pod-template-hash";
/// 27^10 is beyond 2^47: two templates of one Deployment practically never share a hash.
const HASH_LENGTH: usize = 10;

/// Whether a set's template is the Deployment's but for the hash label.
///
/// A set that carries the hash of this very template may have more in it than the Deployment: defaults that the API
/// server of today adds and the one that stored the Deployment did not know.
pub fn same(deployment: &Template, set: &Template, hash: &str) -> bool {
    let stripped = without_hash(set);
    let (ours, theirs) = (pruned(&deployment.0), pruned(&stripped.0));
    let made_from_it = || set.labels().get(HASH_LABEL).is_some_and(|label| label == hash);
    ours == theirs || made_from_it() && covers(&theirs, &ours)
}

/// The template with the hash label.
pub fn with_hash(template: &Template, hash: &str) -> Template {
    let mut labelled = template.clone();
    let labels = labels_of(&mut labelled.0);
    labels.insert(HASH_LABEL.to_owned(), hash.into());
    labelled
}

/// A selector (`metav1.LabelSelector`) that also asks for the hash.
pub fn selector_with_hash(selector: &Value, hash: &str) -> Value {
    let mut selector = selector.clone();
    if let Some(fields) = selector.as_object_mut() {
        let labels = fields.entry("matchLabels").or_insert_with(|| Value::Object(Map::new()));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(HASH_LABEL.to_owned(), hash.into());
        }
    }
    selector
}

/// Ten characters that name a template; `collisions` gives it another name when that one is taken.
pub fn hash(template: &Template, collisions: Option<i32>) -> String {
    let mut hash = Fnv::default();
    write(&mut hash, &pruned(&template.0));
    if let Some(count) = collisions {
        hash.write(&count.to_le_bytes());
    }
    letters(hash.0, HASH_LENGTH)
}

fn without_hash(template: &Template) -> Template {
    let mut stripped = template.clone();
    labels_of(&mut stripped.0).remove(HASH_LABEL);
    stripped
}

fn labels_of(template: &mut Value) -> &mut Map<String, Value> {
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

/// Objects that mean the same when they are empty and when they are absent, and that clients written in Go send
/// either way. Not so an empty `emptyDir` or `namespaceSelector`.
const EMPTY_OR_ABSENT: [&str; 8] =
    ["metadata", "labels", "annotations", "resources", "limits", "requests", "nodeSelector", "matchLabels"];

/// Without what says nothing: nulls, empty lists and some empty objects.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, value)| (name.clone(), pruned(value)));
            Value::Object(kept.filter(|(name, value)| !says_nothing(name, value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

fn says_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty() && EMPTY_OR_ABSENT.contains(&name),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Whether `whole` has all that `part` has.
fn covers(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| covers(whole, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| covers(whole, part))
        }
        (whole, part) => whole == part,
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

    fn template(spec: Value) -> Template {
        Template(json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}))
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
        assert_ne!(hash(&plain, None), hash(&other, None));
    }

    #[test]
    fn a_set_is_recognised_by_its_template_whatever_its_hash_label() {
        let web = template(json!({"containers": [{"name": "web", "image": "web:1"}]}));
        let hashed = hash(&web, None);
        assert!(same(&web, &with_hash(&web, "elsewhere"), &hashed));
        let other = template(json!({"containers": [{"name": "web", "image": "web:2"}]}));
        assert!(!same(&web, &with_hash(&other, &hashed), &hashed));
    }

    #[test]
    fn defaults_that_were_added_since_do_not_make_another_template() {
        let web = template(json!({"containers": [{"name": "web", "image": "web:1"}]}));
        let hashed = hash(&web, None);
        let defaulted = template(json!({
            "containers": [{"name": "web", "image": "web:1", "imagePullPolicy": "IfNotPresent"}],
            "restartPolicy": "Always"
        }));
        assert!(same(&web, &with_hash(&defaulted, &hashed), &hashed));
        assert!(
            !same(&web, &with_hash(&defaulted, "other"), &hashed),
            "another set may well differ on purpose"
        );
        let longer = template(json!({"containers": [{"name": "web", "image": "web:1"}, {"name": "side"}]}));
        assert!(!same(&web, &with_hash(&longer, &hashed), &hashed));
    }

    #[test]
    fn the_selector_of_a_set_asks_for_the_hash_too() {
        let selector =
            selector_with_hash(&json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), "x");
        assert_eq!(selector["matchLabels"], json!({HASH_LABEL: "x"}));
    }
}
