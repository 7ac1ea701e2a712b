//! What a user asks of a new cluster first.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("kubectl version shows client and server", version),
    ("the node is Ready and tells its address, system and runtime", node),
    ("kubectl cluster-info names the control plane", cluster_info),
    ("kubectl api-resources lists names, short names, verbs and categories", api_resources),
    ("kubectl explain has the fields and their descriptions", explain),
    ("a namespace has its account and the cluster's CA", namespace_content),
];

fn version(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("version")?;
    ensure!(text.contains("Client Version") && text.contains("Server Version: v1.35"), "{text}");
    Ok(())
}

fn node(cluster: &Cluster) -> Result<()> {
    let text = eventually("the node is Ready", || {
        let text = cluster.kubectl().ok("get nodes -o wide")?;
        Ok(text.contains(" Ready ").then_some(text))
    })?;
    for column in ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION"] {
        ensure!(text.contains(column), "no column {column}:\n{text}");
    }
    ensure!(text.contains("containerd://"), "{text}");
    Ok(())
}

fn cluster_info(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("cluster-info")?;
    ensure!(text.contains("control plane") && text.contains("is running at"), "{text}");
    Ok(())
}

fn api_resources(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("api-resources -o wide")?;
    for (name, short) in
        [("pods", "po"), ("deployments", "deploy"), ("services", "svc"), ("configmaps", "cm")]
    {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        ensure!(line.contains(short) && line.contains("deletecollection"), "{name}: {line:?}");
    }
    let all = cluster.kubectl().ok("api-resources --categories=all -o name")?;
    ensure!(all.lines().any(|line| line == "deployments.apps"), "{all}");
    Ok(())
}

fn explain(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok("explain pod.spec")?;
    ensure!(text.contains("containers") && text.contains("restartPolicy"), "{text}");
    ensure!(text.contains("List of containers belonging to the pod"), "no description:\n{text}");
    cluster.kubectl().ok("explain deployment --recursive")?;
    Ok(())
}

fn namespace_content(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create namespace walk")?;
    eventually("the account is there", || Ok(kubectl.ok("get sa default -n walk").ok()))?;
    let ca = eventually("the CA is there", || {
        Ok(kubectl.path("get cm kube-root-ca.crt -n walk", "{.data.ca\\.crt}").ok())
    })?;
    ensure!(ca.contains("BEGIN CERTIFICATE"), "{ca}");
    kubectl.ok("delete namespace walk")?;
    ensure!(kubectl.refused("get namespace walk")?.contains("not found"), "the namespace is gone");
    Ok(())
}
