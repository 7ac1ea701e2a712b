//! Deployments, from create to rollback.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("kubectl create deployment makes a pod with the deployment's name, a hash and a suffix", create),
    ("kubectl delete pod: a bare pod is gone, a deployment's comes back under another name", replaced),
    ("kubectl scale up and down", scale),
    ("kubectl set image rolls out a new replica set, and rollout undo goes back", rollout),
    ("a paused rollout waits until it is resumed", pause),
    ("kubectl rollout restart replaces every pod", restart),
    ("kubectl expose makes a service with the deployment's selector", expose),
    ("kubectl delete deployment takes its replica sets and pods along", delete),
];

const DEPLOYMENT: &str = "redis-deployment";

fn pods(cluster: &Cluster) -> Result<Vec<String>> {
    let text = cluster
        .kubectl()
        .ok("get pods -l app=redis-deployment -o name --field-selector=status.phase=Running")?;
    Ok(text.lines().map(|line| line.trim_start_matches("pod/").to_owned()).collect())
}

fn create(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok("create deployment redis-deployment --image=redis:7")?;
    ensure!(text.trim() == "deployment.apps/redis-deployment created", "{text}");
    let status = kubectl.ok("rollout status deployment/redis-deployment --timeout=60s")?;
    ensure!(status.contains("successfully rolled out"), "{status}");
    let names = pods(cluster)?;
    ensure!(names.len() == 1 && names[0].split('-').count() == 4, "{names:?}");
    let line = kubectl.ok("get deployment redis-deployment --no-headers")?;
    ensure!(line.contains("1/1"), "{line}");
    let rs = kubectl.ok("get rs -l app=redis-deployment --no-headers")?;
    ensure!(rs.split_whitespace().skip(1).take(3).eq(["1", "1", "1"]), "{rs}");
    Ok(())
}

fn replaced(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("run bare --image=redis:7")?;
    kubectl.ok("wait --for=condition=Ready pod/bare --timeout=60s")?;
    let old = pods(cluster)?.pop().unwrap_or_default();
    kubectl.ok(&format!("delete pod bare {old}"))?;
    let new = eventually("another pod runs", || Ok(pods(cluster)?.into_iter().find(|name| *name != old)))?;
    let hash = |name: &str| name.rsplit_once('-').map(|(front, _)| front.to_owned());
    ensure!(hash(&new) == hash(&old), "{old} and {new} have different hashes");
    ensure!(kubectl.refused("get pod bare")?.contains("not found"), "the bare pod is gone");
    Ok(())
}

fn scale(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    for count in [4, 2] {
        kubectl.ok(&format!("scale deployment {DEPLOYMENT} --replicas={count}"))?;
        eventually(&format!("{count} pods run"), || Ok((pods(cluster)?.len() == count).then_some(())))?;
    }
    let ready = kubectl.path("get deployment redis-deployment", "{.status.readyReplicas}")?;
    ensure!(ready == "2", "{ready}");
    Ok(())
}

fn images(cluster: &Cluster) -> Result<Vec<String>> {
    let text = cluster.kubectl().ok_with(&[
        "get",
        "pods",
        "-l",
        "app=redis-deployment",
        "-o",
        "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.spec.containers[0].image}{\"\\n\"}{end}",
    ])?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn rollout(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("set image deployment/redis-deployment redis=redis:7.2")?;
    kubectl.ok("rollout status deployment/redis-deployment --timeout=90s")?;
    eventually("every pod has the new image", || {
        Ok((images(cluster)? == ["redis:7.2", "redis:7.2"]).then_some(()))
    })?;
    let history = kubectl.ok("rollout history deployment/redis-deployment")?;
    ensure!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    let sets = kubectl.ok("get rs -l app=redis-deployment --no-headers")?;
    ensure!(sets.lines().count() == 2, "{sets}");

    kubectl.ok("rollout undo deployment/redis-deployment")?;
    kubectl.ok("rollout status deployment/redis-deployment --timeout=90s")?;
    eventually("every pod has the old image", || {
        Ok((images(cluster)? == ["redis:7", "redis:7"]).then_some(()))
    })?;
    let history = kubectl.ok("rollout history deployment/redis-deployment")?;
    ensure!(!history.contains("\n1 ") && history.contains("\n3 "), "{history}");
    Ok(())
}

fn pause(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("rollout pause deployment/redis-deployment")?;
    kubectl.ok("set env deployment/redis-deployment WALK=1")?;
    eventually("the controller has seen the change", || {
        let generations = kubectl
            .path("get deployment redis-deployment", "{.metadata.generation} {.status.observedGeneration}")?;
        let (one, other) = generations.split_once(' ').unwrap_or_default();
        Ok((one == other).then_some(()))
    })?;
    let updated = kubectl.path("get deployment redis-deployment", "{.status.updatedReplicas}")?;
    ensure!(updated.is_empty() || updated == "0", "a paused rollout went on: {updated}");
    kubectl.ok("rollout resume deployment/redis-deployment")?;
    let status = kubectl.ok("rollout status deployment/redis-deployment --timeout=90s")?;
    ensure!(status.contains("successfully rolled out"), "{status}");
    Ok(())
}

fn restart(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let before = pods(cluster)?;
    kubectl.ok("rollout restart deployment/redis-deployment")?;
    kubectl.ok("rollout status deployment/redis-deployment --timeout=90s")?;
    eventually("every pod is another", || {
        let after = pods(cluster)?;
        Ok((after.len() == 2 && after.iter().all(|name| !before.contains(name))).then_some(()))
    })
}

fn expose(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("expose deployment redis-deployment --port=6379")?;
    let selector = kubectl.path("get service redis-deployment", "{.spec.selector.app}")?;
    ensure!(selector == DEPLOYMENT, "{selector}");
    kubectl.ok("delete service redis-deployment")?;
    Ok(())
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete deployment redis-deployment")?;
    eventually("nothing of it is left", || {
        let text = kubectl.ok("get rs,pods -l app=redis-deployment -o name")?;
        Ok(text.trim().is_empty().then_some(()))
    })
}
