//! A pod's JSON as the scheduler reads it: only what it needs, because every change of every pod passes here.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use placement::{AffinityJson, TolerationJson};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::amount::AmountsByName;
use super::shape::{HostPort, Needs};
use super::{Amounts, NodeAffinity, ResourceNames};

/// Whose pods are that do not say.
const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// What a container that asks for no cpu is taken to need when nodes are scored, in thousandths.
const LIKELY_CPU: i64 = 100;
/// The same of memory, in bytes.
const LIKELY_MEMORY: i64 = 200 << 20;

/// A pod.
#[derive(Debug)]
pub struct Pod {
    /// `metadata.uid`
    pub uid: String,
    /// Its node, if it has one.
    pub node: Option<String>,
    /// Whether it is done and takes nothing any more.
    pub has_ended: bool,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// Who is to choose its node.
    pub scheduler: String,
    /// Greater is sooner.
    pub priority: i32,
    /// Whether others may have to make way for it.
    pub preempts: bool,
    /// What it waits for before it may be scheduled.
    pub gates: Vec<String>,
    /// Why it has no node, as people were told.
    pub told: Option<String>,
    /// When it was created.
    pub created: Option<k8s_openapi::jiff::Timestamp>,
    /// The names of its claims.
    pub claims: Vec<String>,
    /// What decides where it can go, but for its claims.
    pub needs: Needs,
}

