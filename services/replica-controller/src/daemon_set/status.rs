//! A set's status. Pure.

use k8s_openapi::api::apps::v1::DaemonSetStatus;

use super::spot::{Measure, Spot};

/// The status of a set with these pods.
pub fn calculate(spots: &[Spot<'_>], measure: &Measure<'_>, collisions: Option<i32>) -> DaemonSetStatus {
    let set = measure.set;
    let wanted = || spots.iter().filter(|spot| spot.is_wanted());
    // Of several pods on a node the one that came first stands for it.
    let firsts = || wanted().filter_map(|spot| spot.pods.first());
    let (desired, current) = (number(wanted().count()), number(firsts().count()));
    let available = number(firsts().filter(|pod| measure.is_available(pod)).count());
    let unwanted = spots.iter().filter(|spot| spot.verdict.is_some() && !spot.is_wanted());
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: number(unwanted.filter(|spot| !spot.pods.is_empty()).count()),
        number_ready: number(firsts().filter(|pod| pod.pod.is_ready()).count()),
        updated_number_scheduled: unless_zero(number(firsts().filter(|pod| measure.is_new(pod)).count())),
        number_available: unless_zero(available),
        number_unavailable: unless_zero(desired - available),
        observed_generation: Some(set.generation),
        collision_count: collisions,
        // Others may tell theirs.
        conditions: set.status.conditions.clone(),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn unless_zero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
