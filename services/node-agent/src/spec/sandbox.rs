//! A pod as the runtime's sandbox.

use std::collections::HashMap;

use cri::v1::{
    DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol,
};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{all_containers, host_network, name, names, namespace, of, resources, security, uid};
use crate::settings::Settings;

/// Bytes that a host name may have.
const HOSTNAME_MAX: usize = 63;
/// Search domains and characters of them that resolvers read.
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
/// Name servers that resolvers ask.
const SERVERS_MAX: usize = 3;

/// What the runtime is asked for; `attempt` counts the pod's sandboxes.
pub fn config(pod: &Pod, attempt: u32, settings: &Settings) -> PodSandboxConfig {
    let (namespace, name, uid) = (namespace(pod), name(pod), uid(pod));
    let logs = settings.paths.pod_logs(namespace, name, uid);
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            attempt,
        }),
        // In the node's network the name is the node's.
        hostname: if host_network(pod) { String::new() } else { hostname(pod, settings) },
        log_directory: logs.display().to_string(),
        dns_config: Some(dns(pod, settings)),
        port_mappings: all_containers(pod).flat_map(ports).collect(),
        labels: labels(pod),
        annotations: pod.metadata.annotations.iter().flatten().map(owned).collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(pod),
            security_context: Some(security::sandbox(pod)),
            sysctls: sysctls(pod),
        }),
    }
}

/// What the pod asks for that this agent cannot give. To run it without would be to run another pod: most of these keep
/// it apart from others.
pub fn refusal(pod: &Pod) -> Option<String> {
    let spec = of(pod);
    if let Some(class) = spec.runtime_class_name.as_deref().filter(|class| !class.is_empty()) {
        return Some(format!("this node knows no runtime class {class:?}"));
    }
    if spec.host_users == Some(false) {
        return Some("this node gives pods no user namespace of their own".to_owned());
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Some("this node has no devices for resource claims".to_owned());
    }
    let devices =
        all_containers(pod).find(|container| container.volume_devices.iter().flatten().next().is_some());
    devices.map(|container| format!("this node has no block volumes for container {:?}", container.name))
}

/// The labels by which the pod's sandboxes and containers are known.
pub fn labels(pod: &Pod) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pod.metadata.labels.iter().flatten().map(owned).collect();
    for (label, value) in
        [(names::POD_NAME, name(pod)), (names::POD_NAMESPACE, namespace(pod)), (names::POD_UID, uid(pod))]
    {
        labels.insert(label.to_owned(), value.to_owned());
    }
    labels
}

/// The name that the pod's processes see.
pub fn hostname(pod: &Pod, settings: &Settings) -> String {
    let spec = of(pod);
    if let Some(whole) = &spec.hostname_override {
        return whole.clone();
    }
    let short = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(name(pod));
    let short = short.get(..HOSTNAME_MAX).unwrap_or(short).trim_end_matches(['-', '.']);
    match domain(pod, settings) {
        Some(domain) if spec.set_hostname_as_fqdn == Some(true) => format!("{short}.{domain}"),
        _ => short.to_owned(),
    }
}

/// The domain of a pod that names a subdomain.
pub fn domain(pod: &Pod, settings: &Settings) -> Option<String> {
    let subdomain = of(pod).subdomain.as_deref().filter(|subdomain| !subdomain.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{}", namespace(pod), settings.resolver.cluster_domain))
}

fn dns(pod: &Pod, settings: &Settings) -> DnsConfig {
    let resolver = &settings.resolver;
    let policy = of(pod).dns_policy.as_deref().unwrap_or("ClusterFirst");
    let in_cluster = match policy {
        "ClusterFirst" => !host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut config = match policy {
        "None" => DnsConfig::default(),
        _ if in_cluster && !resolver.cluster_servers.is_empty() => {
            let domain = &resolver.cluster_domain;
            let mut searches =
                vec![format!("{}.svc.{domain}", namespace(pod)), format!("svc.{domain}"), domain.clone()];
            searches.extend(resolver.host_searches.clone());
            DnsConfig {
                servers: resolver.cluster_servers.clone(),
                searches,
                options: vec!["ndots:5".to_owned()],
            }
        }
        _ => DnsConfig {
            servers: resolver.host_servers.clone(),
            searches: resolver.host_searches.clone(),
            options: resolver.host_options.clone(),
        },
    };
    if let Some(own) = &of(pod).dns_config {
        add_new(&mut config.servers, own.nameservers.iter().flatten().cloned());
        add_new(&mut config.searches, own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            // The pod's own value of an option wins.
            config.options.retain(|known| known.split(':').next() != Some(name));
            config.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.clone(),
            });
        }
    }
    config.servers.truncate(SERVERS_MAX);
    config.searches.truncate(SEARCHES_MAX);
    while config.searches.iter().map(|domain| domain.len() + 1).sum::<usize>() > SEARCH_BYTES_MAX {
        config.searches.pop();
    }
    config
}

