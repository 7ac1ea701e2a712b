//! Make it so: the one way in which objects are written.
//!
//! ```text
//!  verbs ─> part (which part of the object, how it is seen and put back)
//!             │
//!             v
//!         pipeline: default ─> prepare ─> admission ─> metadata ─> validate ─> admission     pure, per attempt
//!             │        deletion (grace, finalizers: what a delete or a last finalizer comes to)
//!             v
//!         commit: judge the object that is there ─> transaction ─> outcome, or judge again
//! ```
//! Nothing is written but by [`Registry::change`], and what is written was judged against exactly the object that
//! it replaces.

use std::sync::{Arc, RwLock};

use kinds::{Kind, Table};
use model::{Key, Object, Revision, Status};
use schema::Schemas;
use store::{Item, Store};

pub mod binding;
pub mod body;
pub mod bootstrap;
pub mod commit;
pub mod deletion;
pub mod entropy;
pub mod metadata;
pub mod part;
pub mod pipeline;

mod metrics;

pub use commit::{Outcome, Verdict};
pub use entropy::Entropy;
pub use part::Part;

use crate::nodes::Heartbeats;

/// The state that every request shares.
pub struct Registry {
    store: Store,
    table: RwLock<Arc<Table>>,
    schemas: &'static Schemas,
    entropy: Entropy,
    heartbeats: Arc<Heartbeats>,
}

/// An object that is there.
#[derive(Clone, Debug)]
pub struct Present {
    /// As the store has it.
    pub item: Item,
    /// Decoded, in the form in which the request's version serves it.
    pub object: Object,
}

// === impl Registry ===

impl Registry {
    /// A registry over `store` with these kinds.
    pub fn new(store: Store, table: Table, schemas: &'static Schemas, entropy: Entropy) -> Registry {
        Registry {
            store,
            table: RwLock::new(Arc::new(table)),
            schemas,
            entropy,
            heartbeats: Arc::new(Heartbeats::default()),
        }
    }

    /// The state and the log.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The kinds that are served at this moment.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().expect("nobody panics while holding the table"))
    }

    /// The types of the built-in kinds.
    pub fn schemas(&self) -> &'static Schemas {
        self.schemas
    }

    /// Where names, uids and addresses come from.
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// When each node was last heard of.
    pub fn heartbeats(&self) -> &Arc<Heartbeats> {
        &self.heartbeats
    }

    /// The row of a resource.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.table().find(group, version, plural)
    }

    /// Waits until the state is as new as the log was when this was called, for objects under `prefix` (a key is one).
    pub async fn catch_up(&self, prefix: &str) -> Result<Revision, Status> {
        self.store.barrier_of(prefix).await.map_err(unavailable)
    }

    /// Waits until the state under `prefix` is at least as new as `revision`, which a client has seen somewhere.
    ///
    /// A revision that the log has not reached is refused as upstream does, so that the client tries again.
    pub async fn catch_up_to(&self, prefix: &str, revision: Revision) -> Result<(), Status> {
        if self.store.revision_of(prefix) >= revision {
            return Ok(());
        }
        let newest = self.catch_up(prefix).await?;
        if newest >= revision { Ok(()) } else { Err(too_large(revision, newest)) }
    }

    /// The object as the request's version serves it.
    pub fn present(&self, kind: &Kind, item: Item) -> Result<Present, Status> {
        let object = served(kind, decode(&item)?);
        Ok(Present { item, object })
    }

    /// The bytes of an object in the form in which its collection is kept.
    pub fn stored_form(&self, kind: &Kind, object: &Object) -> bytes::Bytes {
        if kind.hooks.from_storage.is_none() {
            return object.encode();
        }
        let mut stored = object.clone();
        (kind.hooks.to_storage)(&mut stored);
        stored.encode()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// The key of an object of a kind.
pub fn key_of(kind: &Kind, namespace: &str, name: &str) -> Result<Key, Status> {
    let (group, resource) = storage_of(kind)?;
    Ok(Key::object(group, resource, if kind.namespaced { namespace } else { "" }, name))
}

/// Group and resource under which objects of a kind are kept; 405 for a kind that is never kept.
pub fn storage_of(kind: &Kind) -> Result<(&str, &str), Status> {
    kind.storage_key().ok_or_else(|| Status::method_not_allowed(&kind.group, &kind.plural, "the request"))
}

/// The object in an item. What was committed through the registry always decodes.
pub fn decode(item: &Item) -> Result<Object, Status> {
    serde_json::from_slice(&item.value)
        .map_err(|error| Status::internal(format!("stored object {} is not JSON: {error}", item.key)))
}

/// From the stored form to the one that `kind` serves.
pub fn served(kind: &Kind, mut object: Object) -> Object {
    if let Some(from_storage) = kind.hooks.from_storage {
        from_storage(&mut object);
        kind.stamp(&mut object);
    }
    object
}

/// 503 while the log is away.
pub fn unavailable(error: store::Unavailable) -> Status {
    Status::unavailable(error.to_string())
}

/// 504 for a revision that the log has not reached.
fn too_large(asked: Revision, newest: Revision) -> Status {
    let message = format!("Too large resource version: {asked}, current: {newest}");
    let mut status = Status::new(model::Reason::Timeout, message);
    status.retry_after_seconds = 1;
    status.causes.push(model::status::Cause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    status
}
