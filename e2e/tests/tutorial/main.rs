//! A beginner's tutorial on Kubernetes, followed command by command with the real kubectl on three nodes.
//!
//! One step after the other, in the tutorial's order and words; a step finds what those before it left.

mod call_flow;
mod master_replica;
mod moments;
mod node_down;
mod operator;
mod sentinel;
mod single;
mod terminal;

use std::process::ExitCode;

use anyhow::{Context, Result};
use e2e::{Cluster, Step, walk};

const STEPS: &[&[Step]] = &[
    single::STEPS,
    call_flow::STEPS,
    master_replica::STEPS,
    sentinel::STEPS,
    node_down::STEPS,
    operator::STEPS,
];

/// How long a node may be silent. Kubernetes waits 40 s; nothing of the tutorial depends on how long it is, and a
/// heartbeat every 5 s leaves room for one that is lost.
const GRACE_SECONDS: &str = "12";
/// What pods can have of node-1: less than two containers of 2 GiB.
const SMALL_NODE: u64 = 3_500_000_000;
/// What a node keeps for itself in any case.
const KEPT: u64 = 100 << 20;

/// A Deployment that spreads over the nodes, with a Service. SECONDS is how long its pods bear a node that nobody
/// hears of; Kubernetes gives them five minutes.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: SECONDS}
      containers: [{name: redis, image: redis, ports: [{containerPort: 6379}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 6379}]}
"#;

fn main() -> ExitCode {
    match three_nodes() {
        Ok(cluster) => walk(&cluster, &STEPS.concat()),
        Err(error) => {
            eprintln!("no cluster to follow the tutorial on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// node-1 has 3.5 GB for pods, the others what the machine has.
fn three_nodes() -> Result<Cluster> {
    let reserved = machine_memory()?.saturating_sub(SMALL_NODE + KEPT);
    let reserved = format!("1:memory={reserved}");
    Cluster::up_with(
        &["--nodes", "3", "--system-reserved", &reserved],
        &[("SAMPAN_NODE_GRACE_SECONDS", GRACE_SECONDS)],
    )
}

fn machine_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("no /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no MemTotal")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// Writes a manifest as the tutorial names it; returns its path.
fn manifest(cluster: &Cluster, name: &str, text: &str) -> Result<String> {
    let path = cluster.folder().join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {name}"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// The node that a pod is on.
fn node_of(cluster: &Cluster, pod: &str) -> Result<String> {
    cluster.kubectl().path(&format!("get pod {pod}"), "{.spec.nodeName}")
}
