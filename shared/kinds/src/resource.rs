//! Amounts of resources: which may be asked for, and how much.

use model::{Quantity, names};
use serde_json::Value;

use crate::field::{Errors, Field, NOT_NEGATIVE};

const NOT_WHOLE: &str = "must be an integer";
/// Resources of kubernetes itself that a container may ask for.
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources that a fraction of makes no sense of.
const WHOLE: [&str; 6] =
    ["pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"];

/// Judges the amount of a resource.
pub fn amount(name: &str, amount: &Field<'_>, errors: &mut Errors) {
    let Some(quantity) = parse(amount, errors) else { return };
    if quantity.sign() < 0 {
        errors.push(amount.invalid(NOT_NEGATIVE));
    }
    if is_whole(name) && !quantity.is_whole() {
        errors.push(amount.invalid(NOT_WHOLE));
    }
}

/// The amount, or an error that says what an amount looks like.
pub fn parse(amount: &Field<'_>, errors: &mut Errors) -> Option<Quantity> {
    let text = match amount.value {
        Value::Number(number) => number.to_string(),
        value => value.as_str().unwrap_or_default().to_owned(),
    };
    let parsed = Quantity::parse(&text);
    if let Err(error) = parsed {
        errors.push(amount.invalid(error.to_string()));
    }
    parsed.ok()
}

/// Judges `requests` and `limits` of a container or of a pod as a whole.
pub fn requirements(resources: &Field<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    for list in [&limits, &requests] {
        for (name, one) in list.entries() {
            resource_name(name, &one, errors);
            amount(name, &one, errors);
        }
    }
    for (name, request) in requests.entries() {
        let limit = limits.key(name);
        let (Some(asked), Some(most)) = (request.quantity(), limit.quantity()) else {
            if is_extended(name) || name.starts_with("hugepages-") {
                errors.push(limits.required("Limit must be set for non overcommitable resources"));
            }
            continue;
        };
        if asked != most && (is_extended(name) || name.starts_with("hugepages-")) {
            let detail = format!("must be equal to {name} limit of {most}");
            errors.push(Field::new(&requests.path, request.value).invalid(detail));
        } else if asked > most {
            let detail = format!("must be less than or equal to {name} limit of {most}");
            errors.push(Field::new(&requests.path, request.value).invalid(detail));
        }
    }
}

fn resource_name(name: &str, field: &Field<'_>, errors: &mut Errors) {
    let wrong = names::qualified_name(name);
    errors.extend(wrong.into_iter().map(|why| model::FieldError::invalid(&field.path, name, why)));
    if !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        for why in [
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        ] {
            errors.push(model::FieldError::invalid(&field.path, name, why));
        }
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.split('/').next().is_some_and(|prefix| prefix.ends_with("kubernetes.io"))
}

/// A resource of somebody else, as `example.com/gpu`.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}

fn is_whole(name: &str) -> bool {
    WHOLE.contains(&name) || name.starts_with("count/") || is_extended(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::said;
    use serde_json::json;

    #[test]
    fn requests_and_limits_are_judged() {
        let cases = [
            (json!({}), ""),
            (json!({"requests": {"cpu": "100m"}, "limits": {"cpu": 1, "memory": "1Gi"}}), ""),
            (json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": 1}}), ""),
            (
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            ),
            (
                json!({"limits": {"cpu": "-1"}}),
                "r.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"limits": {"cpu": "lots"}}),
                "r.limits[cpu]: Invalid value: \"lots\": quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                json!({"requests": {"gpu": "1"}}),
                "r.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified\n\
                 r.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            ),
            (
                json!({"requests": {"example.com/gpu": "1500m"}, "limits": {"example.com/gpu": "1500m"}}),
                "r.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer\n\
                 r.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                json!({"requests": {"example.com/gpu": "1"}}),
                "r.limits: Required value: Limit must be set for non overcommitable resources",
            ),
        ];
        for (resources, wrong) in cases {
            let mut errors = Errors::new();
            requirements(&Field::new("r", &resources), &mut errors);
            assert_eq!(said(errors), wrong, "{resources}");
        }
    }
}
