//! Parts of an object that have a path of their own: how each is seen, and how a changed view is put back.

use kinds::scale::Scale;
use kinds::{Kind, SubresourceUpdate, Verb};
use model::{FieldError, Object, Reason, Status};

use crate::verbs::Target;

/// What of an object a request is about.
#[derive(Clone, Debug)]
pub enum Part {
    /// All of it but the status, where the status is a part of its own.
    Whole,
    /// `status`.
    Status,
    /// `scale`: the number of replicas, seen as a Scale.
    Scale(Scale),
    /// A part with rules of its own, as `finalize` of a namespace or `resize` of a pod.
    Own(SubresourceUpdate),
}

// === impl Part ===

impl Part {
    /// The part that a request names; 404 when the kind has no such part, 405 when `verb` cannot be done to it.
    pub fn of(target: &Target, verb: Verb) -> Result<Part, Status> {
        let kind = &target.kind;
        if target.subresource.is_empty() {
            return match kind.verbs.contains(verb) {
                true => Ok(Part::Whole),
                false => Err(Status::method_not_allowed(&kind.group, &kind.plural, verb.as_str())),
            };
        }
        let row = kind.subresource(&target.subresource).ok_or_else(no_such_part)?;
        if !row.verbs.contains(verb) {
            return Err(Status::method_not_allowed(&kind.group, &kind.plural, verb.as_str()));
        }
        match (row.name.as_ref(), &row.scale, row.update) {
            (_, Some(scale), _) => Ok(Part::Scale(scale.clone())),
            (_, _, Some(update)) => Ok(Part::Own(update)),
            ("status", ..) => Ok(Part::Status),
            _ => Err(no_such_part()),
        }
    }

    /// `apiVersion` and `kind` of a request body about this part.
    pub fn type_of_body(&self, target: &Target) -> (String, String) {
        match (self, target.kind.subresource(&target.subresource)) {
            (Part::Scale(_), Some(row)) => (format!("{}/{}", row.group, row.version), row.kind.to_string()),
            _ => (target.kind.api_version(), target.kind.kind.to_string()),
        }
    }

    /// What a client sees of the object.
    pub fn view(&self, object: &Object) -> Object {
        match self {
            Part::Scale(scale) => scale.read(object),
            _ => object.clone(),
        }
    }

    /// Whether the view is the object as it is.
    pub fn shows_whole(&self) -> bool {
        !matches!(self, Part::Scale(_))
    }

    /// `old` with the changed view put back.
    pub fn put(&self, view: Object, old: &Object) -> Result<Object, Status> {
        match self {
            Part::Whole | Part::Status | Part::Own(_) => Ok(view),
            Part::Scale(scale) => {
                let mut new = old.clone();
                scale
                    .write(&mut new, &view)
                    .map_err(|wrong| Status::invalid("autoscaling", "Scale", old.name(), &wrong))?;
                Ok(new)
            }
        }
    }

    /// Carries over from `old` what a write to this part may not change.
    pub fn prepare(&self, kind: &Kind, new: &mut Object, old: &Object) {
        match self {
            Part::Whole | Part::Scale(_) => (kind.hooks.prepare_update)(new, old),
            Part::Status => (kind.hooks.prepare_status)(new, old),
            Part::Own(update) => (update.prepare)(new, old),
        }
    }

    /// Judges the change.
    pub fn validate(&self, kind: &Kind, new: &Object, old: &Object) -> Vec<FieldError> {
        match self {
            Part::Whole | Part::Scale(_) => kind.validate_update(new, old),
            Part::Status => kind.validate_status(new, old),
            Part::Own(update) => kind.validate_part(update, new, old),
        }
    }
}

/// 404 for a path that does not exist.
pub fn no_such_part() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}
