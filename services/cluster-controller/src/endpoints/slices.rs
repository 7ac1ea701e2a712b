//! PURE: the EndpointSlices and the Endpoints of a Service.

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use model::spelling::{self, Fnv};
use serde_json::{Map, Value, json};

/// Label of a slice with the name of its service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGED_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// Endpoints in one slice: as many as a change of one of them should make readers read again.
const SLICE_MAX: usize = 100;
/// Addresses in an Endpoints object; the API cuts longer lists and says so.
const ENDPOINTS_MAX: usize = 1_000;

/// An object that is to be there.
#[derive(Debug, PartialEq)]
pub struct Wanted {
    /// API group.
    pub group: &'static str,
    /// Resource.
    pub plural: &'static str,
    /// Name.
    pub name: String,
    /// The whole of it.
    pub object: Value,
}

// === impl Wanted ===

impl Wanted {
    /// Whether `present` says the same.
    pub fn is(&self, present: &Value) -> bool {
        let fields = ["addressType", "endpoints", "ports", "subsets"];
        let labels = self.object["metadata"]["labels"].as_object();
        let labelled =
            labels.into_iter().flatten().all(|(name, value)| present["metadata"]["labels"][name] == *value);
        labelled && fields.iter().all(|field| bare(&self.object[field]) == bare(&present[field]))
    }
}

/// Without what the server may leave out: nulls and empty lists.
fn bare(value: &Value) -> Value {
    match value {
        Value::Array(list) if list.is_empty() => Value::Null,
        Value::Array(list) => list.iter().map(bare).collect(),
        Value::Object(map) => {
            let kept: Map<String, Value> = map
                .iter()
                .map(|(name, value)| (name.clone(), bare(value)))
                .filter(|(_, value)| !value.is_null())
                .collect();
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

/// Whether we made a slice.
pub fn is_ours(slice: &Value) -> bool {
    slice["metadata"]["labels"][MANAGED_LABEL] == MANAGER
}

/// The service's selector, if it has one and selects at all.
pub fn selector(service: &Service) -> Option<impl Iterator<Item = (&String, &String)>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    Some(selector.iter())
}

/// Whether a service selects a pod.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector(service).is_some_and(|mut selector| {
        selector.all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    })
}

/// Everything that a service's endpoints are to be.
pub fn wanted<'a>(service: &Service, pods: impl Iterator<Item = &'a Pod>) -> Vec<Wanted> {
    let mut places: Vec<Place<'_>> =
        pods.filter(|pod| selects(service, pod)).filter_map(|pod| Place::read(service, pod)).collect();
    places.sort_by(|a, b| (&a.ports, a.name).cmp(&(&b.ports, b.name)));
    let mut wanted = vec![endpoints(service, &places)];
    // Pods may give one port name different numbers; those with the same numbers share slices.
    let groups = places.chunk_by(|a, b| a.ports == b.ports).flat_map(|group| group.chunks(SLICE_MAX));
    wanted.extend(groups.enumerate().map(|(index, chunk)| slice(service, index, chunk)));
    if places.is_empty() {
        wanted.push(slice(service, 0, &[]));
    }
    wanted
}

/// One pod as an endpoint.
struct Place<'a> {
    name: &'a str,
    uid: &'a str,
    node: Option<&'a str>,
    address: &'a str,
    hostname: Option<&'a str>,
    ready: bool,
    serving: bool,
    terminating: bool,
    /// Name, protocol and number of each port of the service on this pod.
    ports: Vec<(String, String, i32)>,
}

// === impl Place ===

impl<'a> Place<'a> {
    /// `None` for a pod that has no address or has ended.
    fn read(service: &Service, pod: &'a Pod) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let address = status.pod_ip.as_deref().filter(|address| !address.is_empty())?;
        let conditions = status.conditions.iter().flatten();
        let serving = conditions.filter(|one| one.type_ == "Ready").any(|one| one.status == "True");
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let service_spec = service.spec.as_ref()?;
        let always = service_spec.publish_not_ready_addresses == Some(true);
        let named = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
        let ports = service_spec.ports.iter().flatten();
        Some(Place {
            name: pod.metadata.name.as_deref()?,
            uid: pod.metadata.uid.as_deref().unwrap_or_default(),
            node: spec.node_name.as_deref(),
            address,
            hostname: spec.hostname.as_deref().filter(|_| named),
            ready: always || (serving && !terminating),
            serving,
            terminating,
            ports: ports.filter_map(|port| resolve(port, pod)).collect(),
        })
    }

    fn target(&self, service: &Service) -> Value {
        json!({"kind": "Pod", "namespace": service.metadata.namespace, "name": self.name, "uid": self.uid})
    }
}

/// The number that a service's port has on a pod; `None` when the pod has no port of that name.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<(String, String, i32)> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            ports.find(|one| one.name.as_deref() == Some(name.as_str()))?.container_port
        }
    };
    Some((port.name.clone().unwrap_or_default(), protocol, number))
}