#[derive(Deserialize)]
struct Json {
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    uid: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    creation_timestamp: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    scheduler_name: Option<String>,
    priority: Option<i32>,
    preemption_policy: Option<String>,
    scheduling_gates: Option<Vec<Gate>>,
    node_selector: Option<BTreeMap<String, String>>,
    affinity: Option<AffinityJson>,
    tolerations: Option<Vec<TolerationJson>>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    overhead: Option<AmountsByName>,
    resources: Option<Resources>,
    volumes: Option<Vec<VolumeJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeJson {
    name: String,
    persistent_volume_claim: Option<ClaimJson>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimJson {
    claim_name: String,
}

#[derive(Deserialize)]
struct Gate {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    image: Option<String>,
    resources: Option<Resources>,
    ports: Option<Vec<Port>>,
    restart_policy: Option<String>,
}

#[derive(Deserialize)]
struct Resources {
    requests: Option<AmountsByName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    host_port: Option<i32>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
struct Status {
    phase: Option<String>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    message: Option<String>,
}

// === impl Pod ===

impl Pod {
    /// The pod in its stored JSON.
    pub fn parse(json: &[u8], names: &mut ResourceNames) -> serde_json::Result<Pod> {
        let Json { metadata, spec, status } = serde_json::from_slice(json)?;
        let (mut spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let unscheduled = |one: &Condition| one.kind == "PodScheduled" && one.status == "False";
        let told = status.conditions.into_iter().flatten().find(unscheduled);
        let gates = spec.scheduling_gates.take().into_iter().flatten();
        let name = metadata.name.unwrap_or_default();
        let volumes = spec.volumes.take().into_iter().flatten();
        Ok(Pod {
            uid: metadata.uid.unwrap_or_default(),
            node: spec.node_name.take().filter(|name| !name.is_empty()),
            has_ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            deleting: metadata.deletion_timestamp.is_some(),
            scheduler: spec.scheduler_name.take().unwrap_or_else(|| DEFAULT_SCHEDULER.to_owned()),
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            gates: gates.map(|gate| gate.name.unwrap_or_default()).collect(),
            told: told.map(|condition| condition.message.unwrap_or_default()),
            created: metadata.creation_timestamp.map(|time| time.0),
            claims: volumes.filter_map(|volume| volume.claim(&name)).collect(),
            needs: spec.needs(names),
        })
    }
}

// === impl Spec ===

impl Spec {
    fn needs(self, names: &mut ResourceNames) -> Needs {
        let requests = self.total(names, false);
        let likely = self.total(names, true);
        let containers = || self.containers.iter().flatten();
        let sidecars = || self.init_containers.iter().flatten().filter(|one| one.is_sidecar());
        let mut ports: Vec<HostPort> = containers()
            .chain(sidecars())
            .flat_map(|one| one.ports.iter().flatten())
            .filter_map(Port::taken)
            .collect();
        ports.sort();
        ports.dedup();
        let images = self.init_containers.iter().flatten().chain(containers());
        let images = images.filter_map(|one| one.image.as_deref()).map(with_tag).collect();
        let tolerations = self.tolerations.into_iter().flatten().filter_map(TolerationJson::into_toleration);
        Needs {
            requests,
            likely_cpu: likely.cpu,
            likely_memory: likely.memory,
            affinity: NodeAffinity::of(self.node_selector, self.affinity).map(Into::into),
            tolerations: tolerations.collect(),
            ports,
            images,
            volumes: None,
        }
    }

    /// What the pod takes at its peak: its containers and sidecars together, or an init container beside the
    /// sidecars that started before it, whichever is more; the pod's own numbers instead where it has them; and what
    /// the runtime takes.
    fn total(&self, names: &mut ResourceNames, likely: bool) -> Amounts {
        let mut running = Amounts::default();
        for container in self.containers.iter().flatten() {
            running = running.plus(&container.requests(names, likely));
        }
        let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
        for container in self.init_containers.iter().flatten() {
            let requests = container.requests(names, likely);
            let beside = sidecars.plus(&requests);
            if container.is_sidecar() {
                running = running.plus(&requests);
                sidecars = beside.clone();
            }
            peak = peak.max(&beside);
        }
        let mut total = running.max(&peak);
        if let Some(of_pod) = self.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
            let amounts = Amounts::of(Some(of_pod), names);
            if of_pod.contains_key("cpu") {
                total.cpu = amounts.cpu;
            }
            if of_pod.contains_key("memory") {
                total.memory = amounts.memory;
            }
            total.others.retain(|(id, _)| !amounts.others.iter().any(|(own, _)| own == id));
            total.others.extend(amounts.others);
            total.others.sort_unstable();
        }
        total.plus(&Amounts::of(self.overhead.as_ref(), names))
    }
}

impl VolumeJson {
    /// One that lives as long as the pod is named after both.
    fn claim(self, pod: &str) -> Option<String> {
        let named = self.persistent_volume_claim.map(|claim| claim.claim_name);
        named.or_else(|| self.ephemeral.map(|_| format!("{pod}-{}", self.name)))
    }
}

impl Container {
    fn is_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    fn requests(&self, names: &mut ResourceNames, likely: bool) -> Amounts {
        let requests = self.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut amounts = Amounts::of(requests, names);
        let asks = |name: &str| requests.is_some_and(|requests| requests.contains_key(name));
        if likely && !asks("cpu") {
            amounts.cpu = LIKELY_CPU;
        }
        if likely && !asks("memory") {
            amounts.memory = LIKELY_MEMORY;
        }
        amounts
    }
}

impl Port {
    fn taken(&self) -> Option<HostPort> {
        let or = |text: &Option<String>, default: &str| {
            text.as_deref().filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
        };
        let port = self.host_port.filter(|port| *port > 0)?;
        Some(HostPort { ip: or(&self.host_ip, "0.0.0.0"), protocol: or(&self.protocol, "TCP"), port })
    }
}

/// An image's name as nodes list it.
fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains(':') { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let json = json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec});
        Pod::parse(json.to_string().as_bytes(), &mut ResourceNames::default()).expect("a pod")
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn with(mut object: Value, field: &str, value: Value) -> Value {
        object[field] = value;
        object
    }

    #[test]
    fn the_containers_together_or_the_largest_init_container_count() {
        let needs = |init: Value| {
            let spec = json!({"containers": [container("1", "1Gi"), container("500m", "1Gi")], "initContainers": init});
            let requests = pod(spec).needs.requests;
            (requests.cpu, requests.memory >> 30)
        };
        assert_eq!(needs(json!([])), (1500, 2));
        assert_eq!(needs(json!([container("2", "1Gi")])), (2000, 2));
        let sidecar = with(container("1", "1Gi"), "restartPolicy", json!("Always"));
        assert_eq!(needs(json!([sidecar])), (2500, 3), "a sidecar runs beside the containers");
        assert_eq!(
            needs(json!([sidecar, container("2", "1Gi")])),
            (3000, 3),
            "and beside later init containers"
        );
        assert_eq!(needs(json!([container("2", "1Gi"), sidecar])), (2500, 3), "but not beside earlier ones");
    }

    #[test]
    fn the_pods_own_numbers_take_the_place_of_the_containers_and_overhead_is_added() {
        let needs = pod(json!({
            "containers": [container("1", "1Gi")],
            "resources": {"requests": {"cpu": "3"}},
            "overhead": {"cpu": "250m", "memory": "64Mi"},
        }))
        .needs;
        assert_eq!((needs.requests.cpu, needs.requests.memory), (3250, (1 << 30) + (64 << 20)));
    }

    #[test]
    fn a_container_that_asks_for_nothing_needs_a_little_when_nodes_are_scored() {
        let needs = pod(json!({"containers": [{"name": "a"}, container("1", "0")]})).needs;
        assert_eq!((needs.requests.cpu, needs.requests.memory), (1000, 0));
        assert_eq!((needs.likely_cpu, needs.likely_memory), (1000 + LIKELY_CPU, LIKELY_MEMORY));
    }

    #[test]
    fn ports_of_the_host_are_taken_once() {
        let web = json!({"name": "a", "ports": [{"containerPort": 80}, {"hostPort": 80}, {"hostPort": 80}]});
        let dns = json!({"name": "b", "ports": [{"hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"}]});
        let needs = pod(json!({"containers": [web, dns]})).needs;
        let port = |ip: &str, protocol: &str, port| HostPort {
            ip: ip.to_owned(),
            protocol: protocol.to_owned(),
            port,
        };
        assert_eq!(needs.ports, [port("0.0.0.0", "TCP", 80), port("10.0.0.1", "UDP", 53)]);
    }

    #[test]
    fn images_get_the_tag_that_they_mean() {
        assert_eq!(with_tag("redis"), "redis:latest");
        assert_eq!(with_tag("registry:5000/redis"), "registry:5000/redis:latest");
        assert_eq!(with_tag("registry:5000/redis:7"), "registry:5000/redis:7");
        assert_eq!(with_tag("redis@sha256:00"), "redis@sha256:00");
    }

    #[test]
    fn what_is_null_is_absent() {
        let pod = pod(json!({
            "nodeName": "", "affinity": null, "tolerations": null, "nodeSelector": null, "schedulingGates": [],
            "containers": [{"name": "a", "resources": {"requests": null}, "ports": null}],
        }));
        assert!(pod.node.is_none() && pod.needs.affinity.is_none() && pod.gates.is_empty());
    }
}
