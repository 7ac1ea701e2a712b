//! Which pods go first when a set shrinks: those whose loss hurts least.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use crate::observe::{Phase, Pod};

/// Compared field by field, the least goes first.
///
/// Ages are compared by their order of magnitude only: younger goes first, but among pods of about the same age the
/// choice is as good as random, so that a zone which was added last does not lose all its pods.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth<'a> {
    has_node: bool,
    phase: Phase,
    is_ready: bool,
    deletion_cost: i32,
    neighbours: Reverse<usize>,
    ready_for: i32,
    restarts: Reverse<(i32, i32)>,
    age: i32,
    uid: &'a str,
}

/// The `count` pods to give up.
pub fn first_to_go<'a>(
    pods: &[&'a Pod],
    count: usize,
    related_per_node: &dyn Fn() -> BTreeMap<String, usize>,
    now: Timestamp,
) -> Vec<&'a Pod> {
    let mut pods = pods.to_vec();
    // Nothing to choose.
    if count < pods.len() {
        let neighbours = related_per_node();
        pods.sort_by_cached_key(|pod| worth(pod, neighbours.get(&pod.node).copied().unwrap_or(0), now));
    }
    pods.truncate(count);
    pods
}

fn worth<'a>(pod: &'a Pod, neighbours: usize, now: Timestamp) -> Worth<'a> {
    Worth {
        has_node: !pod.node.is_empty(),
        phase: pod.phase,
        is_ready: pod.is_ready(),
        deletion_cost: pod.deletion_cost,
        neighbours: Reverse(neighbours),
        ready_for: magnitude(pod.ready_since, now),
        restarts: Reverse(pod.restarts),
        age: magnitude(pod.created, now),
        uid: &pod.uid,
    }
}

/// The logarithm of the time since then; below zero when it has not passed.
fn magnitude(since: Option<Timestamp>, now: Timestamp) -> i32 {
    let nanoseconds = since.map_or(0, |since| now.as_nanosecond() - since.as_nanosecond());
    u128::try_from(nanoseconds).ok().and_then(u128::checked_ilog2).map_or(-1, |log| log as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2024-01-02T00:00:00Z";

    fn pod(change: impl FnOnce(&mut Pod)) -> Pod {
        let yesterday = "2024-01-01T00:00:00Z".parse().ok();
        let mut pod = Pod {
            uid: "m".to_owned(),
            node: "n".to_owned(),
            phase: Phase::Running,
            created: yesterday,
            ready_since: yesterday,
            ..Pod::default()
        };
        change(&mut pod);
        pod
    }

    #[test]
    fn each_reason_to_go_first_holds_against_an_ordinary_pod() {
        let now: Timestamp = NOW.parse().expect("a time");
        let cases: [(&str, Pod, Pod); 9] = [
            ("without a node", pod(|p| p.node.clear()), pod(|p| p.phase = Phase::Pending)),
            ("pending", pod(|p| p.phase = Phase::Pending), pod(|p| p.ready_since = None)),
            ("unknown", pod(|p| p.phase = Phase::Unknown), pod(|_| ())),
            ("not ready", pod(|p| p.ready_since = None), pod(|p| p.deletion_cost = -9)),
            ("cheap", pod(|p| p.deletion_cost = -9), pod(|p| p.node = "crowded".to_owned())),
            ("crowded", pod(|p| p.node = "crowded".to_owned()), pod(|_| ())),
            ("ready for an hour", pod(|p| p.ready_since = "2024-01-01T23:00:00Z".parse().ok()), pod(|_| ())),
            ("restarted", pod(|p| p.restarts = (1, 0)), pod(|p| p.restarts = (0, 9))),
            ("younger", pod(|p| p.created = "2024-01-01T23:00:00Z".parse().ok()), pod(|_| ())),
        ];
        let crowd = || BTreeMap::from([("crowded".to_owned(), 3), ("n".to_owned(), 1)]);
        for (name, first, last) in &cases {
            for order in [[first, last], [last, first]] {
                assert_eq!(first_to_go(&order, 1, &crowd, now), [first], "{name}");
            }
        }
    }

    #[test]
    fn among_pods_of_about_the_same_age_the_uid_decides() {
        let now: Timestamp = NOW.parse().expect("a time");
        let older = pod(|p| p.uid = "a".to_owned());
        let younger = pod(|p| p.ready_since = "2024-01-01T01:00:00Z".parse().ok());
        assert_eq!(first_to_go(&[&younger, &older], 1, &BTreeMap::new, now), [&older]);
    }
}
