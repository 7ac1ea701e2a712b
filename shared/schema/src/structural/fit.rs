//! Takes away what a schema does not know, with the paths of what went, and gives `metadata` the form it has
//! everywhere.

use serde_json::{Map, Value};

use super::node::{Additional, Node};
use crate::Schemas;
use crate::fields::{self, Report};

/// Fields that every object has, whatever its schema says.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Fits an object with its root.
pub(super) fn object(schemas: &Schemas, root: &Node, value: &mut Value) -> Report {
    let mut fit = Fit { schemas, report: Report::default(), path: String::new() };
    if let Value::Object(fields) = value {
        fit.fields(root, true, fields);
    }
    fit.report
}

struct Fit<'a> {
    schemas: &'a Schemas,
    report: Report,
    path: String,
}

impl Fit<'_> {
    fn value(&mut self, node: Option<&Node>, value: &mut Value) {
        match value {
            Value::Object(fields) => match node {
                Some(node) => self.fields(node, node.embedded, fields),
                None => self.nothing_of(fields),
            },
            Value::Array(items) => {
                let inner = node.and_then(|node| node.items.as_deref());
                let preserved = node.is_some_and(|node| node.preserves) && inner.is_none();
                for (at, item) in items.iter_mut().enumerate().filter(|_| !preserved) {
                    self.within(&format!("[{at}]"), |fit| fit.value(inner, item));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, node: &Node, is_object: bool, fields: &mut Map<String, Value>) {
        if is_object {
            self.metadata(fields);
        }
        fields.retain(|name, value| {
            if is_object && OF_EVERY_OBJECT.contains(&name.as_str()) {
                return true;
            }
            let inner = match (node.property(name), &node.additional) {
                (Some(inner), _) => Some(inner),
                (None, Additional::Of(inner)) => Some(inner.as_ref()),
                (None, Additional::Unsaid) if !node.preserves => {
                    self.within(&dotted(&self.path, name), |fit| fit.report.unknown.push(fit.path.clone()));
                    return false;
                }
                (None, Additional::Unsaid) => return true,
                (None, Additional::Allowed | Additional::Forbidden) => None,
            };
            self.within(&dotted(&self.path, name), |fit| fit.value(inner, value));
            true
        });
    }

    fn nothing_of(&mut self, fields: &mut Map<String, Value>) {
        for name in fields.keys() {
            self.report.unknown.push(format!("{}{}", self.path, dotted(&self.path, name)));
        }
        fields.clear();
    }

    fn metadata(&mut self, fields: &mut Map<String, Value>) {
        let Some(metadata) = fields.get_mut("metadata") else { return };
        let report = fields::check_metadata(self.schemas, metadata);
        let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
        self.report.unknown.extend(report.unknown.into_iter().map(|path| format!("{prefix}{path}")));
        self.report.wrong.extend(report.wrong);
    }

    fn within(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        work(self);
        self.path.truncate(length);
    }
}

/// The step to a field: a dot, unless it is the first.
fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!(".{name}") }
}
