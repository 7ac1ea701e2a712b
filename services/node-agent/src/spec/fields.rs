//! Fields of a pod that its containers may read: `fieldRef` and `resourceFieldRef`.

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use model::quantity::Quantity;

use super::{Addresses, all_containers, name, namespace, of, uid};
use crate::settings::Settings;

/// A reference to a field that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoSuchField(String);

/// The text of a field. A field that is not known yet, as the pod's address, is empty.
pub fn field(
    selector: &ObjectFieldSelector,
    pod: &Pod,
    addresses: &Addresses,
) -> Result<String, NoSuchField> {
    let path = selector.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let metadata = &pod.metadata;
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    Ok(match path {
        "metadata.name" => name(pod).to_owned(),
        "metadata.namespace" => namespace(pod).to_owned(),
        "metadata.uid" => uid(pod).to_owned(),
        "metadata.labels" => lines(&pod.metadata.labels),
        "metadata.annotations" => lines(&pod.metadata.annotations),
        "spec.nodeName" => of(pod).node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => of(pod).service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(&addresses.host_ips),
        "status.hostIPs" => addresses.host_ips.join(","),
        "status.podIP" => first(&addresses.pod_ips),
        "status.podIPs" => addresses.pod_ips.join(","),
        _ => return Err(unsupported(path)),
    })
}

/// A container's request or limit in units of the divisor, rounded up.
pub fn resource(
    selector: &ResourceFieldSelector,
    pod: &Pod,
    own: Option<&Container>,
    settings: &Settings,
) -> Result<String, NoSuchField> {
    let container = match selector.container_name.as_deref() {
        None | Some("") => own,
        Some(named) => all_containers(pod).find(|container| container.name == named),
    };
    let Some(container) = container else {
        let named = selector.container_name.as_deref().unwrap_or("");
        return Err(NoSuchField(format!("container {named} not found")));
    };
    let (side, what) = selector.resource.split_once('.').unwrap_or(("", ""));
    let resources = container.resources.as_ref();
    let (limits, requests) = (
        resources.and_then(|resources| resources.limits.as_ref()),
        resources.and_then(|resources| resources.requests.as_ref()),
    );
    let parse = |amounts: Option<&std::collections::BTreeMap<String, _>>| {
        amounts.and_then(|amounts| amounts.get(what)).and_then(
            |amount: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
                Quantity::parse(&amount.0).ok()
            },
        )
    };
    let amount = match side {
        // A container without a limit may use what the node has.
        "limits" => parse(limits).or_else(|| whole_node(what, settings)),
        "requests" => parse(requests).or_else(|| parse(limits)).or(Some(Quantity::ZERO)),
        _ => None,
    };
    let Some(amount) = amount else {
        return Err(NoSuchField(format!("unsupported container resource : {}", selector.resource)));
    };
    let divisor = selector.divisor.as_ref().and_then(|divisor| Quantity::parse(&divisor.0).ok());
    Ok(divided(what, amount, divisor.filter(|divisor| !divisor.is_zero())).to_string())
}

/// `metadata.labels['key']` as map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

fn unsupported(path: &str) -> NoSuchField {
    NoSuchField(format!("unsupported fieldPath: {path}"))
}

/// A map as the downward API writes it: sorted, a line each, values quoted.
fn lines(map: &Option<std::collections::BTreeMap<String, String>>) -> String {
    let entries = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
    entries.collect::<Vec<_>>().join("\n")
}

fn whole_node(what: &str, settings: &Settings) -> Option<Quantity> {
    let allocatable = settings.allocatable;
    match what {
        "cpu" => Some(Quantity::thousandths(allocatable.cpu_milli)),
        "memory" => Some(Quantity::bytes(allocatable.memory)),
        "ephemeral-storage" => Some(Quantity::bytes(allocatable.ephemeral_storage)),
        _ => None,
    }
}

fn divided(what: &str, amount: Quantity, divisor: Option<Quantity>) -> i64 {
    // In thousandths a cpu divides exactly; memory in thousandths of a byte still fits for 9 petabytes.
    let divisor = divisor.unwrap_or(Quantity::whole(1));
    match what {
        "cpu" => ceil(amount.milli(), divisor.milli()),
        _ => ceil(amount.value(), divisor.value()),
    }
}

fn ceil(amount: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    amount / divisor + i64::from(amount % divisor > 0)
}
