//! Judges a value by its schema, in upstream's order, paths and words.

use model::{FieldError, FieldErrorKind};
use serde_json::{Map, Number, Value};

use super::node::{Additional, Bound, Checks, Node, Type};
use super::{format, number};

/// Where upstream puts what it says of a value as a whole.
const NOWHERE: &str = "<nil>";

/// What is wrong with a value, which is at `path`.
pub(super) fn value(node: &Node, path: &str, value: &Value) -> Vec<FieldError> {
    let mut judge = Judge { path: path.to_owned(), errors: Vec::new() };
    judge.value(node, value);
    judge.errors
}

struct Judge {
    path: String,
    errors: Vec<FieldError>,
}

impl Judge {
    fn value(&mut self, node: &Node, value: &Value) {
        self.ty(node, value);
        let Some(checks) = node.checks.as_deref() else {
            return self.inner(node, None, value);
        };
        if !value.is_null() {
            self.junctors(checks, value);
            match value {
                Value::String(text) => self.text(node, checks, text),
                Value::Number(number) => self.number(node, checks, number),
                _ => {}
            }
        }
        self.inner(node, Some(checks), value);
        self.enumeration(checks, value);
    }

    fn inner(&mut self, node: &Node, checks: Option<&Checks>, value: &Value) {
        match value {
            Value::Array(items) => self.items(node, checks, items),
            Value::Object(fields) => self.fields(node, checks, fields),
            _ => {}
        }
    }

    // === Types ===

    fn ty(&mut self, node: &Node, value: &Value) {
        if node.ty == Type::Any || (value.is_null() && node.nullable) {
            return;
        }
        let fits = match (node.ty, value) {
            (Type::Object, Value::Object(_))
            | (Type::Array, Value::Array(_))
            | (Type::Text | Type::IntOrText, Value::String(_))
            | (Type::Number, Value::Number(_))
            | (Type::Bool, Value::Bool(_)) => true,
            (Type::Integer | Type::IntOrText, Value::Number(number)) => number::is_whole(number),
            _ => false,
        };
        if !fits {
            let found = type_name(value);
            self.mismatch(node.ty.as_str(), &found.into(), found);
        }
    }

    /// A value that is not of a type or format; what is shown of it are words.
    fn mismatch(&mut self, wanted: &str, shown: &Value, found: &str) {
        let why = format!("{} in body must be of type {wanted}: {found:?}", self.path);
        self.push(FieldErrorKind::TypeInvalid, shown.clone(), why);
    }

    // === Single values ===

    fn text(&mut self, node: &Node, checks: &Checks, text: &str) {
        self.length(checks, text);
        let judged = !matches!(node.ty, Type::Integer | Type::Number);
        if let Some(format) = checks.format.as_deref().filter(|format| judged && !format::fits(format, text))
        {
            self.mismatch(format, &text.into(), text);
        }
    }

