//! The addresses of local nodes, and the network namespaces that several nodes get.
//!
//! One node shares the machine's own network. Several are joined by a bridge, each in its namespace:
//! ```text
//!  sampanXXXX 10.88.0.1 ──┬── node-1 10.88.0.11, pods 10.244.1.0/24
//!                         └── node-2 10.88.0.12, pods 10.244.2.0/24
//! ```
//! The bridge's address is there with one node as well: pods reach the API server and the name server at it, and
//! nobody outside of the machine does.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tracing::warn;

use super::layout::Cluster;

/// The bridge's own address, where pods and nodes in namespaces reach what runs beside them.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The addresses of nodes in namespaces.
const NODES: &str = "10.88.0.0/24";
/// The addresses of all pods.
pub const PODS: &str = "10.244.0.0/16";
/// The part of it that nodes which join get theirs from: those of this machine have the first ones.
pub const FURTHER_PODS: &str = "10.244.128.0/17";
/// The table that node agents keep for Services; that of a node in the machine's own network goes with the cluster.
const SERVICES_TABLE: &str = "sampan";

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
    let bridge = bridge(cluster);
    if !succeeds(&["ip", "link", "show", "dev", &bridge]) {
        ip(&["link", "add", &bridge, "type", "bridge"])?;
    }
    // One node needs the address alone.
    let prefix = if cluster.nodes > 1 { 24 } else { 32 };
    ip(&["addr", "replace", &format!("{GATEWAY}/{prefix}"), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot let packets through")?;
    let_through(cluster)?;
    if cluster.nodes == 1 {
        return Ok(());
    }
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
    masquerade(&bridge)
}

/// Ends what Services do on the machine's own network: nothing answers for them any more.
pub fn end_services(cluster: &Cluster) {
    // In namespaces it goes with them.
    if cluster.nodes == 1
        && succeeds(&["nft", "list", "table", "ip", SERVICES_TABLE])
        && let Err(error) = nft(&format!("delete table ip {SERVICES_TABLE}\n"))
    {
        warn!("Services are still answered for: {error:#}");
    }
}

/// Removes bridge, namespaces and tables.
pub fn remove(cluster: &Cluster) -> Result<()> {
    for node in 1..=cluster.nodes {
        if let Some(namespace) = namespace(cluster, node).filter(|name| exists(name)) {
            ip(&["netns", "delete", &namespace])?;
        }
    }
    end_services(cluster);
    let bridge = bridge(cluster);
    if succeeds(&["nft", "list", "table", "ip", &bridge]) {
        nft(&format!("delete table ip {bridge}\n"))?;
    }
    for rule in forward_rules() {
        while succeeds(&[&["iptables", "-w", "-D", "FORWARD"], rule.as_slice()].concat()) {}
    }
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

/// What nodes in namespaces send beyond this machine has the machine's address, so that answers come back.
fn masquerade(bridge: &str) -> Result<()> {
    nft(&format!(
        "add table ip {bridge}
delete table ip {bridge}
table ip {bridge} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {{ {NODES}, {PODS} }} ip daddr != {{ {NODES}, {PODS} }} masquerade
  }}
}}
"
    ))
}

/// A machine that lets nothing through by itself, as Docker leaves it, is told to let the cluster's packets through.
fn let_through(cluster: &Cluster) -> Result<()> {
    let policy = Command::new("iptables").args(["-w", "-S", "FORWARD"]).output();
    let drops = policy.is_ok_and(|output| output.stdout.starts_with(b"-P FORWARD DROP"));
    if !drops {
        return Ok(());
    }
    for rule in forward_rules() {
        let with = |verb: &'static str| [&["iptables", "-w", verb, "FORWARD"], rule.as_slice()].concat();
        if !succeeds(&with("-C")) && !succeeds(&with("-I")) {
            bail!("iptables does not let packets of {} through", bridge(cluster));
        }
    }
    Ok(())
}

fn forward_rules() -> [Vec<&'static str>; 4] {
    let accept = |which, range| vec![which, range, "-j", "ACCEPT"];
    [accept("-s", NODES), accept("-d", NODES), accept("-s", PODS), accept("-d", PODS)]
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip: run `make setup`")?;
    if !output.status.success() {
        bail!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn nft(text: &str) -> Result<()> {
    use std::io::Write;
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run nft: run `make setup`")?;
    child.stdin.take().context("its input was asked for")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output().context("nft did not end")?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}
