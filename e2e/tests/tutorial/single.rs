//! A single Redis: the pod, the Deployment, and what lands on which node.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl, Step, eventually};

use crate::terminal::Terminal;
use crate::{manifest, node_of};

pub const STEPS: &[Step] = &[
    ("kubectl version and kubectl get nodes: client, server, and three nodes that are Ready", version),
    ("kubectl run redis --image=redis: pod/redis created, and it runs", run),
    ("kubectl exec -it redis -- bash, redis-cli, ping: PONG", exec),
    ("kubectl create -f pod.yaml makes a pod", create_from_file),
    ("two containers of 2 GiB each share a pod, its network and a volume, on a node with room for both", two),
    ("kubectl create deployment redis-deployment --image=redis", create_deployment),
    (
        "kubectl delete pod: the deployment's comes back with its hash and another suffix, the bare one not",
        delete,
    ),
];

fn version(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("version")?;
    ensure!(text.contains("Client Version: v1.") && text.contains("Server Version: v1."), "{text}");
    let nodes = kubectl.ok("get nodes --no-headers")?;
    ensure!(nodes.lines().filter(|line| line.contains(" Ready ")).count() == 3, "{nodes}");
    Ok(())
}

fn run(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("run redis --image=redis")?;
    ensure!(text.trim() == "pod/redis created", "{text}");
    eventually("it runs", || {
        let line = kubectl.ok("get pods --no-headers")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(matches!(words.as_slice(), ["redis", "1/1", "Running", "0", _]).then_some(()))
    })
}

fn exec(cluster: &Cluster) -> Result<()> {
    let mut terminal = Terminal::open(cluster.kubectl(), "exec -it redis -- bash")?;
    terminal.wait_for("# ")?;
    terminal.type_line("redis-cli")?;
    terminal.wait_for("127.0.0.1:6379> ")?;
    terminal.type_line("ping")?;
    terminal.wait_for("PONG")?;
    terminal.wait_for("127.0.0.1:6379> ")?;
    terminal.type_line("quit")?;
    terminal.wait_for("# ")?;
    terminal.type_line("exit")?;
    terminal.close()
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: redis-from-file
spec:
  containers:
  - name: redis
    image: redis
";

fn create_from_file(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let file = manifest(cluster, "pod.yaml", POD)?;
    let text = kubectl.ok(&format!("create -f {file}"))?;
    ensure!(text.trim() == "pod/redis-from-file created", "{text}");
    kubectl.ok("wait --for=condition=Ready pod/redis-from-file --timeout=60s")?;
    kubectl.ok("delete pod redis-from-file").map(drop)
}

const TWO_CONTAINERS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: redis-with-collector}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: logs, emptyDir: {}}]
  containers:
  - name: redis
    image: redis
    command: [redis-server, --logfile, /logs/redis.log, --protected-mode, "no"]
    resources: {requests: {memory: 2Gi}}
    volumeMounts: [{name: logs, mountPath: /logs}]
  - name: collector
    image: redis
    command: [sh, -c, "until [ -e /logs/redis.log ]; do sleep 0.1; done; exec tail -f /logs/redis.log"]
    resources: {requests: {memory: 2Gi}}
    volumeMounts: [{name: logs, mountPath: /logs}]
"#;

fn two(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let small = kubectl.path("get node node-1", "{.status.allocatable.memory}")?;
    ensure!(small == "3417968Ki", "node-1 was to have 3.5 GB: {small}");
    // Only the small node takes pods: it would have room for either container, and gets neither.
    kubectl.ok("cordon node-2")?;
    kubectl.ok("cordon node-3")?;
    let file = manifest(cluster, "two.yaml", TWO_CONTAINERS)?;
    kubectl.ok(&format!("create -f {file}"))?;
    eventually("it is told why it waits", || {
        let text = kubectl.ok("describe pod redis-with-collector")?;
        let told = text.contains("1 Insufficient memory") && text.contains("2 node(s) were unschedulable");
        Ok(told.then_some(()))
    })?;
    ensure!(node_of(cluster, "redis-with-collector")?.is_empty(), "it is on no node");
    kubectl.ok("uncordon node-2")?;
    kubectl.ok("wait --for=condition=Ready pod/redis-with-collector --timeout=60s")?;
    ensure!(node_of(cluster, "redis-with-collector")? == "node-2", "it is on the node that has room");
    let inside = kubectl.ok("exec redis-with-collector -c collector -- redis-cli -h localhost ping")?;
    ensure!(inside.trim() == "PONG", "they share a network: {inside}");
    eventually("they share a volume", || {
        let text = kubectl.ok("logs redis-with-collector -c collector")?;
        Ok(text.contains("Ready to accept connections").then_some(()))
    })?;
    kubectl.ok("uncordon node-3")?;
    kubectl.ok("delete pod redis-with-collector").map(drop)
}

/// The names of the pods, sorted.
fn pods(kubectl: &Kubectl) -> Result<Vec<String>> {
    let text = kubectl.ok("get pods --no-headers -o custom-columns=N:.metadata.name")?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

fn create_deployment(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("create deployment redis-deployment --image=redis")?;
    ensure!(text.trim() == "deployment.apps/redis-deployment created", "{text}");
    kubectl.ok("rollout status deployment/redis-deployment --timeout=60s")?;
    let names = pods(kubectl)?;
    ensure!(
        names.len() == 2 && names[0] == "redis" && names[1].starts_with("redis-deployment-"),
        "{names:?}"
    );
    Ok(())
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let old = pods(kubectl)?.pop().context("the deployment has a pod")?;
    let (front, _) = old.rsplit_once('-').context("its name ends with a suffix")?;
    kubectl.ok(&format!("delete pod redis {old}"))?;
    let names = pods(kubectl)?;
    let [new] = names.as_slice() else { anyhow::bail!("one pod is left: {names:?}") };
    ensure!(new.rsplit_once('-').is_some_and(|(same, _)| same == front) && *new != old, "{old} and {new}");
    kubectl.ok("delete deployment redis-deployment").map(drop)
}
