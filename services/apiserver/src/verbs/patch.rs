//! PATCH: change an object, or a part of it, by saying what is to be different.

use std::sync::Arc;

use kinds::Verb;
use kinds::custom::Custom;
use model::patch::{json_patch, merge_patch};
use model::{FieldError, Object, Reason, Status};
use schema::TypeId;
use serde_json::Value;

use super::{Context, FieldValidation, Patch, PatchKind, Stored, Target, WriteOptions};
use crate::registry::{Part, Registry, pipeline};

/// A patch that was read once and is applied to whatever object is there.
struct Change<'a> {
    registry: &'a Registry,
    kind: PatchKind,
    patch: Value,
    schema: Option<TypeId>,
    /// For an object of a custom kind.
    custom: Option<Arc<Custom>>,
    validation: FieldValidation,
}

/// Applies a patch to an object or a part of it.
pub async fn patch(
    registry: &Registry,
    context: &Context,
    target: &Target,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let part = Part::of(target, Verb::Patch)?;
    if patch.kind == PatchKind::Apply {
        return Err(unsupported());
    }
    let (body, duplicate) = schema::json::decode(&patch.body)
        .map_err(|why| Status::bad_request(format!("error decoding patch: {why}")))?;
    let (api_version, kind) = part.type_of_body(target);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let change = Change {
        registry,
        kind: patch.kind,
        patch: body,
        schema: registry.schemas().resource(group, version, &kind),
        custom: target.kind.custom.clone().filter(|_| part.shows_whole()),
        validation: options.field_validation,
    };
    let mut warnings =
        change.judge_fields(duplicate.iter().map(|path| format!("duplicate field {path:?}")).collect())?;
    let mut found = Vec::new();
    let mut stored = pipeline::change(registry, context, target, &part, options, |present| {
        let (object, more) = change.apply(part.view(present))?;
        found = more;
        Ok(object)
    })
    .await?;
    warnings.extend(found);
    warnings.append(&mut stored.warnings);
    Ok(Stored { warnings, ..stored })
}

fn unsupported() -> Status {
    Status::new(
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
    )
}

/// How lists of a custom kind are merged nobody has said.
fn no_strategy() -> Status {
    Status::new(
        Reason::UnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json",
    )
}

// === impl Change ===

impl Change<'_> {
    /// The view with the patch applied, and what to warn of.
    fn apply(&self, view: Object) -> Result<(Object, Vec<String>), Status> {
        let mut document = view.into_value();
        match self.kind {
            PatchKind::Json => json_patch(&mut document, &self.patch)?,
            PatchKind::Merge => merge_patch(&mut document, &self.patch)?,
            PatchKind::Strategic => {
                let schema = self.schema.ok_or_else(no_strategy)?;
                schema::strategic::apply(self.registry.schemas(), schema, &mut document, &self.patch)?;
            }
            PatchKind::Apply => return Err(unsupported()),
        }
        let report = match (self.schema, &self.custom) {
            (Some(schema), _) => schema::fields::check(self.registry.schemas(), schema, &mut document),
            (None, Some(custom)) => custom.fit(&mut document),
            (None, None) => schema::fields::Report::default(),
        };
        if !report.wrong.is_empty() {
            return Err(self.refused(&report.wrong.join(", ")));
        }
        let unknown = report.unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        let warnings = self.judge_fields(unknown)?;
        let object =
            Object::from_value(document).ok_or_else(|| self.refused("the result is not an object"))?;
        Ok((object, warnings))
    }

    fn judge_fields(&self, found: Vec<String>) -> Result<Vec<String>, Status> {
        match self.validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !found.is_empty() => {
                Err(self.refused(&format!("strict decoding error: {}", found.join(", "))))
            }
            _ => Ok(found),
        }
    }

    fn refused(&self, why: &str) -> Status {
        let patch = FieldError::invalid("patch", self.patch.to_string(), why);
        Status::invalid("", "", "", &[patch])
    }
}
