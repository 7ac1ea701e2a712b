//! A value inside an object together with the path that messages name it by.

use model::{FieldError, FieldErrorKind, Object, Quantity};
use serde_json::Value;

/// What is wrong with an object.
pub type Errors = Vec<FieldError>;

/// The detail of an error about a number below zero.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
/// The detail of an error about a changed value.
pub const IMMUTABLE: &str = "field is immutable";

static NULL: Value = Value::Null;

/// A value and its path. A field that is absent is null, so that rules need not tell the two apart.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// As messages print it, as `spec.containers[0].name`.
    pub path: String,
    /// The value.
    pub value: &'a Value,
}

impl<'a> Field<'a> {
    /// A value under a path of its own.
    pub fn new(path: impl Into<String>, value: &'a Value) -> Self {
        Field { path: path.into(), value }
    }

    /// A field of the object itself, as `spec`.
    pub fn of(object: &'a Object, name: &str) -> Self {
        Field::new(name, object.get(name).unwrap_or(&NULL))
    }

    /// The field of that name.
    pub fn at(&self, name: &str) -> Field<'a> {
        Field::new(format!("{}.{name}", self.path), self.value.get(name).unwrap_or(&NULL))
    }

    /// The entry of a map, named as `path[key]`.
    pub fn key(&self, key: &str) -> Field<'a> {
        Field::new(format!("{}[{key}]", self.path), self.value.get(key).unwrap_or(&NULL))
    }

    /// The elements of a list.
    pub fn items(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().into_iter().flatten().enumerate();
        items.map(move |(index, value)| Field::new(format!("{path}[{index}]"), value))
    }

    /// The entries of a map, each named as `path[key]`.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a> {
        let path = self.path.clone();
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(move |(key, value)| (key.as_str(), Field::new(format!("{path}[{key}]"), value)))
    }

    /// The texts of a list.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value.as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether there is a value.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// How many elements a list or a map has, 0 for anything else.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text, empty for anything else.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The whole number, if it is one.
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether it is true.
    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// The amount, if it is one.
    pub fn quantity(&self) -> Option<Quantity> {
        quantity(self.value)
    }

    /// `Required value`
    pub fn required(&self, detail: &str) -> FieldError {
        FieldError::required(&self.path, detail)
    }

    /// `Invalid value`
    pub fn invalid(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.path, self.value.clone(), detail)
    }

    /// `Forbidden`
    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.path, detail)
    }

    /// `Duplicate value`
    pub fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.path, self.value.clone())
    }

    /// `Unsupported value`
    pub fn not_supported(&self, supported: &[&str]) -> FieldError {
        FieldError::not_supported(&self.path, self.value.clone(), supported)
    }

    /// `Too long`
    pub fn too_long(&self, max: usize) -> FieldError {
        let detail = format!("may not be more than {max} bytes");
        FieldError::new(FieldErrorKind::TooLong, &self.path, Value::Null, detail)
    }

    /// An error for each thing that `rule` finds wrong with the text.
    pub fn must(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        errors.extend(rule(self.text()).into_iter().map(|why| self.invalid(why)));
    }

    /// As [`Field::must`], for a text that may be absent.
    pub fn may(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        if !self.text().is_empty() {
            self.must(rule, errors);
        }
    }

    /// As [`Field::must`], but an absent text is told to be required.
    pub fn must_have(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        match self.text() {
            "" => errors.push(self.required("")),
            _ => self.must(rule, errors),
        }
    }

    /// The text is one of these.
    pub fn one_of(&self, supported: &[&str], errors: &mut Errors) {
        match self.text() {
            "" => errors.push(self.required("")),
            text if !supported.contains(&text) => errors.push(self.not_supported(supported)),
            _ => (),
        }
    }

    /// As [`Field::one_of`], for a text that may be absent.
    pub fn may_be_one_of(&self, supported: &[&str], errors: &mut Errors) {
        if !self.text().is_empty() {
            self.one_of(supported, errors);
        }
    }

    /// A number that is there is not below zero.
    pub fn not_negative(&self, errors: &mut Errors) {
        if self.number().is_some_and(|number| number < 0) {
            errors.push(self.invalid(NOT_NEGATIVE));
        }
    }

    /// A number that is there is in this range.
    pub fn in_range(&self, low: i64, high: i64, errors: &mut Errors) {
        if self.number().is_some_and(|number| !(low..=high).contains(&number)) {
            errors.push(self.invalid(model::names::out_of_range(low, high)));
        }
    }

    /// The value is the one that `old` has.
    pub fn unchanged(&self, old: &Field<'_>, errors: &mut Errors) {
        if self.value != old.value {
            errors.push(self.invalid(IMMUTABLE));
        }
    }
}

/// The amount in a JSON value: a text, or a number as people write it.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}
