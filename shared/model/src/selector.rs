//! Selectors: which objects a list, a watch, a controller or a Service means.
//!
//! ```text
//!   "a=b,c in (d,e)" ─┐
//!   LabelSelector ────┼─> requirements ── matches(labels) ──> yes | no
//!   plain map ────────┘
//! ```

use std::fmt;

use serde_json::{Map, Value};

use crate::{Status, names};

mod parse;

/// Requirements on labels, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    /// `None` matches nothing at all.
    requirements: Option<Vec<Requirement>>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What of it.
    pub operator: Operator,
    /// Sorted, each once.
    pub values: Vec<String>,
}

/// What is required of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Its value is this one.
    Equals,
    /// It is absent or has another value.
    NotEquals,
    /// Its value is one of these.
    In,
    /// It is absent or has none of these values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
    /// It is a whole number greater than this one.
    GreaterThan,
    /// It is a whole number less than this one.
    LessThan,
}

/// Requirements on fields, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// One requirement on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The path, as `spec.nodeName`.
    pub field: String,
    /// False for `!=`.
    pub equal: bool,
    /// The value as text.
    pub value: String,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Matches everything.
    pub const fn everything() -> Self {
        LabelSelector { requirements: Some(Vec::new()) }
    }

    /// Matches nothing.
    pub const fn nothing() -> Self {
        LabelSelector { requirements: None }
    }

    /// The selector in the text of a query: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::of(parse::label_requirements(text)?)
    }

    /// The selector in a `metav1.LabelSelector`; null matches nothing, an empty one everything.
    pub fn from_json(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(LabelSelector::nothing());
        }
        let labels = selector.get("matchLabels").and_then(Value::as_object);
        let mut requirements: Vec<Requirement> = labels.into_iter().flat_map(equals).collect();
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(from_expression(expression)?);
        }
        Self::of(requirements)
    }

    /// The selector in a plain map, as of a Service or a ReplicationController; an empty one matches everything.
    pub fn from_map(labels: &Map<String, Value>) -> Self {
        let mut requirements: Vec<Requirement> = equals(labels).collect();
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        LabelSelector { requirements: Some(requirements) }
    }

    fn of(mut requirements: Vec<Requirement>) -> Result<Self, String> {
        requirements.iter().try_for_each(Requirement::check)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements: Some(requirements) })
    }

    /// Whether every requirement holds of `labels`.
    pub fn matches(&self, labels: &Map<String, Value>) -> bool {
        self.matches_with(|key| labels.get(key).and_then(Value::as_str))
    }

    /// Whether every requirement holds of the labels that `label` looks up.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        match &self.requirements {
            Some(requirements) => requirements.iter().all(|one| one.holds(label(&one.key))),
            None => false,
        }
    }

    /// Whether it matches everything because it requires nothing.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether it matches nothing, whatever the labels.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, self.requirements())
    }
}

fn equals(labels: &Map<String, Value>) -> impl Iterator<Item = Requirement> {
    labels.iter().map(|(key, value)| Requirement {
        key: key.clone(),
        operator: Operator::Equals,
        values: vec![value.as_str().unwrap_or_default().to_owned()],
    })
}

fn from_expression(expression: &Value) -> Result<Requirement, String> {
    let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => return Err(format!("{other:?} is not a valid label selector operator")),
    };
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Requirement::new(text("key").to_owned(), operator, values))
}

// === impl Requirement ===

impl Requirement {
    /// A requirement with its values in order; whether it makes sense is not judged.
    pub fn new(key: String, operator: Operator, mut values: Vec<String>) -> Self {
        values.sort();
        values.dedup();
        Requirement { key, operator, values }
    }

