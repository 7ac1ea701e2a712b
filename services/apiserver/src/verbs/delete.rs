//! DELETE of one object.

use bytes::Bytes;
use kinds::{Kind, Verb};
use model::{Object, Revision, Status};
use serde_json::json;

use super::{Context, DeleteOptions, Deleted, Target};
use crate::registry::part::no_such_part;
use crate::registry::pipeline::{self, Removed};
use crate::registry::{Registry, deletion};

/// Deletes an object: at once, or marked until everyone who holds it has let go.
pub async fn delete(
    registry: &Registry,
    context: &Context,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    delete_noted(registry, context, target, options).await.map(|(deleted, _)| deleted)
}

/// [`delete`], with the place of the write in the log; zero where nothing was written.
pub async fn delete_noted(
    registry: &Registry,
    context: &Context,
    target: &Target,
    options: &DeleteOptions,
) -> Result<(Deleted, Revision), Status> {
    let kind = &target.kind;
    if !target.subresource.is_empty() {
        return Err(no_such_part());
    }
    if !kind.verbs.contains(Verb::Delete) {
        return Err(Status::method_not_allowed(&kind.group, &kind.plural, "delete"));
    }
    deletion::check_options(options)?;
    match pipeline::remove(registry, context, target, options).await? {
        Removed::Marked(bytes, revision) => Ok((Deleted::Object(bytes), revision)),
        Removed::Gone(bytes, revision) if deletion::answers_with_object(kind) => {
            Ok((Deleted::Object(bytes), revision))
        }
        Removed::Gone(bytes, revision) => {
            let gone: Object = serde_json::from_slice(&bytes).map_err(Status::internal)?;
            Ok((Deleted::Status(success(200, Some((kind, &gone)))), revision))
        }
    }
}

/// A Status of success, about an object if it has one to name.
pub fn success(code: u16, about: Option<(&Kind, &Object)>) -> Bytes {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    match about {
        None => status["code"] = json!(code),
        Some((kind, object)) => {
            let mut details = json!({"name": object.name(), "kind": kind.plural, "uid": object.uid()});
            if !kind.group.is_empty() {
                details["group"] = json!(kind.group);
            }
            status["details"] = details;
        }
    }
    Bytes::from(status.to_string())
}
