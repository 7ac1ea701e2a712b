//! A Deployment whose size changes, in the middle of a rollout perhaps: its sets share the change. Pure.

use super::decide::Drafts;
use super::draft::{DESIRED_REPLICAS, Draft, MAX_REPLICAS, sum};
use crate::observe::{Deployment, Strategy};

/// Gives the sets their share of the Deployment's size.
pub fn scale(deployment: &Deployment, drafts: &mut Drafts<'_>) {
    let surge = drafts.bounds.surge;
    if let Some(only) = active_or_newest(drafts) {
        if only.replicas != deployment.replicas {
            only.scale(deployment.replicas, deployment, surge);
        } else if only.is_active() {
            only.remember_size(deployment, surge);
        }
    } else if drafts.new.as_ref().is_some_and(|new| is_saturated(deployment, new)) {
        drafts.active_old().for_each(|old| old.scale(0, deployment, surge));
    } else if deployment.strategy != Strategy::Recreate {
        share(deployment, drafts);
    }
}

/// The one set with pods; if none has any, the newest. `None` when several have.
fn active_or_newest<'d, 'a>(drafts: &'d mut Drafts<'a>) -> Option<&'d mut Draft<'a>> {
    match drafts.all().filter(|draft| draft.is_active()).count() {
        0 => drafts.new.as_mut().or(drafts.old.last_mut()),
        1 => drafts.old.iter_mut().chain(&mut drafts.new).find(|draft| draft.is_active()),
        _ => None,
    }
}

/// Whether the new set is all that is wanted, and serves.
fn is_saturated(deployment: &Deployment, new: &Draft<'_>) -> bool {
    let wanted = deployment.replicas;
    new.replicas == wanted
        && new.number(DESIRED_REPLICAS) == Some(i64::from(wanted))
        && new.status().available_replicas.unwrap_or(0) == wanted
}

fn share(deployment: &Deployment, drafts: &mut Drafts<'_>) {
    let surge = drafts.bounds.surge;
    let allowed = if deployment.replicas > 0 { deployment.replicas.saturating_add(surge) } else { 0 };
    let Drafts { new, old, .. } = drafts;
    let mut active: Vec<&mut Draft<'_>> =
        old.iter_mut().chain(new).filter(|draft| draft.is_active()).collect();
    let change = allowed - sum(active.iter().map(|draft| &**draft), |draft| draft.replicas);
    // Larger ones first; of equal ones the newer grows first and the older shrinks first.
    active.sort_by(|a, b| {
        let older = a.created().cmp(&b.created());
        b.replicas.cmp(&a.replicas).then(if change > 0 { older.reverse() } else { older })
    });
    let mut left = change;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for draft in &active {
        let share = fraction(deployment, draft, allowed);
        let share = if change > 0 { share.min(left) } else { share.max(left) };
        let share = if left == 0 { 0 } else { share };
        left -= share;
        sizes.push(draft.replicas + share);
    }
    for (index, (draft, size)) in active.into_iter().zip(sizes).enumerate() {
        // What rounding leaves goes to the largest.
        let size = if index == 0 { size + left } else { size };
        draft.scale(size.max(0), deployment, surge);
    }
}

/// What a set would gain (or lose) if it kept its part of the whole.
fn fraction(deployment: &Deployment, draft: &Draft<'_>, allowed: i32) -> i32 {
    if deployment.replicas == 0 {
        return -draft.replicas;
    }
    let before = draft.number(MAX_REPLICAS).filter(|before| *before > 0);
    let before = before.unwrap_or_else(|| i64::from(deployment.status.replicas.unwrap_or(0)));
    if before == 0 {
        return 0;
    }
    let size = f64::from(draft.replicas) * f64::from(allowed) / before as f64;
    size.round() as i32 - draft.replicas
}