    /// Whether it holds of a label with this value, or of an absent one.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        match self.operator {
            Operator::Equals | Operator::In => listed(),
            Operator::NotEquals | Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |a, b| a > b),
            Operator::LessThan => self.compares(value, |a, b| a < b),
        }
    }

    fn compares(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        match (number(value), number(self.values.first().map(String::as_str))) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => false,
        }
    }

    /// Judges it in upstream's words.
    fn check(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let key = names::qualified_name(&self.key);
        if !key.is_empty() {
            wrong.push(format!("key: Invalid value: {:?}: {}", self.key, key.join("; ")));
        }
        if let Some(why) = self.wrong_count() {
            wrong.push(format!("values: Invalid value: {}: {why}", serde_json::json!(self.values)));
        }
        for (index, value) in self.values.iter().enumerate() {
            let why = names::label_value(value);
            if !why.is_empty() {
                wrong.push(format!(
                    "values[{index}][{}]: Invalid value: {value:?}: {}",
                    self.key,
                    why.join("; ")
                ));
            }
        }
        match wrong.len() {
            0 => Ok(()),
            1 => Err(wrong.remove(0)),
            _ => Err(format!("[{}]", wrong.join(", "))),
        }
    }

    fn wrong_count(&self) -> Option<&'static str> {
        let numeric = || self.values.iter().all(|value| value.parse::<i64>().is_ok());
        match (self.operator, self.values.len()) {
            (Operator::In | Operator::NotIn, 0) => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            (Operator::Exists | Operator::DoesNotExist, 1..) => {
                Some("values set must be empty for exists and does not exist")
            }
            (Operator::GreaterThan | Operator::LessThan, 1) if !numeric() => {
                Some("for 'Gt', 'Lt' operators, the value must be an integer")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self.values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

// === impl FieldSelector ===

impl FieldSelector {
    /// Matches everything.
    pub const fn everything() -> Self {
        FieldSelector { requirements: Vec::new() }
    }

    /// The selector in the text of a query: `metadata.name=x,status.phase!=Running`. Refused with 400.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let requirements = parse::field_requirements(text);
        requirements
            .map(|requirements| FieldSelector { requirements })
            .map_err(|why| Status::new(crate::Reason::BadRequest, why))
    }

    /// The requirements in the order in which they were written.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether it matches everything because it requires nothing.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that `field` must have, if one requirement says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|one| one.equal && one.field == field).map(|one| one.value.as_str())
    }

    /// Whether every requirement holds of the fields that `value` looks up; an unknown field is empty.
    pub fn matches_with(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|one| (value(&one.field).unwrap_or_default() == one.value) == one.equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_joined(f, &self.requirements)
    }
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.equal { "=" } else { "!=" };
        write!(f, "{}{operator}{}", self.field, parse::escape(&self.value))
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, parts: &[impl fmt::Display]) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{part}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(selector: &str, labels: Value) -> bool {
        let selector = LabelSelector::parse(selector).unwrap_or_else(|why| panic!("{selector}: {why}"));
        selector.matches(labels.as_object().expect("labels"))
    }

    #[test]
    fn each_operator_matches_what_it_says() {
        let labels = || json!({"app": "web", "tier": "front", "weight": "7", "empty": ""});
        let yes = [
            "",
            "app=web",
            "app==web",
            "app = web ",
            "app!=db",
            "other!=x",
            "app in (web,db)",
            "app in(web)",
            "app notin (db)",
            "other notin (x)",
            "app",
            "!other",
            "! other",
            "empty=",
            "empty",
            "empty in ()",
            "weight>6",
            "weight<8",
            "app=web,tier=front,!other",
            "app in (web),tier",
        ];
        let no = [
            "app=db",
            "app!=web",
            "app in (db)",
            "app notin (web,db)",
            "other",
            "!app",
            "weight>7",
            "app>1",
            "empty!=",
            "app=web,tier=back",
        ];
        for selector in yes {
            assert!(matches(selector, labels()), "{selector}");
        }
        for selector in no {
            assert!(!matches(selector, labels()), "{selector}");
        }
    }

    #[test]
    fn a_broken_selector_is_refused_in_upstreams_words() {
        let cases = [
            ("a,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ];
        for (selector, why) in cases {
            assert_eq!(LabelSelector::parse(selector).expect_err(selector), why, "{selector}");
        }
        let key = LabelSelector::parse("-a=b").expect_err("a bad key");
        assert!(
            key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must"),
            "{key}"
        );
        let value = LabelSelector::parse("a=-b").expect_err("a bad value");
        assert!(
            value.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label must"
            ),
            "{value}"
        );
        assert!(LabelSelector::parse("a>x").is_err());
    }

    #[test]
    fn a_json_selector_and_its_text_mean_the_same() {
        let json = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "tier", "operator": "NotIn", "values": ["x"]},
                {"key": "new", "operator": "Exists"}
            ]
        });
        let selector = LabelSelector::from_json(&json).expect("a selector");
        assert_eq!(selector.to_string(), "app=web,new,!old,tier notin (x),zone in (a,b)");
        assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        assert!(LabelSelector::from_json(&json!({})).is_ok_and(|one| one.is_everything()));
        assert!(LabelSelector::from_json(&Value::Null).is_ok_and(|one| one.is_nothing()));
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Like"}]});
        assert_eq!(
            LabelSelector::from_json(&bad),
            Err("\"Like\" is not a valid label selector operator".to_owned())
        );
        assert!(
            LabelSelector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err()
        );
    }

    #[test]
    fn a_field_selector_has_its_requirements() {
        let selector =
            FieldSelector::parse("metadata.name=x,status.phase!=Running,,spec.a==b\\,c").expect("valid");
        assert_eq!(selector.to_string(), "metadata.name=x,status.phase!=Running,spec.a=b\\,c");
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        assert_eq!(selector.exact("status.phase"), None);
        let fields = |field: &str| Some(if field == "spec.a" { "b,c" } else { "x" }.to_owned());
        assert!(selector.matches_with(fields));
        assert!(!FieldSelector::parse("a!=").expect("valid").matches_with(|_| None));
        assert!(FieldSelector::parse("").is_ok_and(|one| one.is_everything()));
        let wrong = FieldSelector::parse("a").expect_err("no operator");
        assert_eq!(
            (wrong.code(), wrong.message.as_str()),
            (400, "invalid selector: 'a'; can't understand 'a'")
        );
        assert!(FieldSelector::parse("a=b=c").is_err());
        assert!(FieldSelector::parse("a=b\\x").is_err());
    }
}
