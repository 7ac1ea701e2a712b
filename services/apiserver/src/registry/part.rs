//! Parts of an object that have a path of their own: how each is seen, and how a changed view is put back.

use kinds::scale::Scale;
use kinds::{Kind, Verb};
use model::{FieldError, Object, Reason, Status};
use serde_json::Value;

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
    /// `finalize` of a namespace: `spec.finalizers`.
    Finalize,
    /// `ephemeralcontainers` of a pod: `spec.ephemeralContainers`.
    EphemeralContainers,
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
        match (row.name.as_ref(), &row.scale) {
            (_, Some(scale)) => Ok(Part::Scale(scale.clone())),
            ("status", _) => Ok(Part::Status),
            ("finalize", _) => Ok(Part::Finalize),
            ("ephemeralcontainers", _) => Ok(Part::EphemeralContainers),
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
    pub fn put(&self, kind: &Kind, view: Object, old: &Object) -> Result<Object, Status> {
        match self {
            Part::Whole | Part::Status => Ok(view),
            Part::Scale(scale) => {
                let mut new = old.clone();
                scale
                    .write(&mut new, &view)
                    .map_err(|wrong| Status::invalid("autoscaling", "Scale", old.name(), &wrong))?;
                Ok(new)
            }
            Part::Finalize => Ok(with_field(old, &view, &["spec", "finalizers"])),
            Part::EphemeralContainers => {
                let errors = kept_ephemeral_containers(&view, old);
                if !errors.is_empty() {
                    return Err(Status::invalid(&kind.group, &kind.kind, old.name(), &errors));
                }
                Ok(with_field(old, &view, &["spec", "ephemeralContainers"]))
            }
        }
    }

    /// Carries over from `old` what a write to this part may not change.
    pub fn prepare(&self, kind: &Kind, new: &mut Object, old: &Object) {
        match self {
            Part::Whole | Part::Scale(_) => (kind.hooks.prepare_update)(new, old),
            Part::Status => (kind.hooks.prepare_status)(new, old),
            // Made of `old` and one field: there is nothing else to carry over.
            Part::Finalize | Part::EphemeralContainers => (),
        }
    }

    /// Judges the change.
    pub fn validate(&self, kind: &Kind, new: &Object, old: &Object) -> Vec<FieldError> {
        match self {
            Part::Whole | Part::Scale(_) => kind.validate_update(new, old),
            Part::Status => kind.validate_status(new, old),
            Part::Finalize | Part::EphemeralContainers => kind.validate(new),
        }
    }
}

/// 404 for a path that does not exist.
pub fn no_such_part() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

fn with_field(old: &Object, view: &Object, path: &[&str]) -> Object {
    let mut new = old.clone();
    match view.at(path) {
        Some(value) => new.set(path, value.clone()),
        None => drop(new.take(path)),
    }
    new
}

/// Ephemeral containers can be added; those that are there stay as they are.
fn kept_ephemeral_containers(new: &Object, old: &Object) -> Vec<FieldError> {
    const PATH: &str = "spec.ephemeralContainers";
    let containers = |object: &Object| -> Vec<Value> {
        let list = object.at(&["spec", "ephemeralContainers"]).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let added = containers(new);
    let name = |container: &Value| container.get("name").cloned().unwrap_or_default();
    let broken = containers(old).into_iter().filter_map(|kept| {
        match added.iter().find(|one| name(one) == name(&kept)) {
            None => {
                let why = format!("existing ephemeral containers {} may not be removed\n", name(&kept));
                Some(FieldError::forbidden(PATH, why))
            }
            Some(one) if *one != kept => {
                let why = format!("existing ephemeral containers {} may not be changed\n", name(&kept));
                Some(FieldError::forbidden(PATH, why))
            }
            Some(_) => None,
        }
    });
    broken.collect()
}
