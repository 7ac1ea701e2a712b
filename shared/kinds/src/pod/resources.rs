//! What a pod asks for as a whole.

use std::collections::BTreeMap;

use model::{Object, Quantity};
use serde_json::Value;

use crate::cell::list;
use crate::field::quantity;

/// How a pod fares when its node runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosClass {
    /// Every container's limits are its requests: evicted last.
    Guaranteed,
    /// Something is asked for or limited.
    Burstable,
    /// Nothing is asked for: evicted first.
    BestEffort,
}

impl QosClass {
    /// As it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

/// Amounts by name of the resource.
pub type Amounts = BTreeMap<String, Quantity>;

const QOS_RESOURCES: [&str; 2] = ["cpu", "memory"];

/// The class that a pod is of, by its requests and limits of cpu and memory.
pub fn qos_class(pod: &Object) -> QosClass {
    let whole = pod.at(&["spec", "resources"]).filter(|resources| has_amounts(resources));
    let all: Vec<&Value> = match whole {
        Some(resources) => vec![resources],
        None => {
            let containers = list(pod, &["spec", "containers"]).iter();
            containers.chain(list(pod, &["spec", "initContainers"])).map(|one| &one["resources"]).collect()
        }
    };
    let amount = |resources: &Value, kind: &str, name: &str| {
        quantity(&resources[kind][name]).filter(|amount| amount.sign() > 0)
    };
    let each = |kind: &'static str| {
        all.iter().flat_map(move |one| QOS_RESOURCES.map(|name| amount(one, kind, name)))
    };
    if each("requests").chain(each("limits")).all(|amount| amount.is_none()) {
        return QosClass::BestEffort;
    }
    let equal = each("limits").zip(each("requests")).all(|(limit, request)| {
        // A request that is not there is the limit.
        limit.is_some_and(|limit| request.is_none_or(|request| request == limit))
    });
    if equal { QosClass::Guaranteed } else { QosClass::Burstable }
}

fn has_amounts(resources: &Value) -> bool {
    ["requests", "limits"]
        .iter()
        .any(|kind| resources[*kind].as_object().is_some_and(|list| !list.is_empty()))
}

/// What the pod needs of a node: its containers together with the init containers that keep running, or what
/// one init container needs while it runs, whichever is more; then its overhead. What the pod asks for as a
/// whole stands for the sum.
pub fn requests(pod: &Object) -> Amounts {
    let mut running = Amounts::new();
    for container in list(pod, &["spec", "containers"]) {
        add(&mut running, &asked(&container["resources"]));
    }
    let (mut kept, mut most) = (Amounts::new(), Amounts::new());
    for container in list(pod, &["spec", "initContainers"]) {
        let own = asked(&container["resources"]);
        let mut meanwhile = kept.clone();
        add(&mut meanwhile, &own);
        if container["restartPolicy"] == "Always" {
            kept = meanwhile.clone();
            add(&mut running, &own);
        }
        at_least(&mut most, &meanwhile);
    }
    at_least(&mut running, &most);
    if let Some(whole) = pod.at(&["spec", "resources"]) {
        running.extend(asked(whole));
    }
    if let Some(overhead) = pod.at(&["spec", "overhead"]) {
        add(&mut running, &amounts(overhead));
    }
    running
}

fn asked(resources: &Value) -> Amounts {
    amounts(&resources["requests"])
}

fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn at_least(sum: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let entry = sum.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;
    use serde_json::json;

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let both =
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1024Mi"}});
        let cases = [
            (json!({"containers": [{}]}), QosClass::BestEffort),
            (json!({"containers": [{"resources": {"requests": {"cpu": "0"}}}]}), QosClass::BestEffort),
            (
                json!({"containers": [{"resources": {"requests": {"example.com/gpu": "1"}}}]}),
                QosClass::BestEffort,
            ),
            (json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}), QosClass::Burstable),
            (json!({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}), QosClass::Burstable),
            (json!({"containers": [{"resources": both}]}), QosClass::Guaranteed),
            (json!({"containers": [{"resources": {"limits": both["limits"]}}]}), QosClass::Guaranteed),
            (json!({"containers": [{"resources": both}, {}]}), QosClass::Burstable),
            (json!({"containers": [{"resources": both}], "initContainers": [{}]}), QosClass::Burstable),
            (json!({"containers": [{}], "resources": both}), QosClass::Guaranteed),
        ];
        for (spec, class) in cases {
            assert_eq!(qos_class(&object(json!({"spec": spec}))), class, "{spec}");
        }
    }

    #[test]
    fn a_pod_needs_its_containers_or_its_hungriest_init_container() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let pod = object(json!({"spec": {
            "containers": [{"resources": cpu("1")}, {"resources": cpu("500m")}],
            "initContainers": [
                {"resources": cpu("100m"), "restartPolicy": "Always"},
                {"resources": cpu("2")},
                {"resources": cpu("1")}
            ],
            "overhead": {"cpu": "50m", "memory": "1Mi"}
        }}));
        let needs: Vec<String> =
            requests(&pod).iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        assert_eq!(needs, ["cpu=2150m", "memory=1Mi"]);
        let mut whole = pod;
        whole.set(&["spec", "resources"], cpu("3"));
        assert_eq!(requests(&whole)["cpu"].milli(), 3050);
    }
}
