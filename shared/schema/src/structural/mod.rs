//! Schemas of custom kinds, which come as objects at run time: what upstream calls structural.
//!
//! ```text
//!   openAPIV3Schema ── soundness: may it be a schema? ──> node (compact form)
//!                                                           │
//!    object ──> fit ─────────> default ─────────> validate ─┘
//!               unknown fields  nulls, defaults    types, bounds, lists, junctors
//!               go, metadata
//!               takes its form
//! ```
//! Rules in CEL (`x-kubernetes-validations`) are kept with their place in the schema and not evaluated yet: they
//! belong at the end of [`Structural::validate`], which sees every value with its node.

mod default;
mod fit;
mod format;
mod node;
mod number;
mod pattern;
mod soundness;
mod unique;
mod validate;

#[cfg(test)]
mod tests;

use model::{FieldError, Object};
use serde_json::Value;

use crate::Schemas;
use crate::fields::Report;
use node::Node;

pub use format::is_known as is_known_format;
pub use soundness::{Context, judge};

/// What objects of a custom kind look like in one version.
#[derive(Debug, Default)]
pub struct Structural {
    root: Node,
}

// === impl Structural ===

impl Structural {
    /// The compact form of an `openAPIV3Schema`. What [`judge`] would refuse is read as far as it makes sense.
    pub fn parse(schema: &Value) -> Structural {
        Structural { root: Node::parse(schema) }
    }

    /// Takes away what the schema does not know, and brings `metadata` into its form; says what was unknown and
    /// what has the wrong type.
    pub fn fit(&self, schemas: &Schemas, object: &mut Value) -> Report {
        fit::object(schemas, &self.root, object)
    }

    /// Puts in what was left out, and takes away nulls where none may be.
    pub fn default(&self, object: &mut Object) {
        default::object(&self.root, &mut object.0);
    }

    /// Everything that is wrong with an object.
    pub fn validate(&self, object: &Object) -> Vec<FieldError> {
        let value = Value::Object(object.0.clone());
        let mut errors = validate::value(&self.root, "", &value);
        errors.extend(unique::value(&self.root, "", &value));
        errors
    }

    /// Everything that is wrong with the status of an object, which is all that an update of it can change.
    pub fn validate_status(&self, object: &Object) -> Vec<FieldError> {
        let (Some(node), Some(status)) = (self.root.property("status"), object.get("status")) else {
            return Vec::new();
        };
        let mut errors = validate::value(node, "status", status);
        errors.extend(unique::value(node, "status", status));
        errors
    }

    /// The type of the value at a path of properties, as `string`; `None` where the schema names none.
    pub fn type_at(&self, path: &[&str]) -> Option<&'static str> {
        path.iter().try_fold(&self.root, |node, name| node.property(name))?.type_name()
    }

    /// Whether there are rules in CEL anywhere.
    pub fn has_rules(&self) -> bool {
        self.root.any(&|node| node.checks.as_ref().is_some_and(|checks| !checks.rules.is_empty()))
    }
}
