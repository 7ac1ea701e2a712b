//! THE order of a write. Everything that is stored came through [`judge_creation`] or [`judge_change`], whichever
//! verb asked for it and over whichever door; [`Registry::change`] runs them against the object that is there,
//! again for each attempt.

use bytes::Bytes;
use kinds::Kind;
use model::object::with_resource_version;
use model::{FieldError, Object, Reason, Revision, Status};
use store::Item;

use super::body::{check_place, check_type, field_warnings, fit};
use super::{
    Outcome, Part, Present, Registry, Verdict, decode, deletion, key_of, metadata, readable, served,
};
use crate::admission::{self, Operation};
use crate::verbs::{Body, Context, DeleteOptions, Stored, Target, WriteOptions};

/// Times that a taken generated name is replaced by another. A client that gets its 409 in the end would only do
/// the same.
const NAME_ATTEMPTS: usize = 8;

// === creating ===

/// Makes the object in `body`.
pub async fn create(
    registry: &Registry,
    context: &Context,
    target: &Target,
    body: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let body = fit(target, &Part::Whole, body)?;
    let mut warnings = field_warnings(target, &body, options.field_validation)?;
    let mut object = body.object;
    let kind = &target.kind;
    check_type(&mut object, &kind.api_version(), &kind.kind)?;
    check_place(&mut object, target)?;
    if !matches!(object.resource_version(), "" | "0") {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let base = object.str_at(&["metadata", "generateName"]).to_owned();
    let generated = object.name().is_empty() && !base.is_empty();
    let attempts = if generated { NAME_ATTEMPTS } else { 1 };
    let mut refused = None;
    for _ in 0..attempts {
        if generated {
            object.set(&["metadata", "name"], registry.entropy().name(&base));
        }
        match create_named(registry, context, target, &object, options).await {
            Ok((bytes, revision)) => {
                warnings.extend((kind.hooks.warnings)(&object));
                return Ok(Stored { object: bytes, created: true, revision, warnings });
            }
            Err(status) if status.reason == Reason::AlreadyExists => refused = Some(status),
            Err(status) => return Err(status),
        }
    }
    Err(refused.expect("the loop ran at least once and every other way out of it returns"))
}

async fn create_named(
    registry: &Registry,
    context: &Context,
    target: &Target,
    object: &Object,
    options: &WriteOptions,
) -> Result<(Bytes, Revision), Status> {
    let kind = &target.kind;
    let named = Target { name: object.name().to_owned(), ..target.clone() };
    let key = key_of(kind, &named.namespace, &named.name)?;
    let uid = registry.entropy().uid();
    let judge = |present: Option<&Item>| match present {
        Some(item) => Err(taken(&named, item)),
        None => judge_creation(registry, context, &named, object, &uid),
    };
    match registry.change(context, &key, options.dry_run, judge).await? {
        Outcome::Put(bytes, revision) => Ok((answer(kind, &Part::Whole, bytes)?, revision)),
        other => Err(Status::internal(format!("creating {key} ended as {other:?}"))),
    }
}

/// From the object that a client sent to the one that is stored.
fn judge_creation(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: &Object,
    uid: &str,
) -> Result<Verdict, Status> {
    let target = &*registry.current(target)?;
    let kind = &target.kind;
    refuse_terminating(kind)?;
    let mut object = sent.clone();
    let mut beside = Vec::new();
    let request = admission::Request::new(Operation::Create, registry, context, target, None);
    // First of all: a kind may need its uid, as a Job that selects its pods by it.
    metadata::on_create(kind, &mut object, uid, context.now);
    kind.default(&mut object);
    (kind.hooks.prepare_create)(&mut object);
    admission::mutate(&request, &mut object, &mut beside)?;
    kind.complete(&mut object);
    refuse_invalid(kind, &object, kind.validate(&object))?;
    admission::validate(&request, &object)?;
    Ok(Verdict::Put(registry.stored_form(kind, &object), beside))
}

/// A kind that is going gets no new objects.
fn refuse_terminating(kind: &Kind) -> Result<(), Status> {
    if !kind.custom.as_ref().is_some_and(|custom| custom.terminating) {
        return Ok(());
    }
    let mut status = Status::method_not_allowed(&kind.group, &kind.plural, "create");
    status.message = "create not allowed while custom resource definition is terminating".to_owned();
    Err(status)
}

fn taken(target: &Target, item: &Item) -> Status {
    let kind = &target.kind;
    let mut status = Status::already_exists(&kind.group, &kind.plural, &target.name);
    let going = decode(item).is_ok_and(|object| object.deletion_timestamp().is_some());
    if going {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}

// === changing ===

/// Changes the part of an object that the target names: `edit` makes the new view of it from the object that is
/// there. It runs again when another writer was first, unless the new view insists on a version.
pub async fn change(
    registry: &Registry,
    context: &Context,
    target: &Target,
    part: &Part,
    options: &WriteOptions,
    mut edit: impl FnMut(&Object) -> Result<Object, Status>,
) -> Result<Stored, Status> {
    let kind = &target.kind;
    let key = key_of(kind, &target.namespace, &target.name)?;
    let mut warnings = Vec::new();
    // What the object would be if it did not go with this change.
    let mut last = Bytes::new();
    let judge = |item: Option<&Item>| {
        let item = item.ok_or_else(|| target.not_found())?;
        let target = &*registry.current(target)?;
        let kind = &target.kind;
        let present = registry.present(kind, item.clone())?;
        let view = edit(&present.object)?;
        let (object, beside) = judge_change(registry, context, target, part, view, &present)?;
        warnings = (kind.hooks.warnings)(&object);
        let bytes = registry.stored_form(kind, &object);
        if deletion::completes(kind, &object) {
            last = with_resource_version(&bytes, item.revision);
            return Ok(Verdict::Remove(admission::released(kind, &present.object)));
        }
        match with_resource_version(&bytes, item.revision) == item.value && beside.is_empty() {
            true => Ok(Verdict::Keep),
            false => Ok(Verdict::Put(bytes, beside)),
        }
    };
    let (bytes, revision) = match registry.change(context, &key, options.dry_run, judge).await? {
        Outcome::Put(bytes, revision) => (bytes, revision),
        Outcome::Kept(item) => (item.value, Revision::ZERO),
        Outcome::Removed(_, revision) => (last, revision),
        Outcome::Absent => return Err(target.not_found()),
    };
    Ok(Stored { object: answer(kind, part, bytes)?, created: false, revision, warnings })
}

/// From the view that a client sent, or that a patch made, to the object that is stored.
fn judge_change(
    registry: &Registry,
    context: &Context,
    target: &Target,
    part: &Part,
    mut view: Object,
    present: &Present,
) -> Result<(Object, Vec<store::Op>), Status> {
    let (kind, old) = (&target.kind, &present.object);
    let (api_version, name_of_kind) = part.type_of_body(target);
    check_type(&mut view, &api_version, &name_of_kind)?;
    check_place(&mut view, target)?;
    check_preconditions(target, &view, present)?;
    let mut new = part.put(view, old)?;
    let mut beside = Vec::new();
    let request = admission::Request::new(Operation::Update, registry, context, target, Some(old));
    metadata::on_update(&mut new, old);
    kind.default(&mut new);
    part.prepare(kind, &mut new, old);
    admission::mutate(&request, &mut new, &mut beside)?;
    kind.complete(&mut new);
    metadata::on_change_of_wish(kind, &mut new, old);
    refuse_invalid(kind, &new, part.validate(kind, &new, old))?;
    admission::validate(&request, &new)?;
    Ok((new, beside))
}

/// A version or a uid in the view means that exactly that object is to be changed.
fn check_preconditions(target: &Target, view: &Object, present: &Present) -> Result<(), Status> {
    let kind = &target.kind;
    match view.resource_version() {
        "" | "0" if !kind.unconditional_update && target.subresource.is_empty() => {
            let why = "must be specified for an update";
            let wrong = FieldError::invalid("metadata.resourceVersion", "", why);
            return Err(Status::invalid(&kind.group, &kind.kind, &target.name, &[wrong]));
        }
        "" | "0" => (),
        version if version == present.object.resource_version() => (),
        _ => return Err(target.modified()),
    }
    match (view.uid(), present.object.uid()) {
        ("", _) => Ok(()),
        (wanted, found) if wanted == found => Ok(()),
        (wanted, found) => {
            let why = format!("UID in precondition: {wanted}, UID in object meta: {found}");
            Err(target.conflict(&format!("Precondition failed: {why}")))
        }
    }
}

// === deleting ===

/// Removes an object, or marks it for removal.
pub async fn remove(
    registry: &Registry,
    context: &Context,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Removed, Status> {
    let kind = &target.kind;
    let key = key_of(kind, &target.namespace, &target.name)?;
    let judge = |item: Option<&Item>| {
        let item = item.ok_or_else(|| target.not_found())?;
        let target = &*registry.current(target)?;
        let kind = &target.kind;
        let present = registry.present(kind, item.clone())?;
        let request =
            admission::Request::new(Operation::Delete, registry, context, target, Some(&present.object));
        deletion::check_preconditions(target, &present.object, options)?;
        admission::validate(&request, &present.object)?;
        Ok(match deletion::decide(kind, &present.object, options, context.now) {
            deletion::Removal::Now => Verdict::Remove(admission::released(kind, &present.object)),
            deletion::Removal::Marked(marked) => {
                Verdict::Put(registry.stored_form(kind, &marked), Vec::new())
            }
            deletion::Removal::Pending => Verdict::Keep,
        })
    };
    match registry.change(context, &key, options.dry_run, judge).await? {
        Outcome::Put(bytes, revision) => Ok(Removed::Marked(answer(kind, &Part::Whole, bytes)?, revision)),
        Outcome::Kept(item) => Ok(Removed::Marked(answer(kind, &Part::Whole, item.value)?, Revision::ZERO)),
        Outcome::Removed(item, revision) => {
            Ok(Removed::Gone(answer(kind, &Part::Whole, item.value)?, revision))
        }
        Outcome::Absent => Err(target.not_found()),
    }
}

/// What became of a delete, and the place of the write in the log; zero where nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The object stays until those who hold it let go.
    Marked(Bytes, Revision),
    /// It is gone; as it was.
    Gone(Bytes, Revision),
}

// === what they have in common ===

fn refuse_invalid(kind: &Kind, object: &Object, errors: Vec<FieldError>) -> Result<(), Status> {
    match errors.as_slice() {
        [] => Ok(()),
        errors => Err(Status::invalid(&kind.group, &kind.kind, object.name(), errors)),
    }
}

/// Stored bytes as the client sees them: untouched wherever the stored form is the served one.
pub fn answer(kind: &Kind, part: &Part, bytes: Bytes) -> Result<Bytes, Status> {
    if part.shows_whole() && kind.serves_as_stored(&bytes) {
        return Ok(bytes);
    }
    let object: Object = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    readable(kind, &object)?;
    let view = part.view(&served(kind, object));
    serde_json::to_vec(&view).map(Bytes::from).map_err(Status::internal)
}
