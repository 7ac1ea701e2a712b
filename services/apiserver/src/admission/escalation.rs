//! Nobody grants what they do not have.

use model::{Object, Status};

use super::{Operation, Request};
use crate::authorization::{GROUP, escalation};

/// Refuses a role or binding that gives more than its writer holds.
pub fn validate(request: &Request<'_>, object: &Object) -> Result<(), Status> {
    if request.operation == Operation::Delete || request.kind().group != GROUP {
        return Ok(());
    }
    let (authorizer, identity) = (request.authorizer, request.identity);
    let refusal = match request.kind().plural.as_ref() {
        plural @ ("roles" | "clusterroles") => {
            escalation::of_role(authorizer, identity, plural, object, request.old)
        }
        "rolebindings" | "clusterrolebindings" => {
            escalation::of_binding(authorizer, identity, object, request.old)
        }
        _ => None,
    };
    refusal.map_or(Ok(()), |why| Err(request.forbidden(object, &why)))
}