fn ports_json(ports: &[(String, String, i32)], with_empty_names: bool) -> Vec<Value> {
    ports
        .iter()
        .map(|(name, protocol, number)| {
            let mut port = json!({"port": number, "protocol": protocol});
            if with_empty_names || !name.is_empty() {
                port["name"] = json!(name);
            }
            port
        })
        .collect()
}

fn owner(service: &Service) -> Value {
    json!([{
        "apiVersion": "v1", "kind": "Service", "name": service.metadata.name, "uid": service.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    }])
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn slice(service: &Service, index: usize, places: &[Place<'_>]) -> Wanted {
    let service_name = service.metadata.name.clone().unwrap_or_default();
    // The same each time, so that a slice is found again.
    let seed = format!("{}/{index}", service.metadata.uid.as_deref().unwrap_or_default());
    let name = format!("{service_name}-{}", spelling::letters(Fnv::of(seed), 5));
    let mut labels = json!({SERVICE_LABEL: service_name, MANAGED_LABEL: MANAGER});
    if is_headless(service) {
        labels[HEADLESS_LABEL] = json!("");
    }
    let endpoints: Vec<Value> = places
        .iter()
        .map(|place| {
            let conditions =
                json!({"ready": place.ready, "serving": place.serving, "terminating": place.terminating});
            bare(&json!({
                "addresses": [place.address], "conditions": conditions, "hostname": place.hostname,
                "nodeName": place.node, "targetRef": place.target(service),
            }))
        })
        .collect();
    let ports = places.first().map(|place| ports_json(&place.ports, true)).unwrap_or_default();
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": service.metadata.namespace, "labels": labels, "ownerReferences": owner(service),
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    });
    Wanted { group: "discovery.k8s.io", plural: "endpointslices", name, object }
}

fn endpoints(service: &Service, places: &[Place<'_>]) -> Wanted {
    let name = service.metadata.name.clone().unwrap_or_default();
    let subsets: Vec<Value> = places
        .chunk_by(|a, b| a.ports == b.ports)
        .map(|group| {
            let addresses = |ready: bool| -> Vec<Value> {
                let chosen =
                    group.iter().filter(|place| place.ready == ready && (ready || !place.terminating));
                chosen.take(ENDPOINTS_MAX).map(|place| address(service, place)).collect()
            };
            let ports = ports_json(&group[0].ports, false);
            bare(
                &json!({"addresses": addresses(true), "notReadyAddresses": addresses(false), "ports": ports}),
            )
        })
        .filter(|subset| subset.get("addresses").is_some() || subset.get("notReadyAddresses").is_some())
        .collect();
    let mut labels = json!({});
    if is_headless(service) {
        labels[HEADLESS_LABEL] = json!("");
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": name, "namespace": service.metadata.namespace, "labels": labels, "ownerReferences": owner(service),
        },
        "subsets": subsets,
    });
    Wanted { group: "", plural: "endpoints", name, object }
}

fn address(service: &Service, place: &Place<'_>) -> Value {
    json!({
        "ip": place.address, "hostname": place.hostname, "nodeName": place.node, "targetRef": place.target(service),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_service(spec: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "s"}, "spec": spec
        }))
        .expect("a service")
    }

    fn mk_pod(name: &str, address: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "hostname": name, "subdomain": "web", "containers": [
                {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": ready}]}
        }))
        .expect("a pod")
    }

    #[test]
    fn ready_pods_are_endpoints_and_others_are_told_apart() {
        let service = mk_service(json!({
            "selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 80, "targetPort": "http"}]
        }));
        let pods = [mk_pod("a", "10.0.0.1", "True"), mk_pod("b", "10.0.0.2", "False")];
        let wanted = wanted(&service, pods.iter());
        let (endpoints, slice) = (&wanted[0].object, &wanted[1].object);
        assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "10.0.0.1");
        assert_eq!(endpoints["subsets"][0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
        assert_eq!(slice["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
        assert_eq!(slice["endpoints"][0]["hostname"], "a");
        assert_eq!(
            slice["endpoints"][1]["conditions"],
            json!({"ready": false, "serving": false, "terminating": false})
        );
        assert_eq!(slice["metadata"]["labels"][HEADLESS_LABEL], "");
    }

    #[test]
    fn a_service_without_pods_has_an_empty_slice_and_one_without_selector_none() {
        let selecting = mk_service(json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}));
        assert_eq!(wanted(&selecting, [].into_iter()).len(), 2);
        let bare = mk_service(json!({"ports": [{"port": 80}]}));
        assert!(selector(&bare).is_none());
    }

    #[test]
    fn what_the_server_leaves_out_is_no_difference() {
        let service = mk_service(json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}));
        let slice = &wanted(&service, [].into_iter())[1];
        let mut present = slice.object.clone();
        present["metadata"]["resourceVersion"] = json!("7");
        present["ports"] = Value::Null;
        assert!(slice.is(&present));
        present["endpoints"] = json!([{"addresses": ["10.0.0.9"]}]);
        assert!(!slice.is(&present));
    }
}
