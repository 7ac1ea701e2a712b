//! May somebody do something: `kubectl auth can-i`, and servers that leave the decision to us.

use model::{FieldError, Object, Status};
use serde_json::{Value, json};

use super::{extra, spec_text, texts};
use crate::authorization::{Attributes, Decision, Resource};
use crate::registry::Registry;
use crate::verbs::{Identity, Target};

const GROUP: &str = "authorization.k8s.io";

/// Whether whoever asks may do it.
pub async fn of_oneself(registry: &Registry, identity: &Identity, review: &Object) -> Result<Value, Status> {
    check(review, "SelfSubjectAccessReview", false)?;
    Ok(answered(registry, identity, review).await)
}

/// Whether the user and groups in the review may do it.
pub async fn of_somebody(registry: &Registry, review: &Object, kind: &str) -> Result<Value, Status> {
    check(review, kind, true)?;
    let identity = Identity {
        user: spec_text(review, "user").to_owned(),
        uid: spec_text(review, "uid").to_owned(),
        groups: texts(review.at(&["spec", "groups"])),
        extra: extra(review.at(&["spec", "extra"])),
    };
    Ok(answered(registry, &identity, review).await)
}

/// The same, for those who may only ask about one namespace.
pub async fn of_somebody_here(
    registry: &Registry,
    target: &Target,
    review: &mut Object,
) -> Result<Value, Status> {
    let kind = "LocalSubjectAccessReview";
    let named = review.str_at(&["spec", "resourceAttributes", "namespace"]);
    if named != target.namespace {
        let why = format!("must match metadata.namespace: {}", target.namespace);
        let wrong = FieldError::invalid("spec.resourceAttributes.namespace", named, why);
        return Err(Status::invalid(GROUP, kind, "", &[wrong]));
    }
    review.set(&["metadata", "namespace"], target.namespace.as_str());
    of_somebody(registry, review, kind).await
}

async fn answered(registry: &Registry, identity: &Identity, review: &Object) -> Value {
    let Decision { allowed, reason } = registry.authorizer().decide(identity, &attributes(review)).await;
    match reason.as_str() {
        "" => json!({ "allowed": allowed }),
        reason => json!({ "allowed": allowed, "reason": reason }),
    }
}

fn attributes(review: &Object) -> Attributes<'_> {
    let text = |part: &str, field: &str| review.str_at(&["spec", part, field]);
    if review.at(&["spec", "nonResourceAttributes"]).is_some_and(Value::is_object) {
        return Attributes::path(
            text("nonResourceAttributes", "verb"),
            text("nonResourceAttributes", "path"),
        );
    }
    let of = |field| text("resourceAttributes", field);
    let resource = Resource {
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
    };
    Attributes::resource(of("verb"), resource)
}

fn check(review: &Object, kind: &str, of_somebody: bool) -> Result<(), Status> {
    let is_set = |field: &str| review.at(&["spec", field]).is_some_and(|value| !value.is_null());
    let mut errors = Vec::new();
    if is_set("resourceAttributes") && is_set("nonResourceAttributes") {
        let why = "cannot be specified in combination with resourceAttributes";
        let value = review.at(&["spec", "nonResourceAttributes"]).cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.nonResourceAttributes", value, why));
    }
    if !is_set("resourceAttributes") && !is_set("nonResourceAttributes") {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid("spec.resourceAttributes", Value::Null, why));
    }
    if of_somebody && spec_text(review, "user").is_empty() && texts(review.at(&["spec", "groups"])).is_empty()
    {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", "", why));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, kind, "", &errors)) }
}
