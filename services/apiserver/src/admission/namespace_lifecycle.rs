//! Objects live in namespaces that exist, new ones in none that is going; some namespaces never go.

use model::{Object, Status, status::Cause};
use store::Op;

use super::{Operation, Request};

/// Namespaces that the cluster cannot do without.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses to create in a namespace that is absent or terminating.
pub fn check(request: &Request<'_>, object: &mut Object, _: &mut Vec<Op>) -> Result<(), Status> {
    if !request.kind().namespaced || request.operation != Operation::Create {
        return Ok(());
    }
    let name = &request.target.namespace;
    let namespace = request
        .view
        .get("", "namespaces", "", name)
        .ok_or_else(|| Status::not_found("", "namespaces", name))?;
    if namespace.str_at(&["status", "phase"]) != "Terminating" && namespace.deletion_timestamp().is_none() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut status = request.forbidden(object, &why);
    status.causes.push(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".to_owned(),
    });
    Err(status)
}

/// Refuses to delete a namespace that never goes.
pub fn validate(request: &Request<'_>, object: &Object) -> Result<(), Status> {
    let deletes = request.operation == Operation::Delete && request.is_about_whole("", "namespaces");
    if deletes && IMMORTAL.contains(&object.name()) {
        return Err(request.forbidden(object, "this namespace may not be deleted"));
    }
    Ok(())
}
