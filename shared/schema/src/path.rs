//! Where in a value something is, in the two spellings that upstream has.

use crate::Schemas;
use crate::names::Name;

/// A step from a value to one in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A field of a struct.
    Field(Name),
    /// A key of a map, or a field that no type names.
    Key(String),
    /// A position in a list.
    Index(usize),
}

/// `spec.containers[0].image`
pub(crate) fn exact(schemas: &Schemas, steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Index(at) => path.push_str(&format!("[{at}]")),
            Step::Field(name) => push(&mut path, schemas.names.get(*name)),
            Step::Key(key) => push(&mut path, key),
        }
    }
    path
}

/// `spec.containers.image`: as Go's decoder names a field, without positions and keys.
pub(crate) fn of_fields(schemas: &Schemas, steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        if let Step::Field(name) = step {
            push(&mut path, schemas.names.get(*name));
        }
    }
    path
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}