    /// The first thing that is wrong, as upstream.
    fn length(&mut self, checks: &Checks, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = checks.length.most.filter(|most| length > *most) {
            return self.push(FieldErrorKind::TooLong, text, format!("may not be more than {most} bytes"));
        }
        if let Some(least) = checks.length.least.filter(|least| length < *least) {
            return self.invalid(text, &format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            self.invalid(text, &format!("should match '{}'", pattern.as_str()));
        }
    }

    fn number(&mut self, node: &Node, checks: &Checks, number: &Number) {
        if let Some(format) = checks.format.as_deref().filter(|format| !number::fits(number, format)) {
            let ty = node.ty.as_str();
            self.of_whole(format!(
                "Checked value must be of type {ty} with format {format} in {}",
                self.path
            ));
        }
        if let Some(factor) = checks.multiple_of.filter(|factor| !number::is_multiple(number, *factor)) {
            self.invalid(number.clone(), &format!("should be a multiple of {}", number::text(factor)));
        }
        let value = number.as_f64().unwrap_or(0.0);
        if let Some(Bound { value: bound, exclusive }) = checks.minimum {
            let bound = number::bound_for(number, bound);
            if value < bound || (exclusive && value <= bound) {
                let words = if exclusive { "greater than" } else { "greater than or equal to" };
                self.invalid(number.clone(), &format!("should be {words} {}", number::text(bound)));
            }
        }
        if let Some(Bound { value: bound, exclusive }) = checks.maximum {
            let bound = number::bound_for(number, bound);
            if value > bound || (exclusive && value >= bound) {
                let words = if exclusive { "less than" } else { "less than or equal to" };
                self.invalid(number.clone(), &format!("should be {words} {}", number::text(bound)));
            }
        }
    }

    fn enumeration(&mut self, checks: &Checks, value: &Value) {
        let values = &checks.one_of_values;
        if values.is_empty() || (!value.is_null() && values.iter().any(|one| number::same(one, value))) {
            return;
        }
        let shown: Vec<String> =
            values.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        self.errors.push(FieldError::not_supported(self.place(), value.clone(), &shown));
    }

    // === Lists and objects ===

    fn items(&mut self, node: &Node, checks: Option<&Checks>, items: &[Value]) {
        if let Some(inner) = &node.items {
            for (at, item) in items.iter().enumerate() {
                self.within(&format!("[{at}]"), |judge| judge.value(inner, item));
            }
        }
        let Some(checks) = checks else { return };
        let count = items.len() as u64;
        if let Some(least) = checks.items.least.filter(|least| count < *least) {
            self.invalid(count, &format!("should have at least {least} items"));
        }
        if let Some(most) = checks.items.most.filter(|most| count > *most) {
            self.push(FieldErrorKind::TooMany, count, format!("must have at most {most} items"));
        }
        if checks.unique && items.iter().enumerate().any(|(at, item)| items[..at].contains(item)) {
            self.invalid("", "shouldn't contain duplicates");
        }
    }

    fn fields(&mut self, node: &Node, checks: Option<&Checks>, fields: &Map<String, Value>) {
        let count = fields.len() as u64;
        let bounds = checks.map(|checks| checks.properties).unwrap_or_default();
        if let Some(least) = bounds.least.filter(|least| count < *least) {
            return self.invalid(least, &format!("should have at least {least} properties"));
        }
        if let Some(most) = bounds.most.filter(|most| count > *most) {
            return self.push(FieldErrorKind::TooMany, count, format!("must have at most {most} items"));
        }
        for (name, value) in fields {
            match (node.property(name), &node.additional) {
                (Some(inner), _) => self.at(name, |judge| judge.value(inner, value)),
                (None, Additional::Of(inner)) => self.at(name, |judge| judge.value(inner, value)),
                (None, Additional::Forbidden) => {
                    let why = format!("{}.{name} in body is a forbidden property", self.path);
                    self.push(FieldErrorKind::Invalid, name.as_str(), why);
                }
                (None, Additional::Allowed | Additional::Unsaid) => {}
            }
        }
        for name in checks.iter().flat_map(|checks| &checks.required) {
            if !fields.contains_key(name.as_ref()) {
                self.at(name, |judge| judge.errors.push(FieldError::required(judge.place(), "")));
            }
        }
        if node.embedded {
            self.type_of_embedded(fields);
        }
    }

    fn type_of_embedded(&mut self, fields: &Map<String, Value>) {
        for name in ["apiVersion", "kind"] {
            if fields.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
                self.at(name, |judge| {
                    judge.errors.push(FieldError::required(judge.place(), "must not be empty"))
                });
            }
        }
    }

    // === Junctors ===

    fn junctors(&mut self, checks: &Checks, value: &Value) {
        let path = self.path.clone();
        let alternatives = |nodes: &[Node]| -> Vec<Vec<FieldError>> {
            nodes.iter().map(|node| self::value(node, &path, value)).collect()
        };
        let any_of = alternatives(&checks.any_of);
        if !any_of.is_empty() && !any_of.iter().any(Vec::is_empty) {
            self.of_whole(format!("{path:?} must validate at least one schema (anyOf)"));
            self.errors.extend(nearest(any_of));
        }
        let one_of = alternatives(&checks.one_of);
        let valid = one_of.iter().filter(|errors| errors.is_empty()).count();
        if !one_of.is_empty() && valid != 1 {
            let found =
                if valid == 0 { "none valid".to_owned() } else { format!("{valid} valid alternatives") };
            self.of_whole(format!("{path:?} must validate one and only one schema (oneOf). Found {found}"));
            if valid == 0 {
                self.errors.extend(nearest(one_of));
            }
        }
        let all_of = alternatives(&checks.all_of);
        let valid = all_of.iter().filter(|errors| errors.is_empty()).count();
        if valid != all_of.len() {
            let none = if valid == 0 { ". None validated" } else { "" };
            self.errors.extend(all_of.into_iter().flatten());
            self.of_whole(format!("{path:?} must validate all the schemas (allOf){none}"));
        }
        if checks.not.as_ref().is_some_and(|not| self::value(not, &path, value).is_empty()) {
            self.of_whole(format!("{path:?} must not validate the schema (not)"));
        }
    }

    // === Words ===

    fn invalid(&mut self, shown: impl Into<Value>, why: &str) {
        let why = format!("{} in body {why}", self.path);
        self.push(FieldErrorKind::Invalid, shown, why);
    }

    fn of_whole(&mut self, why: String) {
        self.errors.push(FieldError::invalid(NOWHERE, "", why));
    }

    fn push(&mut self, kind: FieldErrorKind, shown: impl Into<Value>, why: String) {
        self.errors.push(FieldError::new(kind, self.place(), shown, why));
    }

    fn place(&self) -> &str {
        if self.path.is_empty() { NOWHERE } else { &self.path }
    }

    fn at(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        let step = if self.path.is_empty() { name.to_owned() } else { format!(".{name}") };
        self.within(&step, work);
    }

    fn within(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        work(self);
        self.path.truncate(length);
    }
}

/// The alternative of which the least is wrong: what its author most likely meant.
fn nearest(alternatives: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    alternatives.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number::is_integer(number) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
