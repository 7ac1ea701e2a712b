//! `kill -9` of each part under load: nothing acknowledged is lost, containers keep running, the cluster converges.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl, Step, eventually};

pub const STEPS: &[Step] = &[
    ("kill -9 of each service and of nats-server in turn loses nothing that was acknowledged", kill_each),
    ("kill -9 of containerd: the node is NotReady with the reason, and recovers", kill_containerd),
    ("down and up again: every object is there", down_and_up),
];

const UNITS: [&str; 8] = [
    "apiserver",
    "scheduler",
    "replica-controller",
    "stateful-controller",
    "batch-controller",
    "cluster-controller",
    "node-agent-1",
    "nats",
];

/// Creates config maps one after the other until it is told to stop; returns the names that were acknowledged.
fn write_until(stop: &AtomicBool, kubectl: &Kubectl) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("load-{n}");
        if kubectl.ok(&format!("create cm {name} --from-literal=n={n}")).is_ok() {
            acknowledged.push(name);
        }
    }
    acknowledged
}

fn kill_each(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("run steady --image=redis:7")?;
    kubectl.ok("create deployment load --image=redis:7 --replicas=2")?;
    kubectl.ok("wait --for=condition=Ready pod/steady --timeout=60s")?;
    let id = |kubectl: &Kubectl| kubectl.path("get pod steady", "{.status.containerStatuses[0].containerID}");
    let container = id(kubectl)?;
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| -> Result<Vec<String>> {
        let writer = scope.spawn(|| write_until(&stop, kubectl));
        // Another size after each crash, so that each time there is something to do.
        let mut sizes = [3, 2].into_iter().cycle();
        let outcome =
            UNITS.iter().zip(&mut sizes).try_for_each(|(unit, size)| crash_and_recover(cluster, unit, size));
        stop.store(true, Ordering::Relaxed);
        let acknowledged = writer.join().ok().context("the writer ended badly")?;
        outcome.map(|()| acknowledged)
    })?;
    let present = kubectl.ok("get cm -o name")?;
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| !present.lines().any(|line| line == format!("configmap/{name}")))
        .collect();
    ensure!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
    ensure!(!acknowledged.is_empty(), "nothing was written");
    ensure!(id(kubectl)? == container, "the container did not keep running");
    ensure!(kubectl.ok("exec steady -- redis-cli ping")?.trim() == "PONG", "it answers");
    kubectl.ok("delete deployment load")?;
    Ok(())
}

/// After the crash the cluster must be able to do its work again: a new size of a deployment is reached.
fn crash_and_recover(cluster: &Cluster, unit: &str, size: u8) -> Result<()> {
    let kubectl = cluster.kubectl();
    cluster.crash(unit)?;
    eventually(&format!("after {unit} the deployment can be scaled"), || {
        kubectl.ok(&format!("scale deployment load --replicas={size}")).map(Some)
    })?;
    eventually(&format!("after {unit} the deployment has {size} ready pods"), || {
        let ready = kubectl.path("get deployment load", "{.status.readyReplicas} {.status.replicas}")?;
        Ok((ready == format!("{size} {size}")).then_some(()))
    })
}

fn kill_containerd(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    cluster.crash("containerd-1")?;
    eventually("the node is Ready", || Ok(kubectl.ok("get nodes")?.contains(" Ready ").then_some(())))?;
    ensure!(kubectl.ok("exec steady -- redis-cli ping")?.trim() == "PONG", "its containers kept running");
    kubectl.ok("run after-containerd --image=redis:7")?;
    kubectl.ok("wait --for=condition=Ready pod/after-containerd --timeout=60s")?;
    kubectl.ok("delete pod after-containerd")?;
    Ok(())
}

fn down_and_up(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let before = kubectl.ok("get cm -A -o name")?;
    cluster.sampan_with(&["down"])?;
    ensure!(kubectl.run("get nodes --request-timeout=2s")?.code != 0, "nobody answers");
    cluster.sampan_with(&["up"])?;
    ensure!(kubectl.ok("get cm -A -o name")? == before, "another list than before");
    eventually("steady runs again", || {
        Ok(kubectl.ok("exec steady -- redis-cli ping").ok().filter(|text| text.trim() == "PONG"))
    })?;
    kubectl.ok("delete pod steady")?;
    Ok(())
}
