//! Which template a set was made from. Pure.

use model::template::{labels_mut, meaning};
use serde_json::{Map, Value};

use crate::observe::Template;

/// The label that keeps the pods of one Deployment's sets apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Whether a set's template is the Deployment's but for the hash label.
///
/// A set that carries the hash of this very template may have more in it than the Deployment: defaults that the API
/// server of today adds and the one that stored the Deployment did not know.
pub fn same(deployment: &Template, set: &Template, hash: &str) -> bool {
    let stripped = without_hash(set);
    let (ours, theirs) = (meaning(&deployment.0), meaning(&stripped.0));
    let made_from_it = || set.labels().get(HASH_LABEL).is_some_and(|label| label == hash);
    ours == theirs || made_from_it() && covers(&theirs, &ours)
}

/// The template with the hash label.
pub fn with_hash(template: &Template, hash: &str) -> Template {
    let mut labelled = template.clone();
    let labels = labels_mut(&mut labelled.0);
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

fn without_hash(template: &Template) -> Template {
    let mut stripped = template.clone();
    labels_mut(&mut stripped.0).remove(HASH_LABEL);
    stripped
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::template::hash;
    use serde_json::json;

    fn template(spec: Value) -> Template {
        Template(json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}))
    }

    #[test]
    fn a_set_is_recognised_by_its_template_whatever_its_hash_label() {
        let web = template(json!({"containers": [{"name": "web", "image": "web:1"}]}));
        let hashed = hash(&web.0, None);
        assert!(same(&web, &with_hash(&web, "elsewhere"), &hashed));
        let other = template(json!({"containers": [{"name": "web", "image": "web:2"}]}));
        assert!(!same(&web, &with_hash(&other, &hashed), &hashed));
    }

    #[test]
    fn defaults_that_were_added_since_do_not_make_another_template() {
        let web = template(json!({"containers": [{"name": "web", "image": "web:1"}]}));
        let hashed = hash(&web.0, None);
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
