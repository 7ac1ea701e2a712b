//! The set of a Deployment's own template: its name, its size at birth, its revision. Pure.

use super::bounds::Bounds;
use super::decide::{Drafts, Observation};
use super::draft::{DESIRED_REPLICAS, Draft, MAX_REPLICAS, REVISION, REVISION_HISTORY, sum};
use super::template;
use crate::observe::{Deployment, Strategy};

/// Annotations of a Deployment that are not its sets' too.
const NOT_INHERITED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];
/// Annotations may not grow without end; the oldest revisions are forgotten first.
const HISTORY_LENGTH_MAX: usize = 2_000;
/// More sets than this with names that another Deployment's sets have taken would not be chance.
const COLLISIONS_MAX: i32 = 100;

/// What the new set is called.
pub struct Name {
    /// Its name.
    pub name: String,
    /// Value of its hash label.
    pub hash: String,
    /// `status.collisionCount` that the hash was made with.
    pub collisions: Option<i32>,
}

/// The name of the set of the Deployment's template: that of the first hash which no other set has taken.
pub fn name(observation: &Observation<'_>) -> Name {
    let deployment = observation.deployment;
    let mut collisions = deployment.status.collision_count;
    loop {
        let hash = model::template::hash(&deployment.template.0, collisions);
        let name = format!("{}-{hash}", deployment.name());
        let is_taken = (observation.named)(&name).is_some_and(|set| {
            set.manager.as_deref() != Some(&deployment.uid)
                || !template::same(&deployment.template, &set.template, &hash)
        });
        if !is_taken || collisions >= Some(COLLISIONS_MAX) {
            return Name { name, hash, collisions };
        }
        collisions = Some(collisions.unwrap_or(0) + 1);
    }
}

/// A new set beside the others.
pub fn draft<'a>(deployment: &Deployment, drafts: &Drafts<'a>, name: String) -> Draft<'a> {
    let mut draft = Draft::new(name, deployment);
    draft.replicas = size(deployment, drafts.bounds, sum(&drafts.old, |old| old.replicas), 0);
    inherit(deployment, &mut draft);
    draft.annotations.insert(REVISION.to_owned(), next_revision(drafts).to_string());
    draft.remember_size(deployment, drafts.bounds.surge);
    draft
}

/// How far the new set may grow from `current`, when all sets together have `total` pods.
pub fn size(deployment: &Deployment, bounds: Bounds, total: i32, current: i32) -> i32 {
    match deployment.strategy {
        Strategy::Recreate => deployment.replicas,
        Strategy::RollingUpdate { .. } => {
            let room = deployment.replicas.saturating_add(bounds.surge).saturating_sub(total).max(0);
            current + room.min(deployment.replicas - current).max(0)
        }
    }
}

/// Brings the annotations and `minReadySeconds` of a new set that exists up to date: one that was rolled back to
/// gets the greatest revision.
pub fn revise(deployment: &Deployment, drafts: &mut Drafts<'_>) {
    let next = next_revision(drafts);
    let Some(new) = &mut drafts.new else { return };
    inherit(deployment, new);
    new.min_ready_seconds = deployment.min_ready_seconds;
    let current = new.revision();
    if current >= next {
        return;
    }
    if let Some(outdated) = new.annotations.insert(REVISION.to_owned(), next.to_string()) {
        remember(new, &outdated);
    }
}

/// The new set's revision, when the Deployment's annotation says otherwise.
pub fn revision_to_note(deployment: &Deployment, drafts: &Drafts<'_>) -> Option<String> {
    let revision = drafts.new.as_ref()?.annotations.get(REVISION)?;
    (deployment.annotations.get(REVISION) != Some(revision)).then(|| revision.clone())
}

fn next_revision(drafts: &Drafts<'_>) -> i64 {
    drafts.old.iter().map(Draft::revision).max().unwrap_or(0) + 1
}

fn inherit(deployment: &Deployment, draft: &mut Draft<'_>) {
    let inherited = deployment.annotations.iter().filter(|(name, _)| !NOT_INHERITED.contains(&name.as_str()));
    draft.annotations.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
}

fn remember(draft: &mut Draft<'_>, outdated: &str) {
    let known = draft.annotations.get(REVISION_HISTORY).filter(|known| !known.is_empty());
    let mut history = known.map_or_else(|| outdated.to_owned(), |known| format!("{known},{outdated}"));
    while history.len() > HISTORY_LENGTH_MAX {
        match history.split_once(',') {
            Some((_, rest)) => history = rest.to_owned(),
            None => break,
        }
    }
    draft.annotations.insert(REVISION_HISTORY.to_owned(), history);
}