fn add_new(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}

fn ports(container: &Container) -> Vec<PortMapping> {
    let ports = container.ports.iter().flatten();
    let mapped = ports.filter(|port| port.host_port.is_some_and(|host| host != 0));
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| PortMapping {
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        }
        .into(),
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or_default(),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    };
    mapped.map(mapping).collect()
}

fn sysctls(pod: &Pod) -> HashMap<String, String> {
    let context = of(pod).security_context.as_ref();
    let sysctls = context.and_then(|context| context.sysctls.as_ref());
    sysctls.into_iter().flatten().map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect()
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixture;
    use super::*;

    fn dns_of(spec: Value) -> DnsConfig {
        let mut settings = fixture::settings();
        settings.resolver.cluster_servers = vec!["10.96.0.10".to_owned()];
        settings.resolver.cluster_domain = "cluster.local".to_owned();
        dns(&fixture::pod(spec), &settings)
    }

    #[test]
    fn names_are_resolved_by_policy() {
        let cluster = dns_of(json!({}));
        assert_eq!(cluster.servers, ["10.96.0.10"]);
        assert_eq!(cluster.searches, ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(cluster.options, ["ndots:5"]);
        assert_eq!(dns_of(json!({"hostNetwork": true})).servers, ["192.0.2.53"]);
        assert_eq!(dns_of(json!({"dnsPolicy": "Default"})).servers, ["192.0.2.53"]);
        let own = dns_of(json!({
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["192.0.2.1"], "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]},
        }));
        assert_eq!(
            (own.servers, own.options),
            (vec!["192.0.2.1".to_owned()], vec!["ndots:2".to_owned(), "rotate".to_owned()])
        );
        let both = dns_of(json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}));
        assert_eq!(both.options, ["ndots:2"]);
    }

    #[test]
    fn what_this_node_cannot_give_is_refused() {
        let refused = |spec: Value| refusal(&fixture::pod(spec));
        assert_eq!(refused(json!({})), None);
        assert_eq!(refused(json!({"hostUsers": true})), None);
        let device = json!({"name": "v", "devicePath": "/dev/x"});
        for spec in [
            json!({"runtimeClassName": "gvisor"}),
            json!({"hostUsers": false}),
            json!({"resourceClaims": [{"name": "gpu"}]}),
            json!({"containers": [{"name": "a", "volumeDevices": [device]}]}),
        ] {
            assert!(refused(spec.clone()).is_some(), "{spec}");
        }
    }

    #[test]
    fn a_sandbox_is_known_by_its_pod() {
        let pod = fixture::pod(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]}),
        );
        let config = config(&pod, 2, &fixture::settings());
        assert_eq!(config.hostname, "web");
        assert_eq!(config.log_directory, "/agent/log/pods/default_web_u1");
        assert_eq!(config.labels[names::POD_UID], "u1");
        assert_eq!(config.labels["app"], "web");
        assert_eq!(config.metadata.unwrap().attempt, 2);
        assert_eq!(config.port_mappings.len(), 1);
        assert_eq!(config.port_mappings[0].protocol(), Protocol::Udp);
    }
}
