//! Paths into an object as printer columns write them: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

/// A path that was read once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end when it is below zero.
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Filter(Filter),
}

/// Elements of which something holds.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    path: JsonPath,
    /// Nothing: it is enough that there is a value.
    compares: Option<(Operator, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    AtLeast,
    AtMost,
    More,
    Less,
}

// === impl JsonPath ===

impl JsonPath {
    /// Reads a path; `None` for what this subset does not have.
    pub(crate) fn parse(text: &str) -> Option<JsonPath> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').unwrap_or(rest);
        while !rest.is_empty() {
            let step;
            (step, rest) = match rest.strip_prefix('[') {
                Some(inner) => bracket(inner)?,
                None => field(rest.strip_prefix('.').or(steps.is_empty().then_some(rest))?)?,
            };
            steps.extend(step);
        }
        Some(JsonPath(steps))
    }

    /// The names of a path that has nothing but fields.
    pub(crate) fn names(&self) -> Option<Vec<String>> {
        let name = |step: &Step| match step {
            Step::Field(name) => Some(name.clone()),
            _ => None,
        };
        self.0.iter().map(name).collect()
    }

    /// The first value at the path.
    pub(crate) fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.all(value).into_iter().next()
    }

    fn all<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0
            .iter()
            .fold(vec![value], |found, step| found.into_iter().flat_map(|value| step.from(value)).collect())
    }
}

/// A name up to the next step; a backslash makes a dot or bracket a part of it.
fn field(text: &str) -> Option<(Option<Step>, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            '.' | '[' => return Some((named(name), &text[at..])),
            '{' | '}' => return None,
            letter => name.push(letter),
        }
    }
    Some((named(name), ""))
}

fn named(name: String) -> Option<Step> {
    match name.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Field(name)),
    }
}

/// What stands in brackets; `text` begins behind the opening one.
fn bracket(text: &str) -> Option<(Option<Step>, &str)> {
    if let Some(inner) = text.strip_prefix("?(") {
        let end = inner.find(")]")?;
        return Some((Some(Step::Filter(Filter::parse(&inner[..end])?)), &inner[end + 2..]));
    }
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inner = &text[1..];
        let end = inner.find(&format!("{quote}]"))?;
        return Some((Some(Step::Field(inner[..end].replace('\\', ""))), &inner[end + 2..]));
    }
    let (inner, rest) = text.split_once(']')?;
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let step = match inner.split_once(':') {
        _ if inner == "*" => Step::All,
        None => Step::Index(number(inner)?),
        Some((start, end)) => {
            let bound = |text: &str| if text.is_empty() { Some(None) } else { number(text).map(Some) };
            Step::Slice(bound(start)?, bound(end)?)
        }
    };
    Some((Some(step), rest))
}

// === impl Step ===

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let items = || value.as_array().map_or(&[][..], Vec::as_slice);
        match self {
            Step::Field(name) => value.get(name).into_iter().collect(),
            Step::Index(at) => place(*at, items().len()).and_then(|at| items().get(at)).into_iter().collect(),
            Step::Slice(start, end) => {
                let length = items().len();
                let edge = |bound: Option<i64>, none| {
                    bound.map_or(none, |at| place(at, length).unwrap_or(0).min(length))
                };
                let (start, end) = (edge(*start, 0), edge(*end, length));
                items().get(start..end).unwrap_or_default().iter().collect()
            }
            Step::All => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Step::Filter(filter) => items().iter().filter(|item| filter.holds(item)).collect(),
        }
    }
}

fn place(at: i64, length: usize) -> Option<usize> {
    let at = if at < 0 { at + i64::try_from(length).ok()? } else { at };
    usize::try_from(at).ok()
}

// === impl Filter ===

impl Filter {
    /// `@.type=="Ready"`
    fn parse(text: &str) -> Option<Filter> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            (">", Operator::More),
            ("<", Operator::Less),
        ];
        let found = OPERATORS.iter().find_map(|(sign, operator)| {
            let (left, right) = text.split_once(sign)?;
            Some((left, Some((*operator, literal(right.trim())?))))
        });
        let (path, compares) = found.unwrap_or((text, None));
        Some(Filter { path: JsonPath::parse(path.trim().strip_prefix('@')?)?, compares })
    }

    fn holds(&self, item: &Value) -> bool {
        let Some(value) = self.path.first(item) else { return false };
        let Some((operator, wanted)) = &self.compares else { return true };
        let ordering = match (value, wanted) {
            (Value::Number(value), Value::Number(wanted)) => value.as_f64().partial_cmp(&wanted.as_f64()),
            (Value::String(value), Value::String(wanted)) => Some(value.cmp(wanted)),
            (value, wanted) => (value == wanted).then_some(std::cmp::Ordering::Equal),
        };
        match operator {
            Operator::Equal => ordering.is_some_and(|order| order.is_eq()),
            Operator::NotEqual => ordering.is_none_or(|order| order.is_ne()),
            Operator::AtLeast => ordering.is_some_and(|order| order.is_ge()),
            Operator::AtMost => ordering.is_some_and(|order| order.is_le()),
            Operator::More => ordering.is_some_and(|order| order.is_gt()),
            Operator::Less => ordering.is_some_and(|order| order.is_lt()),
        }
    }
}

fn literal(text: &str) -> Option<Value> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return Some(inner.into());
        }
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_the_first_value() {
        let object = json!({
            "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
            "spec": {"size": 3, "list": [{"n": 1}, {"n": 2}, {"n": 3}]},
            "status": {"conditions": [
                {"type": "Ready", "status": "True"}, {"type": "Done", "status": "False"}
            ]},
        });
        let cases = [
            (".spec.size", Some(json!(3))),
            (".metadata.name", Some(json!("a"))),
            (".spec.nothing", None),
            (".spec.list[0].n", Some(json!(1))),
            (".spec.list[-1].n", Some(json!(3))),
            (".spec.list[1:].n", Some(json!(2))),
            (".spec.list[*].n", Some(json!(1))),
            (".spec.list[7].n", None),
            (".spec['size']", Some(json!(3))),
            (".metadata.labels['app.kubernetes.io/name']", Some(json!("x"))),
            (".metadata.labels.app\\.kubernetes\\.io/name", Some(json!("x"))),
            (".status.conditions[?(@.type==\"Done\")].status", Some(json!("False"))),
            (".status.conditions[?(@.type == 'Ready')].status", Some(json!("True"))),
            (".status.conditions[?(@.type!='Ready')].type", Some(json!("Done"))),
            (".spec.list[?(@.n>1)].n", Some(json!(2))),
            (".spec.list[?(@.m)].n", None),
            (".status.conditions", Some(object["status"]["conditions"].clone())),
        ];
        for (path, wanted) in cases {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(parsed.first(&object).cloned(), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for path in [".a[", ".a[?(b)]", ".a[x]", ".{a}", "a[0]b"] {
            assert_eq!(JsonPath::parse(path), None, "{path}");
        }
        assert_eq!(JsonPath::parse(".a.b").and_then(|path| path.names()), Some(vec!["a".into(), "b".into()]));
        assert_eq!(JsonPath::parse(".a[0]").and_then(|path| path.names()), None);
    }
}
