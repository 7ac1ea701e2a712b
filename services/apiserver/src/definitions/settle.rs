//! Writes what [`decide`] decides, and sees to the objects of definitions that go.

use std::collections::{BTreeSet, HashSet};
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
    // Groups that have to be looked at again, and when.
    let mut failed: BTreeSet<String> = BTreeSet::new();
    let mut again = None;
    loop {
        let mut groups = BTreeSet::new();
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(name) = cleaning.tasks.join_next() => {
                cleaning.names.remove(&name.unwrap_or_default());
            }
            () = at(again) => (groups, again) = (std::mem::take(&mut failed), None),
            name = changes.next() => match name {
                Some(name) => {
                    registry.learn(&name);
                    groups.extend(group_of(&name).map(str::to_owned));
                    cleaning.begin(registry, &name);
                }
                None => {
                    registry.learn_all();
                    for one in registry.definitions(None) {
                        groups.insert(one.group.clone());
                        cleaning.begin(registry, &one.name);
                    }
                }
            },
        }
        for group in groups {
            if !settle(registry, &group).await {
                failed.insert(group);
                again = again.or_else(|| Some(Instant::now() + PAUSE));
            }
        }
    }
}

/// The group of the kind that a definition of that name defines.
fn group_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, group)| group)
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Decides about the definitions of a group; says whether all could be written.
async fn settle(registry: &Registry, group: &str) -> bool {
    let mut fine = true;
    let open = registry.definitions(Some(group)).into_iter().filter(|one| !one.is_content());
    for name in open.map(|one| one.name.clone()) {
        // What was just written to another one counts already.
        let all = registry.definitions(Some(group));
        let Some(one) = all.iter().find(|one| one.name == name) else { continue };
        if let Decision::Status(judgement) = decide(one, &all, &registry.table()) {
            fine &= write(registry, one, &judgement).await.is_ok();
        }
    }
    fine
}

/// Objects that are being deleted with their definition.
#[derive(Default)]
struct Cleaning {
    names: HashSet<String>,
    tasks: JoinSet<String>,
}

// === impl Cleaning ===

impl Cleaning {
    /// Sees to the objects of a definition, if it goes and nobody does so yet.
    fn begin(&mut self, registry: &Arc<Registry>, name: &str) {
        let goes = registry.definition(name).is_some_and(|one| one.cleans_up);
        if goes && self.names.insert(name.to_owned()) {
            let (registry, name) = (Arc::clone(registry), name.to_owned());
            self.tasks.spawn(async move {
                cleanup::run(&registry, &name).await;
                name
            });
        }
    }
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
