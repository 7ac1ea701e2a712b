use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl, Step, eventually};
use serde_json::{Value, json};

use crate::machine;

pub const STEPS: &[Step] = &[
    ("the printed command makes the second machine a Ready node", joins),
    ("a pod there reaches a Service of the first machine by its name, and is reached", reaches),
    ("who shows a token over HTTPS is a bootstrapper, and a node's credentials are nobody's", over_https),
    ("stopped and started, the node goes on without a token", goes_on),
];

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  nodeName: node-1
  containers: [{name: redis, image: redis}]
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {app: server}, ports: [{port: 6379}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: second
  terminationGracePeriodSeconds: 1
  containers: [{name: redis, image: redis}]
"#;

fn joins(cluster: &Cluster) -> Result<()> {
    let command = machine::token(cluster, "create --print-join-command --uses 1")?;
    ensure!(command.starts_with("sampan join tls://198.51.100.1:"), "{command}");
    ensure!(command.contains(" --ca-cert-hash sha256:"), "{command}");
    machine::start(cluster, &command)?;
    machine::ready(cluster)?;
    ensure!(machine::mode(cluster, "bus.creds")? == 0o600, "others read the credentials");
    let used_up = machine::refused(cluster, &command, "third")?;
    ensure!(used_up.0 == 3 && used_up.1.contains("used up"), "{used_up:?}");
    Ok(())
}

fn reaches(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("apply -f -", PODS)?;
    kubectl.ok("wait pod/server pod/client --for=condition=Ready --timeout=60s")?;
    let ping = "exec client -- redis-cli -h server ping";
    eventually("the Service answers", || Ok(kubectl.ok(ping).ok().filter(|said| said.trim() == "PONG")))?;
    let address = kubectl.path("get pod client", "{.status.podIP}")?;
    let back = kubectl.ok(&format!("exec server -- redis-cli -h {address} ping"))?;
    ensure!(back.trim() == "PONG", "{back}");
    ensure!(kubectl.ok("logs client")?.contains("Ready to accept connections"), "its log is read from afar");
    Ok(())
}

/// The kubeconfig of somebody who shows a token.
fn bearer(cluster: &Cluster, token: &str) -> Result<Kubectl> {
    let text = cluster.kubectl().ok("config view --raw --minify -o json")?;
    let mut config: Value = serde_json::from_str(&text).context("a kubeconfig")?;
    config["users"][0]["user"] = json!({ "token": token });
    let path: PathBuf = cluster.folder().join("bearer.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(Kubectl::new(&path, cluster.folder()))
}

fn over_https(cluster: &Cluster) -> Result<()> {
    let token = machine::token(cluster, "create")?;
    let bootstrapper = bearer(cluster, &token)?;
    let id = token.split('.').next().unwrap_or_default();
    let me = bootstrapper.ok("auth whoami")?;
    ensure!(me.contains(&format!("system:bootstrap:{id}")) && me.contains("system:bootstrappers"), "{me}");
    let refused = bootstrapper.refused("get secrets -n kube-system")?;
    ensure!(refused.contains("forbidden"), "{refused}");
    let credentials = std::fs::read_to_string(machine::home(cluster).join("bus.creds"))?;
    let statement = credentials.lines().nth(1).context("a statement")?;
    let refused = bearer(cluster, statement)?.refused("get nodes")?;
    ensure!(refused.contains("You must be logged in") || refused.contains("Unauthorized"), "{refused}");
    Ok(())
}

fn goes_on(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    machine::stop()?;
    machine::start(cluster, "join")?;
    machine::ready(cluster)?;
    let ping = "exec client -- redis-cli -h server ping";
    eventually("the pod there runs again", || {
        Ok(kubectl.ok(ping).ok().filter(|said| said.trim() == "PONG").map(drop))
    })
}
