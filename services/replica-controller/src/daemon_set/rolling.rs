//! Which old pods make way for new ones. Pure.
//!
//! ```text
//!  no surge:  old pod deleted ──> its node counts as unavailable ──> new pod comes, serves
//!  surge:     new pod beside the old one ──> it serves ──> the old one is deleted
//! ```

use super::spot::{Living, Measure, Spot};
use crate::deployment::bounds::{round_up, scaled};
use crate::observe::{DaemonPod, Update};

/// A step of an update.
#[derive(Debug, Default, PartialEq)]
pub struct Step<'a> {
    /// Old pods that go.
    pub delete: Vec<&'a DaemonPod>,
    /// Nodes that get a new pod beside the old one.
    pub create: Vec<&'a str>,
}

/// Whether new pods may come beside old ones: the update's surge on this many nodes.
pub fn surge(update: &Update, wanted: usize) -> usize {
    match update {
        Update::OnDelete => 0,
        Update::RollingUpdate { max_surge, .. } => count(scaled(max_surge, number(wanted), round_up)),
    }
}

/// The next step. What is missing or too much on a node was seen to before.
pub fn step<'a>(update: &Update, spots: &[Spot<'a>], measure: &Measure<'_>) -> Step<'a> {
    let Update::RollingUpdate { max_unavailable, .. } = update else { return Step::default() };
    let wanted = spots.iter().filter(|spot| spot.is_wanted()).count();
    let surge = surge(update, wanted);
    if surge > 0 {
        return with_surge(spots, measure, surge);
    }
    let missing = count(scaled(max_unavailable, number(wanted), round_up));
    // Neither more nor less would be no update at all.
    without_surge(spots, measure, missing.max(1))
}

/// Old pods that do not serve go at once, others as long as not too many nodes are without.
fn without_surge<'a>(spots: &[Spot<'a>], measure: &Measure<'_>, max_unavailable: usize) -> Step<'a> {
    let mut unavailable = 0;
    let (mut delete, mut candidates) = (Vec::new(), Vec::new());
    for spot in spots.iter().filter(|spot| spot.is_wanted() || spot.is_borne()) {
        match spot.pair(measure) {
            Some(Living { new: Some(new), old: None }) if measure.is_available(new) => {}
            Some(Living { new: None, old: Some(old) }) if measure.is_available(old) => candidates.push(old),
            Some(Living { new: None, old: Some(old) }) => delete.push(old),
            // A pod is missing, on its way, or one too many: it will be seen to, and until then none serves for sure.
            _ => unavailable += 1,
        }
    }
    delete.extend(candidates.into_iter().take(max_unavailable.saturating_sub(unavailable)));
    Step { delete, create: Vec::new() }
}

/// New pods come where the old one does not serve, elsewhere as long as not too many nodes have two.
fn with_surge<'a>(spots: &[Spot<'a>], measure: &Measure<'_>, max_surge: usize) -> Step<'a> {
    let mut surging = 0;
    let mut step = Step::default();
    let mut candidates = Vec::new();
    for spot in spots.iter().filter(|spot| spot.is_borne()) {
        match spot.pair(measure) {
            Some(Living { old: None, .. }) => {}
            Some(Living { new: None, old: Some(old) }) if measure.is_available(old) => {
                candidates.push((spot, old));
            }
            Some(Living { new: None, old: Some(old) }) => replace(spot, old, &mut step),
            Some(Living { new: Some(new), old: Some(old) }) if measure.is_available(new) => {
                step.delete.push(old);
            }
            _ => surging += 1,
        }
    }
    for (spot, old) in candidates.into_iter().take(max_surge.saturating_sub(surging)) {
        replace(spot, old, &mut step);
    }
    step
}

/// Where no new pod may come, the old one goes all the same: it is not to stay for ever.
fn replace<'a>(spot: &Spot<'a>, old: &'a DaemonPod, step: &mut Step<'a>) {
    match spot.is_wanted() {
        true => step.create.push(spot.node),
        false => step.delete.push(old),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}
