//! What may be asked of the API: one file a verb, generic over the kind, without HTTP.
//!
//! ```text
//!  http ──┐  Target (which resource) + Options       ┌─> Stored, ListResult, WatchStream, Deleted
//!         ├─> create get list watch update patch ────┤
//!  bus  ──┘   delete delete_collection               └─> or a Status that says why not
//!                 │ reads: the store's state
//!                 └ writes: registry::pipeline, the one write path
//! ```
//! Objects go out as the bytes that the store keeps, with `metadata.resourceVersion` in them. Absent on purpose:
//! content types, tables and partial objects (they are views that `http` makes of these bytes), authorization.

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::command::Guard;
use bytes::Bytes;
use jiff::Timestamp;
use kinds::Kind;
use model::{Object, Revision, Status};
use serde_json::{Value, json};

mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod patch;
mod select;
mod update;
mod watch;

pub use create::create;
pub use delete::{delete, delete_noted};
pub use delete_collection::delete_collection;
pub use get::get;
pub use list::list;
pub use patch::patch;
pub use update::update;
pub use watch::{WatchStream, watch};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The name, as `kubernetes-admin` or `system:serviceaccount:default:default`.
    pub user: String,
    /// A stable id of the user, empty if the authenticator knows none.
    pub uid: String,
    /// Groups, as `system:masters`.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Who asks, and when: what a verb knows of the request besides its content.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Who.
    pub identity: Identity,
    /// When; every timestamp that the request leads to is this one.
    pub now: Timestamp,
    /// What must hold for the write to count.
    pub guard: Option<Arc<Guard>>,
}

/// Which resource a request is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// The row.
    pub kind: Arc<Kind>,
    /// Empty for a cluster-scoped resource, or for a list over every namespace.
    pub namespace: String,
    /// Empty for the collection.
    pub name: String,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: String,
}

/// A decoded request body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The object, unknown fields already gone.
    pub object: Object,
    /// Paths of fields that its type does not know, as `spec.foo`.
    pub unknown: Vec<String>,
    /// Paths of fields that were there twice.
    pub duplicate: Vec<String>,
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Refuse the request.
    Strict,
    /// Accept it with a warning for each.
    #[default]
    Warn,
    /// Accept it in silence.
    Ignore,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Do everything but the write.
    pub dry_run: bool,
    /// What to do about unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Who the fields belong to from now on, as `kubectl-edit`.
    pub field_manager: String,
    /// For an apply patch: take fields over from other managers.
    pub force: bool,
}

/// The format of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`
    Json,
    /// `application/merge-patch+json`
    Merge,
    /// `application/strategic-merge-patch+json`
    Strategic,
    /// `application/apply-patch+yaml`
    Apply,
}

/// A patch as it was sent, as JSON.
#[derive(Clone, Debug)]
pub struct Patch {
    /// How to read it.
    pub kind: PatchKind,
    /// JSON; an apply patch in YAML is converted by whoever received it.
    pub body: Bytes,
}

/// Options of get.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Empty: the newest; `0`: whatever is at hand; else: not older than this.
    pub resource_version: String,
}

/// Options of list, as the query has them; also says what delete_collection deletes.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `app=web,tier in (a,b)`
    pub label_selector: String,
    /// `spec.nodeName=node-1`
    pub field_selector: String,
    /// Empty: the newest; `0`: whatever is at hand; else see `resource_version_match`.
    pub resource_version: String,
    /// `NotOlderThan`, `Exact` or empty.
    pub resource_version_match: String,
    /// Objects in the answer at most; 0 for all.
    pub limit: usize,
    /// The `continue` of the page before.
    pub continue_token: String,
    /// Only allowed on watch; given here so that it can be refused.
    pub send_initial_events: Option<bool>,
}

/// Options of watch, as the query has them. Its end (`timeoutSeconds`) is up to whoever holds the stream.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// `app=web`
    pub label_selector: String,
    /// `spec.nodeName=node-1`
    pub field_selector: String,
    /// Changes after this; empty or `0`: begin with an ADDED for each object that is there.
    pub resource_version: String,
    /// `NotOlderThan` or empty.
    pub resource_version_match: String,
    /// Whether to begin with what is there.
    pub send_initial_events: Option<bool>,
    /// The client understands BOOKMARK events.
    pub allow_bookmarks: bool,
}

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without an owner.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// Options of delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// How long the object may take to end; `None` for what it says itself.
    pub grace_period_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only the object at this version.
    pub resource_version: Option<String>,
    /// What becomes of what it owns; `None` for what the object says.
    pub propagation: Option<Propagation>,
    /// Do everything but the write.
    pub dry_run: bool,
}

/// An object as it is stored now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// JSON with `metadata.resourceVersion`.
    pub object: Bytes,
    /// It was not there before: 201.
    pub created: bool,
    /// The place of the write in the log; zero where nothing was written.
    pub revision: Revision,
    /// To be told to the client in `Warning` headers.
    pub warnings: Vec<String>,
}

