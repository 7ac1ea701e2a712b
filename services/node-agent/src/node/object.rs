//! The Node object, from facts. Pure.

use std::collections::BTreeMap;

use bus::node::VOLUMES_FOLDER;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::quantity::Quantity;

use super::facts::Facts;
use super::reserved::Reserved;
use crate::act::runtime::ImageRecord;
use crate::decide::status::seconds;
use crate::proxy::cidr::Cidr;

/// The version of the node API that this agent speaks.
pub const VERSION: &str = "v1.35.0+sampan";
/// Memory that is never given to pods: what the node needs to notice that memory runs out.
const MEMORY_RESERVED: u64 = 100 << 20;
/// Part of the disk that must stay free.
const DISK_FREE_PERCENT: u64 = 10;
/// Part of the process ids that must stay free.
const PIDS_FREE_PERCENT: u64 = 5;
/// Images listed: the largest, as the object goes to everybody who watches nodes.
const IMAGES_MAX: usize = 50;

/// How the node was configured.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub ips: Vec<String>,
    /// Further labels.
    pub labels: BTreeMap<String, String>,
    /// The folder in which it keeps volumes that outlive pods.
    pub volumes: String,
    /// Pods that it takes.
    pub max_pods: u32,
    /// What its pods do not get of the machine.
    pub reserved: Reserved,
    /// The range of its pods' addresses, if that was decided beforehand.
    pub pods: Option<Cidr>,
}

/// How the node is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// The machine.
    pub facts: Facts,
    /// `containerd://1.6.20`; the last that was known.
    pub runtime_version: String,
    /// Why it cannot run pods, if it cannot.
    pub problem: Option<String>,
    /// The images.
    pub images: Vec<ImageRecord>,
}

/// What pods can have of the machine: cpu in thousandths, memory, disk.
pub fn allocatable(facts: &Facts, reserved: &Reserved) -> crate::settings::Allocatable {
    let amount = |count: u64, kept: u64| i64::try_from(count.saturating_sub(kept)).unwrap_or(i64::MAX);
    crate::settings::Allocatable {
        cpu_milli: amount(facts.cpus.saturating_mul(1000), reserved.cpu_milli),
        memory: amount(facts.memory, reserved.memory.saturating_add(MEMORY_RESERVED)),
        ephemeral_storage: amount(facts.disk / 100 * (100 - DISK_FREE_PERCENT), reserved.ephemeral_storage),
    }
}

/// The object. `before` are the conditions as they were reported last; those that did not change keep their time.
pub fn node(identity: &Identity, now_is: &Condition, before: &[NodeCondition], now: Timestamp) -> Node {
    let facts = &now_is.facts;
    Node {
        metadata: ObjectMeta {
            name: Some(identity.name.clone()),
            labels: Some(labels(identity, facts)),
            annotations: Some(BTreeMap::from([(VOLUMES_FOLDER.to_owned(), identity.volumes.clone())])),
            ..Default::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: identity.pods.map(|range| range.to_string()),
            pod_cidrs: identity.pods.map(|range| vec![range.to_string()]),
            ..Default::default()
        }),
        status: Some(NodeStatus {
            capacity: Some(capacity(identity, facts)),
            allocatable: Some(allocatable_amounts(identity, facts)),
            addresses: Some(addresses(identity)),
            conditions: Some(conditions(now_is, before, now)),
            node_info: Some(NodeSystemInfo {
                architecture: facts.architecture.clone(),
                boot_id: facts.boot_id.clone(),
                container_runtime_version: now_is.runtime_version.clone(),
                kernel_version: facts.kernel.clone(),
                kube_proxy_version: String::new(),
                kubelet_version: VERSION.to_owned(),
                machine_id: facts.machine_id.clone(),
                operating_system: "linux".to_owned(),
                os_image: facts.os_image.clone(),
                swap: None,
                system_uuid: facts.system_uuid.clone(),
            }),
            images: Some(images(&now_is.images)),
            ..Default::default()
        }),
    }
}

