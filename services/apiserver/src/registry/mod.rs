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

use std::borrow::Cow;
use std::sync::Arc;

use kinds::{Kind, Table};
use model::{Key, Object, Revision, Status};
use schema::Schemas;
use store::{Guard, Item, Store};
use tokio::sync::watch;

pub mod binding;
pub mod body;
pub mod bootstrap;
pub mod cluster_info;
pub mod commit;
pub mod deletion;
pub mod entropy;
pub mod metadata;
pub mod part;
pub mod pipeline;

mod metrics;

pub use bootstrap::own_identity;
pub use commit::{Outcome, Verdict};
pub use entropy::Entropy;
pub use part::Part;

use crate::authorization::Authorizer;
use crate::definitions;
use crate::definitions::catalog::Catalog;
use crate::definitions::decide::Summary;
use crate::identity::Tokens;
use crate::leadership::Leaders;
use crate::nodes::Heartbeats;
use crate::verbs::Target;

/// The state that every request shares.
pub struct Registry {
    store: Store,
    catalog: Catalog,
    schemas: &'static Schemas,
    entropy: Entropy,
    heartbeats: Arc<Heartbeats>,
    leaders: Leaders,
    authorizer: Authorizer,
    tokens: Option<Tokens>,
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
            catalog: Catalog::new(table, &store),
            authorizer: Authorizer::new(store.clone()),
            store,
            schemas,
            entropy,
            heartbeats: Arc::new(Heartbeats::default()),
            leaders: Leaders::default(),
            tokens: None,
        }
    }

    /// The same registry, which signs and knows tokens.
    pub fn with_tokens(self, tokens: Tokens) -> Registry {
        Registry { tokens: Some(tokens), ..self }
    }

    /// The state and the log.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The kinds that are served at this moment.
    pub fn table(&self) -> Arc<Table> {
        self.catalog.table()
    }

    /// Tells of each new table.
    pub fn table_changes(&self) -> watch::Receiver<Arc<Table>> {
        self.catalog.changes()
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

    /// When each leader was last heard of.
    pub fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    /// Who may do what.
    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// Who shows which token; `None` on a server that knows none.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// The row of a resource.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        // The state may hold a definition that the table has not taken in yet.
        self.table().find(group, version, plural).or_else(|| {
            let learned = !group.is_empty() && self.learn(&format!("{plural}.{group}"));
            learned.then(|| self.table().find(group, version, plural)).flatten()
        })
    }

    /// As [`Registry::kind`], but a kind is only missing if the log has none: another server may have made it just now.
    pub async fn find_kind(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Result<Option<Arc<Kind>>, Status> {
        let at_hand = self.kind(group, version, plural);
        if at_hand.is_some() || group.is_empty() {
            return Ok(at_hand);
        }
        self.catch_up(&definitions::prefix()).await?;
        Ok(self.kind(group, version, plural))
    }

    /// What is known of the definitions of custom kinds, in the order in which they were made; of one group, or of all.
    pub fn definitions(&self, group: Option<&str>) -> Vec<Arc<Summary>> {
        self.catalog.summaries(group)
    }

    /// What is known of the definition of a custom kind.
    pub fn definition(&self, name: &str) -> Option<Arc<Summary>> {
        self.catalog.summary(name)
    }

    /// Takes in a definition as the state has it; says whether that made another table.
    pub fn learn(&self, definition: &str) -> bool {
        self.catalog.learn(&self.store, definition)
    }

    /// Takes in every definition that the state has.
    pub fn learn_all(&self) {
        self.catalog.learn_all(&self.store);
    }

    /// The target with the row that its kind has now: the definition of a custom kind may have changed since the
    /// request came.
    pub fn current<'a>(&self, target: &'a Target) -> Result<Cow<'a, Target>, Status> {
        let Some(custom) = &target.kind.custom else { return Ok(Cow::Borrowed(target)) };
        self.learn(&custom.definition);
        let (group, version, plural) = (&target.kind.group, &target.kind.version, &target.kind.plural);
        let table = self.table();
        let stored =
            || table.stored(&Key::prefix(group, plural, None)).filter(|row| row.version == *version).cloned();
        let row = table.find(group, version, plural).or_else(stored).ok_or_else(part::no_such_part)?;
        match Arc::ptr_eq(&row, &target.kind) {
            true => Ok(Cow::Borrowed(target)),
            false => Ok(Cow::Owned(Target { kind: row, ..target.clone() })),
        }
    }

    /// What a write to `key` depends on besides the object: that the definition of a custom kind is the one that
    /// judges it.
    fn guards(&self, key: &Key) -> Vec<Guard> {
        let table = self.table();
        let custom = table.stored(key.collection()).and_then(|row| row.custom.as_ref());
        let definition = custom.and_then(|custom| self.store.get(&definitions::key(&custom.definition)));
        definition.map(|item| Guard { key: item.key, expect: item.revision }).into_iter().collect()
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
        let stored = decode(&item)?;
        readable(kind, &stored)?;
        let object = served(kind, stored);
        Ok(Present { item, object })
    }

    /// The bytes of an object in the form in which its collection is kept.
    pub fn stored_form(&self, kind: &Kind, object: &Object) -> bytes::Bytes {
        if kind.hooks.from_storage.is_none() && kind.custom.is_none() {
            return object.encode();
        }
        let mut stored = object.clone();
        kind.to_storage(&mut stored);
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
    kind.from_storage(&mut object);
    object
}

/// Whether the stored form can be told in the version that `kind` serves.
pub fn readable(kind: &Kind, stored: &Object) -> Result<(), Status> {
    let custom = kind.custom.as_ref();
    match custom.and_then(|custom| custom.unreadable(stored.str_at(&["apiVersion"]))) {
        Some(why) => Err(Status::internal(why)),
        None => Ok(()),
    }
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
