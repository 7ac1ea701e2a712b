//! `sampan status`: the cluster at a glance.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step};

pub const STEPS: &[Step] = &[
    ("sampan status shows units, nodes, pods and the log", at_a_glance),
    ("sampan status asks a cluster elsewhere by its kubeconfig", elsewhere),
];

fn at_a_glance(cluster: &Cluster) -> Result<()> {
    let shown = cluster.sampan_with(&["status"])?;
    println!("{shown}");
    for unit in ["nats", "apiserver", "scheduler", "replica-controller", "node-agent-1"] {
        let line = shown.lines().find(|line| line.starts_with(unit)).with_context(|| format!("no {unit}"))?;
        ensure!(line.ends_with("ready"), "{line}");
    }
    let scheduler = shown.lines().find(|line| line.starts_with("scheduler")).unwrap_or_default();
    let behind = scheduler.split_whitespace().nth(3).unwrap_or_default();
    ensure!(behind.parse::<u64>().is_ok(), "how far it is behind: {scheduler}");
    all_told(&shown)
}

fn elsewhere(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig();
    let kubeconfig = kubeconfig.to_str().context("the path is text")?;
    let shown = cluster.sampan_with(&["status", "--kubeconfig", kubeconfig])?;
    ensure!(!shown.contains("PID"), "its processes are not here");
    all_told(&shown)
}

fn all_told(shown: &str) -> Result<()> {
    for (name, what) in [("nodes", "1 of 1 Ready"), ("pods", "Running"), ("log", "STATE at")] {
        let line = shown.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        ensure!(line.contains(what), "{line}");
    }
    Ok(())
}
