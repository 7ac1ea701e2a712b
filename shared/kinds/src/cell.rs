//! Cells that several kinds share, and the words that stand for nothing.

use model::{LabelSelector, Object};
use serde_json::{Map, Value};

use crate::Column;

/// What stands where there is nothing.
pub const NONE: &str = "<none>";
/// What stands where nothing was said.
pub const UNSET: &str = "<unset>";

/// The text, or what stands for none.
pub fn or<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}

/// The whole number at a path, 0 when there is none.
pub fn number(object: &Object, path: &[&str]) -> i64 {
    object.at(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The elements of the list at a path.
pub fn list<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many elements a list or a map has.
pub fn count(object: &Object, path: &[&str]) -> i64 {
    match object.at(path) {
        Some(Value::Array(items)) => items.len() as i64,
        Some(Value::Object(entries)) => entries.len() as i64,
        _ => 0,
    }
}

/// The texts of a field of each element, with commas.
pub fn joined(items: &[Value], field: &str) -> String {
    let texts: Vec<&str> = items.iter().map(|item| item[field].as_str().unwrap_or_default()).collect();
    texts.join(",")
}

/// The first three, and how many more there are.
pub fn first_three(items: &[String], none: &str) -> String {
    match items.len() {
        0 => none.to_owned(),
        1..=3 => items.join(","),
        count => format!("{} + {} more...", items[..3].join(","), count - 3),
    }
}

/// A map of labels as `a=b,c=d`.
pub fn labels_text(labels: Option<&Map<String, Value>>) -> String {
    let text = labels.map(|labels| LabelSelector::from_map(labels).to_string()).unwrap_or_default();
    or(&text, NONE).to_owned()
}

/// A LabelSelector, a map of labels or a text form; empty when it selects nothing in particular.
pub fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(labels) if !structured => LabelSelector::from_map(labels).to_string(),
        selector => LabelSelector::from_json(selector)
            .map_or_else(|why| format!("<error: {why}>"), |one| one.to_string()),
    }
}

/// The containers of the template in this spec: their names, their images, and the selector.
pub fn template_columns(spec: &'static [&'static str], with_selector: bool) -> Vec<Column> {
    let containers = move |object: &Object, field: &str| {
        let path: Vec<&str> = spec.iter().chain(&["template", "spec", "containers"]).copied().collect();
        joined(list(object, &path), field)
    };
    let mut columns = vec![
        Column::new("Containers", "string", "Names of the containers in the template.", move |object, _| {
            containers(object, "name").into()
        }),
        Column::new("Images", "string", "Images of the containers in the template.", move |object, _| {
            containers(object, "image").into()
        }),
    ];
    if with_selector {
        columns.push(Column::new(
            "Selector",
            "string",
            "Labels of the pods that belong to it.",
            move |object, _| {
                let path: Vec<&str> = spec.iter().chain(&["selector"]).copied().collect();
                let text = object.at(&path).map(selector_text).unwrap_or_default();
                or(&text, NONE).into()
            },
        ));
    }
    columns.into_iter().map(Column::wide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_read_as_command_lines_take_them() {
        assert_eq!(selector_text(&json!({"app": "web", "tier": "front"})), "app=web,tier=front");
        let structured = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"}
            ]
        });
        assert_eq!(selector_text(&structured), "app=web,!old,zone in (a,b)");
        assert_eq!(selector_text(&json!("a=b")), "a=b");
    }

    #[test]
    fn long_lists_are_cut() {
        let items: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(first_three(&items, NONE), "a,b,c + 2 more...");
        assert_eq!(first_three(&items[..3], NONE), "a,b,c");
        assert_eq!(first_three(&[], NONE), "<none>");
    }
}
