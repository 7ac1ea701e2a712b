//! The pod template of workloads.

use serde_json::Value;

use super::{defaults, spec};
use crate::field::{Errors, Field};
use crate::fill::{self, Fields};
use crate::metadata;

/// Fills in the defaults of the template in the spec of a workload.
pub fn default_in(workload: &mut Fields) {
    let Some(template) = fill::object(workload, "template") else { return };
    // A typed client sends the zero time of an object that was never created.
    if let Some(own) = fill::object(template, "metadata") {
        own.remove("creationTimestamp");
    }
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        defaults::spec(spec);
    }
}

/// Judges a template.
pub fn validate(template: &Field<'_>, errors: &mut Errors) {
    let own = template.at("metadata");
    // Upstream leaves out `metadata` in these paths.
    metadata::labels(&Field::new(format!("{}.labels", template.path), own.at("labels").value), errors);
    let annotations = own.at("annotations");
    metadata::annotations(&Field::new(format!("{}.annotations", template.path), annotations.value), errors);
    let spec = template.at("spec");
    spec::validate(&spec, spec::Of::Template, errors);
    if !spec.at("ephemeralContainers").is_empty() {
        errors.push(
            spec.at("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template"),
        );
    }
}
