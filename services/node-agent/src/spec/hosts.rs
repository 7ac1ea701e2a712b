//! The `/etc/hosts` of a pod.

use k8s_openapi::api::core::v1::Pod;

use super::{host_network, of, sandbox};
use crate::settings::Settings;

/// The file's text: the usual names, the pod's own, and its aliases. Pods in the node's network see the node's file.
pub fn file(pod: &Pod, pod_ips: &[String], settings: &Settings) -> String {
    let mut text = String::from("# Managed by the node agent: this file is made anew with the container.\n");
    if host_network(pod) {
        text.push_str(&settings.hosts_file);
    } else {
        text.push_str(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let (hostname, domain) = (sandbox::hostname(pod, settings), sandbox::domain(pod, settings));
        for ip in pod_ips {
            match &domain {
                Some(domain) => text.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n")),
                None => text.push_str(&format!("{ip}\t{hostname}\n")),
            }
        }
    }
    let aliases = of(pod).host_aliases.iter().flatten();
    for (index, alias) in aliases.enumerate() {
        if index == 0 {
            text.push_str("\n# From spec.hostAliases.\n");
        }
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture;
    use super::*;

    #[test]
    fn a_pod_finds_itself_and_its_aliases() {
        let pod = fixture::pod(json!({
            "subdomain": "db", "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["a", "b"]}],
        }));
        let mut settings = fixture::settings();
        settings.resolver.cluster_domain = "cluster.local".to_owned();
        let text = file(&pod, &["10.1.0.2".to_owned()], &settings);
        assert!(text.contains("10.1.0.2\tweb.db.default.svc.cluster.local\tweb\n"), "{text}");
        assert!(text.ends_with("192.0.2.9\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_pod_in_the_nodes_network_sees_the_nodes_names() {
        let pod = fixture::pod(json!({"hostNetwork": true}));
        assert!(file(&pod, &[], &fixture::settings()).ends_with("127.0.0.1 localhost\n"));
    }
}
