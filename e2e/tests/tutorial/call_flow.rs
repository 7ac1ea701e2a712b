//! What happens after `kubectl create deployment`: who writes what, in which order.

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl, Step};
use serde_json::Value;

pub const STEPS: &[Step] = &[
    (
        "kubectl create deployment: deployment, replica set, pod, the node chosen, the pod running, in this order",
        hops,
    ),
    ("sampan trace shows each hop with its sequence number and time", trace),
];

const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn hops(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let list: Value = serde_json::from_str(&kubectl.ok(&format!("get --raw {PODS}"))?)?;
    let since = list["metadata"]["resourceVersion"].as_str().context("a list has a revision")?;
    kubectl.ok("create deployment redis-deployment --image=redis")?;
    kubectl.ok("rollout status deployment/redis-deployment --timeout=60s")?;
    let (deployments, sets) = (changes(kubectl, DEPLOYMENTS, since)?, changes(kubectl, REPLICA_SETS, since)?);
    let pods = changes(kubectl, PODS, since)?;
    let steps = [
        ("the deployment is written", first(&deployments, |_| true)?),
        ("the controller makes its replica set", first(&sets, |_| true)?),
        ("and that one's pod", first(&pods, |_| true)?),
        ("the scheduler chooses a node", first(&pods, |pod| pod["spec"]["nodeName"].is_string())?),
        ("the node runs it", first(&pods, |pod| pod["status"]["phase"] == "Running")?),
        ("the deployment is complete", first(&deployments, |one| one["status"]["readyReplicas"] == 1)?),
    ];
    for (what, revision) in &steps {
        println!("        {revision:>12}  {what}");
    }
    ensure!(steps.windows(2).all(|two| two[0].1 < two[1].1), "each hop follows the one before: {steps:?}");
    Ok(())
}

fn trace(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let pod = kubectl.path("get pods -l app=redis-deployment", "{.items[0].metadata.name}")?;
    let kubeconfig = cluster.kubeconfig();
    let kubeconfig = kubeconfig.to_str().context("the path is text")?;
    let table = cluster.sampan_with(&["trace", &pod, "--kubeconfig", kubeconfig])?;
    for line in table.lines() {
        println!("        {line}");
    }
    let hops = [
        ("kubectl > apiserver", "Deployment redis-deployment created"),
        ("replica-controller", "ReplicaSet redis-deployment-"),
        ("replica-controller", "pod redis-deployment-"),
        ("scheduler", "bound to node-"),
        ("node", "Running"),
    ];
    let mut lines = table.lines();
    for (who, what) in hops {
        ensure!(
            lines.any(|line| line.starts_with(who) && line.contains(what)),
            "no {who}: {what} after those before it:\n{table}"
        );
    }
    kubectl.ok("delete deployment redis-deployment").map(drop)
}

/// What was written of the first object that came into a collection after a revision, as a watch tells it.
fn changes(kubectl: &Kubectl, collection: &str, since: &str) -> Result<Vec<Value>> {
    let watch = format!("get --raw {collection}?watch=true&resourceVersion={since}&timeoutSeconds=1");
    let text = kubectl.ok(&watch)?;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let added = events.iter().find(|event| event["type"] == "ADDED").context("nothing came")?;
    let uid = &added["object"]["metadata"]["uid"];
    let objects = events.iter().map(|event| event["object"].clone());
    Ok(objects.filter(|object| object["metadata"]["uid"] == *uid).collect())
}

/// The revision of the first that is so.
fn first(objects: &[Value], is_so: impl Fn(&Value) -> bool) -> Result<u64> {
    let found = objects.iter().find(|object| is_so(object)).context("it never was so")?;
    found["metadata"]["resourceVersion"].as_str().context("it has a revision")?.parse().context("a number")
}
