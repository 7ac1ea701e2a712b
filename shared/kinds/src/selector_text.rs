//! Selectors as text.

use serde_json::Value;

/// A LabelSelector, a map of labels or a text form as `a=b,c in (d,e)`; empty when it selects nothing in particular.
pub fn selector_text(selector: &Value) -> String {
    let plain = |labels: &Value| -> Vec<String> {
        labels.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={}", text(value))).collect()
    };
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    if let Value::String(text) = selector {
        return text.clone();
    }
    if !structured {
        return plain(selector).join(",");
    }
    let mut parts = selector.get("matchLabels").map(plain).unwrap_or_default();
    parts.extend(selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten().map(expression));
    parts.sort();
    parts.join(",")
}

fn expression(expression: &Value) -> String {
    let key = expression.get("key").map(text).unwrap_or_default();
    let mut values: Vec<String> =
        expression.get("values").and_then(Value::as_array).into_iter().flatten().map(text).collect();
    values.sort();
    let list = values.join(",");
    match expression.get("operator").and_then(Value::as_str) {
        Some("NotIn") => format!("{key} notin ({list})"),
        Some("Exists") => key,
        Some("DoesNotExist") => format!("!{key}"),
        _ => format!("{key} in ({list})"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
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
        assert_eq!(selector_text(&structured), "!old,app=web,zone in (a,b)");
    }
}
