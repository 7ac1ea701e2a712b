//! Requests and limits as the kernel takes them.

use cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};
use model::quantity::Quantity;

use super::{all_containers, of, uid};
use crate::settings::Allocatable;

/// How a pod's claims on the node are kept: `status.qosClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has equal requests and limits.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None at all.
    BestEffort,
}

/// The scheduler's period over which a cpu limit holds, in microseconds.
const CPU_PERIOD: i64 = 100_000;
/// The least weight the kernel takes: a container without a request.
const SHARES_MIN: i64 = 2;
/// Kills these last: what the node needs, and pods that are guaranteed their memory.
const OOM_GUARANTEED: i64 = -997;
/// Kills these first.
const OOM_BEST_EFFORT: i64 = 1000;
/// Pods of this priority and above belong to the system.
const SYSTEM_PRIORITY: i32 = 2_000_000_000;

/// The class that follows from the pod's requests and limits.
pub fn qos_class(pod: &Pod) -> QosClass {
    let sides = |container: &Container| {
        ["cpu", "memory"].map(|what| (request(container, what), limit(container, what)))
    };
    let all: Vec<_> = all_containers(pod).flat_map(sides).collect();
    let none = |(request, limit): &(Option<Quantity>, Option<Quantity>)| {
        [request, limit].iter().all(|amount| amount.is_none_or(|amount| amount.is_zero()))
    };
    let equal = |(request, limit): &(Option<Quantity>, Option<Quantity>)| {
        limit.is_some_and(|limit| !limit.is_zero() && request.is_none_or(|request| request == limit))
    };
    if all.iter().all(none) {
        QosClass::BestEffort
    } else if all.iter().all(equal) {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

/// The control group under which a pod's containers are kept.
pub fn cgroup_parent(pod: &Pod) -> String {
    let uid = uid(pod);
    match qos_class(pod) {
        QosClass::Guaranteed => format!("/kubepods/pod{uid}"),
        QosClass::Burstable => format!("/kubepods/burstable/pod{uid}"),
        QosClass::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// What the kernel enforces for a container.
pub fn linux(pod: &Pod, container: &Container, node: Allocatable) -> LinuxContainerResources {
    let (cpu_limit, memory_limit) = (limit(container, "cpu"), limit(container, "memory"));
    let cpu_request = request(container, "cpu").or(cpu_limit);
    LinuxContainerResources {
        cpu_period: CPU_PERIOD,
        cpu_quota: cpu_limit.map_or(0, |limit| quota(limit.milli())),
        cpu_shares: cpu_request.map_or(SHARES_MIN, |request| (request.milli() * 1024 / 1000).max(SHARES_MIN)),
        memory_limit_in_bytes: memory_limit.map_or(0, |limit| limit.value()),
        oom_score_adj: oom_score_adj(pod, container, node.memory),
    }
}

fn quota(milli: i64) -> i64 {
    // The kernel takes no quota below a millisecond.
    const QUOTA_MIN: i64 = 1000;
    match milli {
        0 => 0,
        milli => (milli * CPU_PERIOD / 1000).max(QUOTA_MIN),
    }
}

/// The more of the node's memory a container asked for, the later it is killed when memory runs out.
fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    let system = of(pod).priority.is_some_and(|priority| priority >= SYSTEM_PRIORITY);
    match qos_class(pod) {
        _ if system => OOM_GUARANTEED,
        QosClass::Guaranteed => OOM_GUARANTEED,
        QosClass::BestEffort => OOM_BEST_EFFORT,
        QosClass::Burstable => {
            let request = request(container, "memory").map_or(0, |request| request.value());
            let share = i128::from(request) * 1000 / i128::from(node_memory.max(1));
            // Strictly between the two other classes.
            (1000 - share as i64).clamp(1000 + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

fn request(container: &Container, what: &str) -> Option<Quantity> {
    amount(container.resources.as_ref()?.requests.as_ref()?, what)
}

fn limit(container: &Container, what: &str) -> Option<Quantity> {
    amount(container.resources.as_ref()?.limits.as_ref()?, what)
}

fn amount(
    amounts: &std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    what: &str,
) -> Option<Quantity> {
    Quantity::parse(&amounts.get(what)?.0).ok()
}

// === impl QosClass ===

impl QosClass {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture;
    use super::*;

    fn with(resources: Value) -> Pod {
        fixture::pod(json!({"containers": [{"name": "main", "image": "app:1", "resources": resources}]}))
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let cases = [
            (json!({}), QosClass::BestEffort),
            (json!({"requests": {"cpu": "0"}}), QosClass::BestEffort),
            (json!({"requests": {"cpu": "1"}}), QosClass::Burstable),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), QosClass::Guaranteed),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
                QosClass::Guaranteed,
            ),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
                QosClass::Burstable,
            ),
        ];
        for (resources, expected) in cases {
            assert_eq!(qos_class(&with(resources.clone())), expected, "{resources}");
        }
    }

    #[test]
    fn amounts_become_weights_quotas_and_bytes() {
        let node = Allocatable { memory: 1 << 30, ..Default::default() };
        let kernel = |resources: Value| {
            let pod = with(resources);
            linux(&pod, &of(&pod).containers[0], node)
        };
        let both =
            kernel(json!({"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1500m"}}));
        assert_eq!((both.cpu_shares, both.cpu_quota, both.cpu_period), (256, 150_000, 100_000));
        assert_eq!(both.oom_score_adj, 500);
        let limit = kernel(json!({"limits": {"cpu": "1m", "memory": "64Mi"}}));
        assert_eq!((limit.cpu_shares, limit.cpu_quota), (SHARES_MIN, 1000));
        assert_eq!(limit.memory_limit_in_bytes, 64 << 20);
        assert_eq!(limit.oom_score_adj, OOM_GUARANTEED);
        let none = kernel(json!({}));
        assert_eq!((none.cpu_shares, none.cpu_quota, none.oom_score_adj), (SHARES_MIN, 0, OOM_BEST_EFFORT));
    }
}
