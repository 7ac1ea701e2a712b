//! `sampan trace`: the hops of a pod.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("sampan trace shows the hops of a Deployment's pod in their order", hops_of_a_deployments_pod),
    ("sampan trace says why a pod has no node", why_a_pod_waits),
];

fn trace(cluster: &Cluster, pod: &str) -> Result<String> {
    let kubeconfig = cluster.kubeconfig();
    let kubeconfig = kubeconfig.to_str().context("the path is text")?;
    cluster.sampan_with(&["trace", pod, "--kubeconfig", kubeconfig])
}

fn hops_of_a_deployments_pod(cluster: &Cluster) -> Result<()> {
    let pods = "get pods -l app=traced -o name";
    let pod = cluster.kubectl().ok(pods)?.trim().trim_start_matches("pod/").to_owned();
    let shown = eventually("the pod is told to be ready", || {
        let shown = trace(cluster, &pod)?;
        Ok(shown.contains("Ready").then_some(shown))
    })?;
    println!("{shown}");
    let expected = [
        ("kubectl > apiserver", "Deployment traced created"),
        ("replica-controller", "ReplicaSet traced-"),
        ("replica-controller", "pod traced-"),
        ("scheduler > binder", "bound to node-1"),
        ("node", "Running"),
    ];
    let mut lines = shown.lines().skip(1);
    for (who, what) in expected {
        let line = lines.find(|line| line.starts_with(who) && line.contains(what));
        let line = line.with_context(|| format!("{who}: {what}"))?;
        let sequence = line[who.len()..].split_whitespace().next().unwrap_or_default();
        ensure!(sequence.parse::<u64>().is_ok(), "no sequence: {line}");
    }
    ensure!(shown.contains("\ntrace "), "the trace that it belongs to");
    Ok(())
}

fn why_a_pod_waits(cluster: &Cluster) -> Result<()> {
    let overrides = r#"--overrides={"spec":{"nodeSelector":{"no":"where"}}}"#;
    cluster.kubectl().ok_with(&["run", "lost", "--image=busybox:1", overrides])?;
    eventually("the refusal is told", || {
        let shown = trace(cluster, "lost")?;
        Ok(shown.contains("no node: 0/1 nodes are available").then_some(()))
    })
}
