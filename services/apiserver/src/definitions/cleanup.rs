//! The objects of a definition that goes: they go first, then the finalizer that holds it.
//!
//! Since the definition was marked no object is made any more (creating one is on condition that the definition is
//! not marked), so an empty list stays empty.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use kinds::Kind;
use kinds::definition::{CLEANUP, set_condition};
use kinds::metadata::new_condition;
use model::{Key, Object, Reason, Status};
use serde_json::json;
use store::WatchEvent;
use tracing::{info, warn};

use super::{PAUSE, myself, settle};
use crate::registry::metadata::time_text;
use crate::registry::{Registry, decode};
use crate::verbs::{self, DeleteOptions, Propagation, Target};

/// Deletes under way at a time: enough to fill a log message, little enough to leave room for others.
const CONCURRENT: usize = 64;
/// How long it waits for a change among the objects before it looks again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Deletes the objects of the definition of that name, waits until they are gone, and lets the definition go.
pub(super) async fn run(registry: &Registry, name: &str) {
    while registry.definition(name).is_some_and(|one| one.cleans_up) {
        match step(registry, name).await {
            Ok(()) => {}
            Err(status) => {
                warn!(definition = name, "its objects cannot be deleted yet: {status}");
                tokio::time::sleep(PAUSE).await;
            }
        }
        registry.learn(name);
    }
}

async fn step(registry: &Registry, name: &str) -> Result<(), Status> {
    let Some((resource, group)) = name.split_once('.') else { return Ok(()) };
    let prefix = Key::prefix(group, resource, None);
    let listing = registry.store().list(&prefix);
    let row = registry.table().stored(&prefix).cloned();
    let (Some(row), false) = (row, listing.items.is_empty()) else {
        info!(definition = name, "no object of it is left");
        return let_go(registry, name).await;
    };
    let objects = listing.items.iter().map(decode).collect::<Result<Vec<Object>, Status>>()?;
    delete(registry, &row, objects).await?;
    // Objects with finalizers go when whoever holds them lets go.
    if let Ok(mut changes) = registry.store().watch(&prefix, listing.revision) {
        let change = async { while let Some(WatchEvent::Progress(_)) = changes.next().await {} };
        // Whatever comes, or nothing for a while: it looks again.
        let _ = tokio::time::timeout(PATIENCE, change).await;
    }
    Ok(())
}

async fn delete(registry: &Registry, row: &Arc<Kind>, objects: Vec<Object>) -> Result<(), Status> {
    let context = myself();
    let alive = objects.into_iter().filter(|object| object.deletion_timestamp().is_none());
    let each = alive.map(|object| {
        let context = &context;
        async move {
            let target = Target::object(Arc::clone(row), object.namespace(), object.name());
            let options = DeleteOptions {
                uid: Some(object.uid().to_owned()),
                propagation: Some(Propagation::Background),
                ..DeleteOptions::default()
            };
            match verbs::delete(registry, context, &target, &options).await {
                // Gone by itself, or another server was faster.
                Err(status) if !matches!(status.reason, Reason::NotFound | Reason::Conflict) => Err(status),
                _ => Ok(()),
            }
        }
    });
    let each: Vec<_> = each.collect();
    stream::iter(each).buffer_unordered(CONCURRENT).collect::<Vec<_>>().await.into_iter().collect()
}

async fn let_go(registry: &Registry, name: &str) -> Result<(), Status> {
    let now = time_text(myself().now);
    let gone = settle::change_status(registry, name, |present| {
        let mut definition = present.clone();
        let rest: Vec<&str> = present.finalizers().filter(|one| *one != CLEANUP).collect();
        match rest.as_slice() {
            [] => drop(definition.take(&["metadata", "finalizers"])),
            rest => definition.set(&["metadata", "finalizers"], json!(rest)),
        }
        let done =
            new_condition("Terminating", "False", "InstanceDeletionCompleted", "removed all instances");
        set_condition(&mut definition, done, &now);
        Ok(definition)
    });
    match gone.await {
        Err(status) if status.reason != Reason::NotFound => Err(status),
        _ => Ok(()),
    }
}
