//! Questions that are answered at once: who somebody is, and what they may do.
//!
//! ```text
//!  TokenReview ───────────────────────────> identity ──────┐
//!  SelfSubjectReview ─────────────────────> the request ───┤ status
//!  SubjectAccessReview and its kin ───────> authorization ─┤
//!  SelfSubjectRulesReview ────────────────> authorization ─┘
//! ```
//! Asking is a create, and needs that permission; nothing is kept.

mod access;
mod rules;
mod subject;
mod token;

use std::collections::BTreeMap;

use model::{Object, Status};
use serde_json::{Map, Value, json};

use crate::registry::part::no_such_part;
use crate::registry::{Registry, body};
use crate::verbs::{Body, Context, Identity, Stored, Target, WriteOptions};

/// Answers a review.
pub async fn create(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let warnings = body::field_warnings(target, &sent, options.field_validation)?;
    let mut review = sent.object;
    body::check_type(&mut review, &target.kind.api_version(), &target.kind.kind)?;
    if !review.get("metadata").is_some_and(Value::is_object) {
        review.set(&["metadata"], Map::new());
    }
    let (registry, identity) = (registry, &context.identity);
    let status = match target.kind.plural.as_ref() {
        "selfsubjectreviews" => subject::review(identity),
        "tokenreviews" => token::review(registry, &review, context.now).await?,
        "selfsubjectaccessreviews" => access::of_oneself(registry, identity, &review).await?,
        "subjectaccessreviews" => access::of_somebody(registry, &review, "SubjectAccessReview").await?,
        "localsubjectaccessreviews" => access::of_somebody_here(registry, target, &mut review).await?,
        "selfsubjectrulesreviews" => rules::review(registry, identity, &review)?,
        _ => return Err(no_such_part()),
    };
    review.set(&["status"], status);
    Ok(Stored { object: review.encode(), created: true, warnings, ..Stored::default() })
}

/// Somebody as reviews write it.
fn user_info(identity: &Identity) -> Value {
    let mut info = Map::from_iter([("username".to_owned(), json!(identity.user))]);
    if !identity.uid.is_empty() {
        info.insert("uid".to_owned(), json!(identity.uid));
    }
    if !identity.groups.is_empty() {
        info.insert("groups".to_owned(), json!(identity.groups));
    }
    if !identity.extra.is_empty() {
        info.insert("extra".to_owned(), json!(identity.extra));
    }
    Value::Object(info)
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn extra(value: Option<&Value>) -> BTreeMap<String, Vec<String>> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.map(|(name, values)| (name.clone(), texts(Some(values)))).collect()
}

/// The text of a field of the spec.
fn spec_text<'a>(review: &'a Object, field: &str) -> &'a str {
    review.str_at(&["spec", field])
}
