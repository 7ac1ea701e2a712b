//! The Services that a pod finds in its environment, as they were when its container was made.
//!
//! A program that knows no DNS finds a Service `web` of its namespace by `WEB_SERVICE_HOST` and `WEB_SERVICE_PORT`,
//! and every program the API servers by `KUBERNETES_SERVICE_HOST`.

use k8s_openapi::api::core::v1::{Pod, Service};

use super::{References, namespace, of};

/// Where the API servers' own Service is; every pod finds it.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// Names and values, sorted by Service.
pub fn variables(pod: &Pod, references: &dyn References) -> Vec<(String, String)> {
    let own = namespace(pod);
    let mut services = match of(pod).enable_service_links {
        Some(false) => Vec::new(),
        _ => references.services(own),
    };
    let is_master = |service: &&Service| service.metadata.name.as_deref() == Some(MASTER.1);
    if !(own == MASTER.0 && services.iter().any(is_master)) {
        services.retain(|service| !is_master(service));
        services.extend(references.services(MASTER.0).into_iter().filter(is_master));
    }
    services.into_iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let (prefix, ports) = (variable(name), spec.ports.as_deref().unwrap_or_default());
    let address = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return Vec::new(),
        Some(address) => address,
    };
    let Some(first) = ports.first() else { return Vec::new() };
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), address.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.port.to_string()));
        }
    }
    // As the links of Docker called them.
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let (url, upper) = (protocol.to_lowercase(), protocol.to_uppercase());
        let whole = format!("{url}://{address}:{}", port.port);
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), whole.clone()));
        }
        let link = format!("{prefix}_PORT_{}_{upper}", port.port);
        variables.extend([
            (link.clone(), whole),
            (format!("{link}_PROTO"), url),
            (format!("{link}_PORT"), port.port.to_string()),
            (format!("{link}_ADDR"), address.to_owned()),
        ]);
    }
    variables
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture;
    use super::*;

    fn names(spec: serde_json::Value, objects: &fixture::Objects) -> Vec<String> {
        variables(&fixture::pod(spec), objects)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn a_pod_finds_the_services_of_its_namespace() {
        let objects = fixture::Objects::default().service(
            "my-web",
            "10.96.0.7",
            json!([{"name": "http-x", "port": 80}]),
        );
        let expected = [
            "MY_WEB_SERVICE_HOST=10.96.0.7",
            "MY_WEB_SERVICE_PORT=80",
            "MY_WEB_SERVICE_PORT_HTTP_X=80",
            "MY_WEB_PORT=tcp://10.96.0.7:80",
            "MY_WEB_PORT_80_TCP=tcp://10.96.0.7:80",
            "MY_WEB_PORT_80_TCP_PROTO=tcp",
            "MY_WEB_PORT_80_TCP_PORT=80",
            "MY_WEB_PORT_80_TCP_ADDR=10.96.0.7",
        ];
        assert_eq!(names(json!({}), &objects), expected);
        let headless = fixture::Objects::default().service("web", "None", json!([{"port": 80}]));
        assert!(names(json!({}), &headless).is_empty());
    }

    #[test]
    fn every_pod_finds_the_api_servers() {
        let objects = fixture::Objects::default()
            .service("kubernetes", "10.96.0.1", json!([{"port": 443}]))
            .service("web", "10.96.0.7", json!([{"port": 80}]));
        let alone = names(json!({"enableServiceLinks": false}), &objects);
        assert_eq!(alone[0], "KUBERNETES_SERVICE_HOST=10.96.0.1");
        assert!(!alone.iter().any(|one| one.starts_with("WEB")));
        let all = names(json!({}), &objects);
        assert_eq!(all.iter().filter(|one| one.starts_with("KUBERNETES_SERVICE_HOST")).count(), 1);
        assert!(all.iter().any(|one| one.starts_with("WEB")));
    }
}
