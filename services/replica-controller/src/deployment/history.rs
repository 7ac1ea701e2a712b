//! Old sets that nobody will roll back to. Pure.

use super::decide::Drafts;
use crate::observe::{Deployment, Set};

/// The sets beyond the history limit, lowest revisions first, if they have no pods.
pub fn to_delete<'a>(deployment: &Deployment, drafts: &Drafts<'a>) -> Vec<&'a Set> {
    let Some(limit) = deployment.history_limit else { return Vec::new() };
    let mut alive: Vec<_> =
        drafts.old.iter().filter(|old| old.set.is_some_and(|set| !set.deleting)).collect();
    let excess = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by_key(|old| old.revision());
    let sets = alive.into_iter().take(excess).filter_map(|old| old.set.filter(|_| old.replicas == 0));
    sets.filter(|set| is_empty(set)).collect()
}

fn is_empty(set: &Set) -> bool {
    set.replicas == 0 && set.status.replicas == 0 && set.status.observed_generation >= Some(set.generation)
}