/// Whether two forms of the node differ in more than the time at which it was looked at.
pub fn differs(before: &Node, after: &Node) -> bool {
    let without_times = |node: &Node| {
        let mut node = node.clone();
        for condition in node.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten()) {
            condition.last_heartbeat_time = None;
        }
        node
    };
    without_times(before) != without_times(after)
}

fn labels(identity: &Identity, facts: &Facts) -> BTreeMap<String, String> {
    let mut labels = identity.labels.clone();
    let fixed = [
        ("kubernetes.io/hostname", identity.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", &facts.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", &facts.architecture),
    ];
    for (label, value) in fixed {
        labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
    }
    labels
}

fn capacity(identity: &Identity, facts: &Facts) -> BTreeMap<String, Amount> {
    amounts(&[
        ("cpu", facts.cpus.to_string()),
        ("memory", kilobytes(facts.memory)),
        ("ephemeral-storage", kilobytes(facts.disk)),
        ("pods", identity.max_pods.to_string()),
    ])
}

fn allocatable_amounts(identity: &Identity, facts: &Facts) -> BTreeMap<String, Amount> {
    let allocatable = allocatable(facts, &identity.reserved);
    amounts(&[
        ("cpu", Quantity::thousandths(allocatable.cpu_milli).to_string()),
        ("memory", kilobytes(allocatable.memory.unsigned_abs())),
        ("ephemeral-storage", allocatable.ephemeral_storage.to_string()),
        ("pods", identity.max_pods.to_string()),
    ])
}

fn amounts(list: &[(&str, String)]) -> BTreeMap<String, Amount> {
    list.iter().map(|(name, amount)| ((*name).to_owned(), Amount(amount.clone()))).collect()
}

fn kilobytes(bytes: u64) -> String {
    format!("{}Ki", bytes / 1024)
}

fn addresses(identity: &Identity) -> Vec<NodeAddress> {
    let internal = identity.ips.iter().map(|ip| ("InternalIP", ip));
    let all = internal.chain([("Hostname", &identity.name)]);
    all.map(|(type_, address)| NodeAddress { type_: type_.to_owned(), address: address.clone() }).collect()
}