/// A list of objects at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListResult {
    /// JSON each.
    pub items: Vec<Bytes>,
    /// `metadata.resourceVersion` of the list.
    pub revision: Revision,
    /// `metadata.continue`, empty when this is the last page.
    pub continue_token: String,
    /// `metadata.remainingItemCount`.
    pub remaining: Option<usize>,
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchItem {
    /// What happened.
    pub kind: WatchKind,
    /// JSON: the object, for an error a Status.
    pub object: Bytes,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// It is there now, or the selector matches it now.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or the selector no longer matches it.
    Deleted,
    /// Nothing: everything up to this `resourceVersion` was sent.
    Bookmark,
    /// The watch has failed and ends.
    Error,
}

/// The result of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The object, on its way out or, for some kinds, as it was.
    Object(Bytes),
    /// It is gone: a Status of success as JSON.
    Status(Bytes),
}

// === impl WatchKind ===

impl WatchKind {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            WatchKind::Added => "ADDED",
            WatchKind::Modified => "MODIFIED",
            WatchKind::Deleted => "DELETED",
            WatchKind::Bookmark => "BOOKMARK",
            WatchKind::Error => "ERROR",
        }
    }
}

// === impl Deleted ===

impl Deleted {
    /// The JSON to answer with.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Deleted::Object(bytes) | Deleted::Status(bytes) => bytes,
        }
    }
}

// === impl FieldValidation ===

impl FieldValidation {
    /// The value of the query's `fieldValidation`; `None` for one that there is not.
    pub fn parse(text: &str) -> Option<FieldValidation> {
        match text {
            "Strict" => Some(FieldValidation::Strict),
            "" | "Warn" => Some(FieldValidation::Warn),
            "Ignore" => Some(FieldValidation::Ignore),
            _ => None,
        }
    }
}

// === impl DeleteOptions ===

impl DeleteOptions {
    /// Reads a `DeleteOptions` object.
    pub fn from_object(object: &Object) -> Result<DeleteOptions, Status> {
        let text = |path: &[&str]| object.at(path).and_then(Value::as_str).map(str::to_owned);
        let named = text(&["propagationPolicy"]).map(|policy| Propagation::parse(&policy)).transpose()?;
        let orphan = object.get("orphanDependents").and_then(Value::as_bool);
        if named.is_some() && orphan.is_some() {
            let both = "orphanDependents and deletionPropagation cannot be both set";
            return Err(invalid_delete_options("propagationPolicy", &text(&["propagationPolicy"]), both));
        }
        let dry_run = match object.get("dryRun").and_then(Value::as_array).map(Vec::as_slice) {
            None | Some([]) => false,
            Some([Value::String(all)]) if all == "All" => true,
            Some(other) => {
                let wrong = model::FieldError::not_supported("dryRun", json!(other), &["All"]);
                return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &[wrong]));
            }
        };
        Ok(DeleteOptions {
            grace_period_seconds: object.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            propagation: named.or(orphan.map(Propagation::of_orphan_dependents)),
            dry_run,
        })
    }
}

fn invalid_delete_options(field: &str, value: &Option<String>, why: &str) -> Status {
    let wrong = model::FieldError::invalid(field, json!(value), why);
    Status::invalid("meta.k8s.io", "DeleteOptions", "", &[wrong])
}

// === impl Propagation ===

impl Propagation {
    /// The value of `propagationPolicy`.
    pub fn parse(text: &str) -> Result<Propagation, Status> {
        match text {
            "Orphan" => Ok(Propagation::Orphan),
            "Background" => Ok(Propagation::Background),
            "Foreground" => Ok(Propagation::Foreground),
            other => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                let wrong = model::FieldError::not_supported("propagationPolicy", other, &supported);
                Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &[wrong]))
            }
        }
    }

    /// What the older option `orphanDependents` means.
    pub const fn of_orphan_dependents(orphan: bool) -> Propagation {
        if orphan { Propagation::Orphan } else { Propagation::Background }
    }
}

// === impl Target ===

impl Target {
    /// An object.
    pub fn object(kind: Arc<Kind>, namespace: &str, name: &str) -> Target {
        Target { kind, namespace: namespace.to_owned(), name: name.to_owned(), subresource: String::new() }
    }

    /// A collection; over every namespace when `namespace` is empty and the kind has namespaces.
    pub fn collection(kind: Arc<Kind>, namespace: &str) -> Target {
        Target::object(kind, namespace, "")
    }

    /// A subresource of the same object.
    pub fn at(mut self, subresource: &str) -> Target {
        self.subresource = subresource.to_owned();
        self
    }

    /// 404 for the object.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.kind.group, &self.kind.plural, &self.name)
    }

    /// 409 for another version than the one asked for.
    pub fn modified(&self) -> Status {
        Status::modified(&self.kind.group, &self.kind.plural, &self.name)
    }

    /// 409 for a precondition that does not hold.
    pub fn conflict(&self, why: &str) -> Status {
        Status::conflict(&self.kind.group, &self.kind.plural, &self.name, why)
    }
}
