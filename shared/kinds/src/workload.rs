//! What the kinds that run pods from a template share: how many, which, and made from what.

use model::{LabelSelector, Object, names};
use serde_json::{Map, Value};

use crate::field::{Errors, Field, IMMUTABLE};
use crate::fill::{self, Fields};
use crate::metadata::label_selector;
use crate::pod::template;

/// The spec with its template's defaults.
pub fn default_spec(object: &mut Object) -> Option<&mut Fields> {
    let spec = fill::object(object, "spec")?;
    template::default_in(spec);
    Some(spec)
}

/// Judges the selector and that the template has what it selects.
pub fn selector_and_template(spec: &Field<'_>, kind: &str, empty: &str, errors: &mut Errors) {
    let selector = spec.at("selector");
    if selector.is_set() {
        label_selector(&selector, errors);
        if selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty() {
            errors.push(selector.invalid(empty));
        }
    } else {
        errors.push(selector.required(""));
    }
    let template = spec.at("template");
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    match LabelSelector::from_json(selector.value) {
        Err(_) => errors.push(selector.invalid("invalid label selector")),
        Ok(parsed) if selector.is_set() && !parsed.matches(&labels_of(&template)) => {
            errors.push(
                template.at("metadata").at("labels").invalid("`selector` does not match template `labels`"),
            );
        }
        Ok(_) => (),
    }
    validate_template(&template, kind, errors);
}

/// Judges a template whose pods run for ever.
pub fn validate_template(template: &Field<'_>, kind: &str, errors: &mut Errors) {
    template::validate(template, errors);
    let spec = template.at("spec");
    let restart = spec.at("restartPolicy");
    if restart.text() != "Always" {
        errors.push(restart.not_supported(&["Always"]));
    }
    let deadline = spec.at("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.push(deadline.forbidden(format!("activeDeadlineSeconds in {kind} is not Supported")));
    }
}

fn labels_of(template: &Field<'_>) -> Map<String, Value> {
    template.at("metadata").at("labels").value.as_object().cloned().unwrap_or_default()
}

/// The selector stays: pods that it no longer selects would be nobody's.
pub fn selector_unchanged(new: &Object, old: &Object) -> Errors {
    let selector = |object| Field::of(object, "spec").at("selector");
    let (new, old) = (selector(new), selector(old));
    if new.value == old.value { Vec::new() } else { vec![new.invalid(IMMUTABLE)] }
}

/// Judges a number or a percentage.
pub fn count_or_percent(field: &Field<'_>, errors: &mut Errors) {
    match field.value {
        Value::String(text) if !names::percent(text).is_empty() => {
            errors.push(field.invalid("must be an integer or percentage (e.g '5%%')"));
        }
        _ => field.not_negative(errors),
    }
}

/// Judges that a percentage is at most everything.
pub fn at_most_all(field: &Field<'_>, errors: &mut Errors) {
    if percentage(field).is_some_and(|percent| percent > 100) {
        errors.push(field.invalid("must not be greater than 100%"));
    }
}

/// Whether it is `0` or `0%`.
pub fn is_nothing(field: &Field<'_>) -> bool {
    percentage(field).or(field.number()).unwrap_or(0) == 0
}

fn percentage(field: &Field<'_>) -> Option<i64> {
    field.text().strip_suffix('%')?.parse().ok()
}

/// A status' counts are not negative and those of a part not greater than the whole.
pub fn validate_counts(object: &Object, whole: &str, parts: &[&str]) -> Errors {
    let status = Field::of(object, "status");
    let mut errors = Errors::new();
    let all = status.at(whole);
    all.not_negative(&mut errors);
    for part in parts {
        let part = status.at(part);
        part.not_negative(&mut errors);
        if part.number().unwrap_or(0) > all.number().unwrap_or(0) {
            errors.push(part.invalid(format!("cannot be greater than status.{whole}")));
        }
    }
    status.at("observedGeneration").not_negative(&mut errors);
    errors
}