fn images(all: &[ImageRecord]) -> Vec<ContainerImage> {
    let mut all: Vec<&ImageRecord> = all.iter().collect();
    all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.names.cmp(&b.names)));
    all.truncate(IMAGES_MAX);
    all.into_iter()
        .map(|image| ContainerImage {
            names: Some(image.names.clone()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

/// A condition's type, whether it holds, and its reason and message in either case.
type Finding<'a> = (&'a str, bool, &'a str, &'a str);

fn conditions(now_is: &Condition, before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let facts = &now_is.facts;
    let memory = facts.memory_available < MEMORY_RESERVED;
    let disk = facts.disk_available < facts.disk / 100 * DISK_FREE_PERCENT;
    let pids = facts.pids.saturating_sub(facts.pids_used) < facts.pids / 100 * PIDS_FREE_PERCENT;
    let pick = |holds: bool, yes: Finding<'static>, no: Finding<'static>| if holds { yes } else { no };
    let findings = [
        pick(
            memory,
            (
                "MemoryPressure",
                true,
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            ),
            (
                "MemoryPressure",
                false,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
        ),
        pick(
            disk,
            ("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pick(
            pids,
            ("PIDPressure", true, "KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        match &now_is.problem {
            Some(problem) => ("Ready", false, "KubeletNotReady", problem.as_str()),
            None => ("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        },
    ];
    findings.into_iter().map(|finding| condition(finding, before, now)).collect()
}

fn condition(
    (type_, holds, reason, message): Finding<'_>,
    before: &[NodeCondition],
    now: Timestamp,
) -> NodeCondition {
    let status = if holds { "True" } else { "False" };
    let known = before.iter().find(|known| known.type_ == type_ && known.status == status);
    NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(seconds(now)),
        last_transition_time: known
            .and_then(|known| known.last_transition_time.clone())
            .or_else(|| Some(seconds(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "node-1".to_owned(),
            ips: vec!["192.0.2.1".to_owned()],
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            volumes: "/agent/volumes".to_owned(),
            max_pods: 110,
            reserved: Reserved::default(),
            pods: None,
        }
    }

    fn healthy() -> Condition {
        let facts = Facts {
            cpus: 2,
            memory: 4 << 30,
            memory_available: 2 << 30,
            disk: 1000 << 20,
            disk_available: 500 << 20,
            pids: 32768,
            pids_used: 200,
            architecture: "amd64".to_owned(),
            ..Default::default()
        };
        Condition { facts, runtime_version: "containerd://1.6.20".to_owned(), ..Default::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found(node: &Node, type_: &str) -> (String, String, i64) {
        let conditions = node.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let found = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        let since = found.last_transition_time.as_ref().unwrap().0.as_second();
        (found.status.clone(), found.message.clone().unwrap(), since)
    }

    #[test]
    fn a_node_says_what_it_is_and_has() {
        let node = node(&identity(), &healthy(), &[], at(100));
        assert_eq!(node.metadata.labels.as_ref().unwrap()["kubernetes.io/hostname"], "node-1");
        assert_eq!(node.metadata.labels.as_ref().unwrap()["zone"], "a");
        let status = node.status.as_ref().unwrap();
        assert_eq!(status.capacity.as_ref().unwrap()["memory"].0, "4194304Ki");
        assert_eq!(status.allocatable.as_ref().unwrap()["memory"].0, "4091904Ki");
        assert_eq!(status.allocatable.as_ref().unwrap()["cpu"].0, "2");
        assert_eq!(found(&node, "Ready").0, "True");
        assert_eq!(found(&node, "DiskPressure").0, "False");
    }

    #[test]
    fn what_is_reserved_is_there_but_not_for_pods() {
        let reserved = Reserved { cpu_milli: 500, memory: 1 << 30, ephemeral_storage: 0 };
        let node = node(&Identity { reserved, ..identity() }, &healthy(), &[], at(100));
        let status = node.status.as_ref().unwrap();
        assert_eq!(status.capacity.as_ref().unwrap()["memory"].0, "4194304Ki");
        assert_eq!(status.allocatable.as_ref().unwrap()["memory"].0, "3043328Ki");
        assert_eq!(status.allocatable.as_ref().unwrap()["cpu"].0, "1500m");
    }

    #[test]
    fn a_node_without_its_runtime_is_not_ready_and_says_why() {
        let first = node(&identity(), &healthy(), &[], at(100));
        let before = first.status.as_ref().unwrap().conditions.clone().unwrap();
        let down = Condition {
            problem: Some("container runtime is down: connection refused".to_owned()),
            ..healthy()
        };
        let second = node(&identity(), &down, &before, at(200));
        let message = "container runtime is down: connection refused".to_owned();
        assert_eq!(found(&second, "Ready"), ("False".to_owned(), message, 200));
        assert_eq!(found(&second, "MemoryPressure").2, 100, "what did not change keeps its time");
        assert!(differs(&first, &second));
    }

    #[test]
    fn time_alone_is_nothing_to_report() {
        let first = node(&identity(), &healthy(), &[], at(100));
        let before = first.status.as_ref().unwrap().conditions.clone().unwrap();
        assert!(!differs(&first, &node(&identity(), &healthy(), &before, at(200))));
    }

    #[test]
    fn pressure_is_told() {
        let mut low = healthy();
        low.facts.memory_available = 1 << 20;
        low.facts.disk_available = 10 << 20;
        low.facts.pids_used = 32000;
        let node = node(&identity(), &low, &[], at(1));
        for type_ in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
            assert_eq!(found(&node, type_).0, "True", "{type_}");
        }
    }
}
