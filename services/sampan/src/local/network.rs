//! The addresses of local nodes, and the network namespaces that several nodes get.
//!
//! One node shares the machine's own network. Several are joined by a bridge, each in its namespace:
//! ```text
//!  sampanXXXX 10.88.0.1 ──┬── node-1 10.88.0.11, pods 10.244.1.0/24
//!                         └── node-2 10.88.0.12, pods 10.244.2.0/24
//! ```

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::layout::Cluster;

/// The bridge's own address, where nodes in namespaces reach the bus.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// The address of a node that has a namespace.
pub fn node_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, 10 + node)
}

/// The addresses of a node's pods.
pub fn pod_cidr(node: u8) -> String {
    format!("10.244.{node}.0/24")
}

/// The namespace of a node, or `None` when the cluster's one node shares the machine's network.
pub fn namespace(cluster: &Cluster, node: u8) -> Option<String> {
    (cluster.nodes > 1).then(|| format!("sampan-{}-{node}", cluster.id))
}

/// Makes bridge, namespaces and routes; what is there already stays.
pub fn prepare(cluster: &Cluster) -> Result<()> {
    if cluster.nodes == 1 {
        return Ok(());
    }
    let bridge = bridge(cluster);
    if !succeeds(&["ip", "link", "show", "dev", &bridge]) {
        ip(&["link", "add", &bridge, "type", "bridge"])?;
    }
    ip(&["addr", "replace", &format!("{GATEWAY}/24"), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    for node in 1..=cluster.nodes {
        join(cluster, &bridge, node)?;
    }
    for node in 1..=cluster.nodes {
        let namespace = namespace(cluster, node).context("several nodes have namespaces")?;
        ip(&["route", "replace", &pod_cidr(node), "via", &node_address(node).to_string()])?;
        for peer in (1..=cluster.nodes).filter(|peer| *peer != node) {
            let via = node_address(peer).to_string();
            ip(&["-n", &namespace, "route", "replace", &pod_cidr(peer), "via", &via])?;
        }
    }
    Ok(())
}

/// Removes bridge and namespaces.
pub fn remove(cluster: &Cluster) -> Result<()> {
    for node in 1..=cluster.nodes {
        if let Some(namespace) = namespace(cluster, node).filter(|name| exists(name)) {
            ip(&["netns", "delete", &namespace])?;
        }
    }
    let bridge = bridge(cluster);
    if succeeds(&["ip", "link", "show", "dev", &bridge]) {
        ip(&["link", "delete", &bridge])?;
    }
    Ok(())
}

fn bridge(cluster: &Cluster) -> String {
    format!("sampan{}", cluster.id)
}

fn exists(namespace: &str) -> bool {
    std::path::Path::new("/run/netns").join(namespace).exists()
}

fn join(cluster: &Cluster, bridge: &str, node: u8) -> Result<()> {
    let namespace = namespace(cluster, node).context("several nodes have namespaces")?;
    if exists(&namespace) {
        return Ok(());
    }
    let (outer, address) = (format!("sp{}n{node}", cluster.id), format!("{}/24", node_address(node)));
    ip(&["netns", "add", &namespace])?;
    ip(&["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
    ip(&["link", "set", &outer, "master", bridge, "up"])?;
    ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
    ip(&["-n", &namespace, "addr", "replace", &address, "dev", "eth0"])?;
    ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
    ip(&["-n", &namespace, "route", "replace", "default", "via", &GATEWAY.to_string()])?;
    ip(&["netns", "exec", &namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"])
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip: run `make setup`")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}
