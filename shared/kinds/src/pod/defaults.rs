//! What a pod's spec leaves out.

use model::{Object, Quantity};
use serde_json::{Map, Value, json};

use crate::field::quantity;
use crate::fill::{self, Fields};

/// Readable by all, writable by the owner: 0644.
const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// Fields of a volume that are not its source.
pub const NOT_A_SOURCE: &str = "name";

/// The defaults of a pod; some hold of pods and not of templates.
pub fn default(pod: &mut Object) {
    let Some(spec) = fill::object(pod, "spec") else { return };
    self::spec(spec);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["containers", "initContainers"] {
        for container in fill::objects(spec, list) {
            requests_from_limits(container);
            if host_network {
                fill::objects(container, "ports").for_each(port_of_the_host);
            }
        }
    }
    pod_requests(spec);
    fill::value(spec, "enableServiceLinks", true);
}

/// The defaults of every pod spec.
pub fn spec(spec: &mut Fields) {
    fill::text(spec, "dnsPolicy", "ClusterFirst");
    fill::text(spec, "restartPolicy", "Always");
    fill::value(spec, "securityContext", Map::new());
    fill::value(spec, "terminationGracePeriodSeconds", 30);
    fill::text(spec, "schedulerName", "default-scheduler");
    both_account_names(spec);
    fill::resources(spec, "overhead");
    if let Some(resources) = fill::object(spec, "resources") {
        amounts(resources);
    }
    for list in CONTAINERS {
        fill::objects(spec, list).for_each(container);
    }
    fill::objects(spec, "volumes").for_each(volume);
}

/// `serviceAccount` is the old name of `serviceAccountName`; old clients read it.
fn both_account_names(spec: &mut Fields) {
    let text = |name: &str| spec.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(name) = text("serviceAccountName").or(text("serviceAccount")).map(str::to_owned) {
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
    }
}

fn container(container: &mut Fields) {
    fill::text(container, "terminationMessagePath", "/dev/termination-log");
    fill::text(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    fill::text(container, "imagePullPolicy", policy);
    if let Some(resources) = fill::object_or_new(container, "resources") {
        amounts(resources);
    }
    fill::objects(container, "ports").for_each(|port| fill::text(port, "protocol", "TCP"));
    for variable in fill::objects(container, "env") {
        if let Some(from) = fill::object(variable, "valueFrom") {
            references(from);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(one) = fill::object(container, name) {
            probe(one);
        }
    }
    if let Some(lifecycle) = fill::object(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = fill::object(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

/// `Always` for the tag `latest`, said or unsaid; any other image does not change.
pub fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    match (tag, digest) {
        _ if image.is_empty() => "IfNotPresent",
        (Some("latest"), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

fn amounts(resources: &mut Fields) {
    fill::resources(resources, "limits");
    fill::resources(resources, "requests");
}

/// A field or resource that a variable or file is made from.
fn references(from: &mut Fields) {
    if let Some(field) = fill::object(from, "fieldRef") {
        fill::text(field, "apiVersion", "v1");
    }
    if let Some(resource) = fill::object(from, "resourceFieldRef") {
        fill::value(resource, "divisor", "0");
    }
}

fn probe(probe: &mut Fields) {
    for (name, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        fill::number(probe, name, default);
    }
    http_get(probe);
    if let Some(grpc) = fill::object(probe, "grpc") {
        fill::value(grpc, "service", "");
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(http) = fill::object(handler, "httpGet") {
        fill::text(http, "path", "/");
        fill::text(http, "scheme", "HTTP");
    }
}

fn port_of_the_host(port: &mut Fields) {
    if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
        fill::number(port, "hostPort", number);
    }
}

fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = fill::object(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if let Some(requests) = fill::object_or_new(resources, "requests") {
        fill::missing(requests, &limits);
    }
}

/// A pod that limits itself as a whole asks for what its containers ask for, else for its limit.
fn pod_requests(spec: &mut Fields) {
    let limits = spec.get("resources").and_then(|resources| resources["limits"].as_object()).cloned();
    let Some(limits) = limits else { return };
    let asked = |name: &str| -> Option<Quantity> {
        let containers = spec.get("containers").and_then(Value::as_array)?;
        let asked = containers.iter().filter_map(|one| quantity(&one["resources"]["requests"][name]));
        let asked: Vec<Quantity> = asked.collect();
        (!asked.is_empty()).then(|| asked.into_iter().sum())
    };
    let wanted: Fields = limits
        .iter()
        .map(|(name, limit)| {
            (name.clone(), asked(name).map_or_else(|| limit.clone(), |sum| sum.to_string().into()))
        })
        .collect();
    if let Some(resources) = fill::object(spec, "resources")
        && let Some(requests) = fill::object_or_new(resources, "requests")
    {
        fill::missing(requests, &wanted);
    }
}

fn volume(volume: &mut Fields) {
    if volume.keys().all(|name| name == NOT_A_SOURCE) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = fill::object(volume, name) {
            fill::value(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = fill::object(volume, "hostPath") {
        fill::value(path, "type", "");
    }
    if let Some(image) = fill::object(volume, "image") {
        let policy = pull_policy(image.get("reference").and_then(Value::as_str).unwrap_or_default());
        fill::text(image, "pullPolicy", policy);
    }
    if let Some(iscsi) = fill::object(volume, "iscsi") {
        fill::text(iscsi, "iscsiInterface", "default");
    }
    if let Some(downward) = fill::object(volume, "downwardAPI") {
        fill::objects(downward, "items").for_each(references);
    }
    if let Some(projected) = fill::object(volume, "projected") {
        fill::objects(projected, "sources").for_each(projection);
    }
    if let Some(ephemeral) = fill::object(volume, "ephemeral")
        && let Some(claim) = fill::object(ephemeral, "volumeClaimTemplate")
        && let Some(spec) = fill::object(claim, "spec")
    {
        crate::volume::default_claim_spec(spec);
    }
}

fn projection(source: &mut Fields) {
    if let Some(token) = fill::object(source, "serviceAccountToken") {
        fill::value(token, "expirationSeconds", TOKEN_SECONDS);
    }
    if let Some(downward) = fill::object(source, "downwardAPI") {
        fill::objects(downward, "items").for_each(references);
    }
}
