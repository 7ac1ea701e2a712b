//! POST: make an object, or act through a subresource of one.

use kinds::{Storage, Verb};
use model::Status;

use super::{Body, Context, DeleteOptions, Stored, Target, WriteOptions};
use crate::identity::request;
use crate::registry::part::no_such_part;
use crate::registry::{Registry, binding, body, pipeline};
use crate::reviews;
use crate::verbs::delete::success;

/// Makes the object in `sent`, or does what a subresource is for: `binding` gives a pod its node, `eviction` deletes it.
pub async fn create(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let kind = &target.kind;
    match (kind.group.as_ref(), kind.plural.as_ref(), target.subresource.as_str()) {
        (_, _, "") if !kind.verbs.contains(Verb::Create) => {
            Err(Status::method_not_allowed(&kind.group, &kind.plural, "create"))
        }
        ("", "bindings", "") => bind(registry, context, target, sent, options).await,
        (_, _, "") if kind.storage == Storage::Virtual => {
            reviews::create(registry, context, target, sent, options).await
        }
        (_, _, "") => pipeline::create(registry, context, target, sent, options).await,
        ("", "pods", "binding") => bind(registry, context, target, sent, options).await,
        ("", "pods", "eviction") => evict(registry, context, target, sent, options).await,
        ("", "serviceaccounts", "token") => request::create(registry, context, target, sent, options).await,
        _ => Err(no_such_part()),
    }
}

async fn bind(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let warnings = body::field_warnings(target, &sent, options.field_validation)?;
    let binding = binding::Binding::from_object(&target.namespace, &target.name, &sent.object)?;
    let (_, revision) = binding::bind(registry, context, &binding, options.dry_run).await?;
    Ok(Stored { object: success(201, None), created: true, revision, warnings })
}

async fn evict(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let warnings = body::field_warnings(target, &sent, options.field_validation)?;
    let wished = sent.object.get("deleteOptions").cloned().and_then(model::Object::from_value);
    let mut delete =
        wished.map(|options| DeleteOptions::from_object(&options)).transpose()?.unwrap_or_default();
    delete.dry_run |= options.dry_run;
    let pod = Target { subresource: String::new(), ..target.clone() };
    let (_, revision) = super::delete_noted(registry, context, &pod, &delete).await?;
    Ok(Stored { object: success(201, None), created: true, revision, warnings })
}
