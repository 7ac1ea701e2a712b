//! What becomes of a node of a cluster of several: cut off from everything, or without power.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Cluster;

/// Cuts a node off: it runs on, and nobody hears of it.
pub fn cut_off(cluster: &Cluster, node: &str) -> Result<()> {
    set_link(cluster, node, "down")
}

/// Takes a node's power: it is cut off, and every process of it ends at once. The supervisor starts agent and
/// containerd again, which nobody hears of before the link is back: a machine that boots.
pub fn power_cut(cluster: &Cluster, node: &str) -> Result<()> {
    let namespace = format!("/run/netns/sampan-{}-{}", cluster.id()?, number(node)?);
    cut_off(cluster, node)?;
    let doomed = processes_of(Path::new(&namespace))?;
    ensure!(!doomed.is_empty(), "nothing runs in {namespace}");
    for pid in doomed {
        // It may have ended with its parent.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Ok(())
}

/// The node's link is up again.
pub fn end(cluster: &Cluster, node: &str) -> Result<()> {
    set_link(cluster, node, "up")
}

fn number(node: &str) -> Result<&str> {
    node.strip_prefix("node-").context("local nodes are node-1, node-2, …")
}

/// The end outside of the node: with its own end down it would lose its routes.
fn set_link(cluster: &Cluster, node: &str, state: &str) -> Result<()> {
    let link = format!("sp{}n{}", cluster.id()?, number(node)?);
    let output = Command::new("ip").args(["link", "set", &link, state]).output().context("cannot run ip")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip link set {link} {state}: {text}");
    Ok(())
}

/// Every process in a network namespace, and what they started in others: containers have namespaces of their own.
fn processes_of(namespace: &Path) -> Result<Vec<i32>> {
    let node =
        std::fs::metadata(namespace).with_context(|| format!("no namespace {}", namespace.display()))?;
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut found: Vec<i32> = Vec::new();
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Who ends meanwhile is not looked for.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        children.entry(parent.unwrap_or_default()).or_default().push(pid);
        let here = std::fs::metadata(entry.path().join("ns/net"));
        if here.is_ok_and(|here| (here.dev(), here.ino()) == (node.dev(), node.ino())) {
            found.push(pid);
        }
    }
    let mut seen: HashSet<i32> = found.iter().copied().collect();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        let more = children.remove(&pid).unwrap_or_default();
        found.extend(more.into_iter().filter(|child| seen.insert(*child)));
        next += 1;
    }
    Ok(found)
}
