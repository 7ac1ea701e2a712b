//! Writes what [`decide`] decides, and sees to the objects of definitions that go.

use std::collections::HashSet;
use std::sync::Arc;

use model::{Object, Reason, Status};
use runtime::Shutdown;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::decide::{Decision, Judgement, Summary, decide};
use super::{Changes, PAUSE, cleanup, myself};
use crate::registry::metadata::time_text;
use crate::registry::{Part, Registry, pipeline};
use crate::verbs::{Target, WriteOptions};

/// Settles definitions until `shutdown`.
pub(super) async fn run(registry: &Arc<Registry>, shutdown: &Shutdown) {
    let mut cleaning = Cleaning::default();
    let mut changes = Changes::new(registry);
    let mut again = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(name) = cleaning.tasks.join_next() => {
                cleaning.names.remove(&name.unwrap_or_default());
                continue;
            }
            () = at(again) => {}
            name = changes.next() => match name {
                Some(name) => drop(registry.learn(&name)),
                None => registry.learn_all(),
            },
        }
        again = settle_all(registry, &mut cleaning).await;
    }
}

/// Objects that are being deleted with their definition.
#[derive(Default)]
struct Cleaning {
    names: HashSet<String>,
    tasks: JoinSet<String>,
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Decides about every definition; says when to try again what failed.
async fn settle_all(registry: &Arc<Registry>, cleaning: &mut Cleaning) -> Option<Instant> {
    let mut failed = false;
    for name in registry.definitions().into_iter().map(|one| one.name) {
        // What was just written to another one counts already.
        let all = registry.definitions();
        let Some(one) = all.iter().find(|one| one.name == name) else { continue };
        if one.cleans_up && cleaning.names.insert(name.clone()) {
            let registry = Arc::clone(registry);
            cleaning.tasks.spawn(async move {
                cleanup::run(&registry, &name).await;
                name
            });
        }
        if let Decision::Status(judgement) = decide(one, &all, &registry.table()) {
            failed |= write(registry, one, &judgement).await.is_err();
        }
    }
    failed.then(|| Instant::now() + PAUSE)
}

/// Writes a status, if the definition is still the one that was judged; else a change of it is on its way here.
async fn write(registry: &Registry, one: &Summary, judgement: &Judgement) -> Result<(), Status> {
    let context = myself();
    let now = time_text(context.now);
    let revision = one.revision.to_string();
    let written = change_status(registry, &one.name, |present| {
        let mut definition = present.clone();
        definition.set(&["metadata", "resourceVersion"], revision.as_str());
        judgement.apply(&mut definition, &now);
        Ok(definition)
    });
    match written.await {
        Ok(()) => {
            registry.learn(&one.name);
            match &judgement.conflict {
                None => info!(definition = one.name, "the kind is served"),
                Some((reason, message)) => info!(definition = one.name, reason, "{message}"),
            }
            Ok(())
        }
        Err(status) if matches!(status.reason, Reason::Conflict | Reason::NotFound) => Ok(()),
        Err(status) => {
            warn!(definition = one.name, "its status cannot be written: {status}");
            Err(status)
        }
    }
}

/// Changes the status of a definition.
pub(super) async fn change_status(
    registry: &Registry,
    name: &str,
    edit: impl FnMut(&Object) -> Result<Object, Status>,
) -> Result<(), Status> {
    let kind = registry
        .kind(kinds::definition::GROUP, "v1", kinds::definition::PLURAL)
        .ok_or_else(|| Status::internal("definitions are not served"))?;
    let target = Target::object(kind, "", name).at("status");
    let options = WriteOptions::default();
    pipeline::change(registry, &myself(), &target, &Part::Status, &options, edit).await.map(drop)
}
