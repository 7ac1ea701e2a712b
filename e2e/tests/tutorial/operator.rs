//! The operator: a kind of its own, and what its controller keeps.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("make deploy: kubectl apply -k config/default", deploy),
    ("kubectl get deployment -n memcached-operator-system: the controller is 1/1", controller),
    (
        "kubectl apply -f config/samples: memcached.cache.example.com/memcached-sample created, and its pod",
        sample,
    ),
    ("kubectl logs -f deployment/memcached-operator-controller-manager tells what it does", logs),
    ("kubectl patch memcached: three pods, and the status lists them", patch),
    ("what the operator keeps is put right: its deployment's size, and a deployment that was deleted", keeps),
    ("its metrics are behind their service", metrics),
    ("kubectl delete memcached memcached-sample: everything that it owned is gone", delete),
    ("make undeploy: nothing is left of the operator", undeploy),
];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/memcached-operator");
const NAMESPACE: &str = "memcached-operator-system";
const MANAGER: &str = "deployment/memcached-operator-controller-manager";

fn deploy(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl().ok(&format!("apply -k {FOLDER}/config/default"))?;
    for line in [
        "namespace/memcached-operator-system created",
        "customresourcedefinition.apiextensions.k8s.io/memcacheds.cache.example.com created",
        "serviceaccount/memcached-operator-controller-manager created",
        "service/memcached-operator-controller-manager-metrics-service created",
        "deployment.apps/memcached-operator-controller-manager created",
    ] {
        ensure!(text.lines().any(|one| one == line), "no {line:?}:\n{text}");
    }
    Ok(())
}

fn controller(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok(&format!("rollout status {MANAGER} -n {NAMESPACE} --timeout=60s"))?;
    let line = kubectl.ok(&format!("get deployment -n {NAMESPACE} --no-headers"))?;
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    ensure!(words == ["memcached-operator-controller-manager", "1/1"], "{line}");
    Ok(())
}

/// The names of the pods that run, sorted.
fn pods(cluster: &Cluster) -> Result<Vec<String>> {
    let text = cluster.kubectl().ok_with(&[
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/instance=memcached-sample",
        "-o",
        "jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name}{\"\\n\"}{end}",
    ])?;
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn sample(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok(&format!("apply -f {FOLDER}/config/samples/cache_v1alpha1_memcached.yaml"))?;
    ensure!(text.trim() == "memcached.cache.example.com/memcached-sample created", "{text}");
    let name = eventually("its pod runs", || Ok(pods(cluster)?.pop()))?;
    let parts = name.strip_prefix("memcached-sample-").map(|rest| rest.split('-').count());
    ensure!(parts == Some(2), "a hash and a suffix: {name}");
    Ok(())
}

fn logs(cluster: &Cluster) -> Result<()> {
    let mut log = cluster.kubectl().follow(&format!("logs -f {MANAGER} -n {NAMESPACE}"))?;
    log.line("it made the deployment", |line| {
        line.contains("Creating a new Deployment") && line.contains("memcached-sample")
    })?;
    Ok(())
}

/// As many pods run, and the status names them.
fn converged(cluster: &Cluster, count: usize) -> Result<()> {
    eventually(&format!("{count} pods run, and the status names them"), || {
        let told = cluster.kubectl().path("get memcached memcached-sample", "{.status.nodes[*]}")?;
        let mut told: Vec<&str> = told.split_whitespace().collect();
        told.sort_unstable();
        let names = pods(cluster)?;
        Ok((names.len() == count && names == told).then_some(()))
    })
}

fn patch(cluster: &Cluster) -> Result<()> {
    let patch = r#"{"spec":{"size":3}}"#;
    let arguments = ["patch", "memcached", "memcached-sample", "--type", "merge", "-p", patch];
    let text = cluster.kubectl().ok_with(&arguments)?;
    ensure!(text.trim() == "memcached.cache.example.com/memcached-sample patched", "{text}");
    converged(cluster, 3)?;
    let refused = [&arguments[..6], &[r#"{"spec":{"size":-1}}"#]].concat();
    let ran = e2e::Ran::from(cluster.kubectl().with(&refused).output()?);
    ensure!(ran.code != 0 && ran.err.contains("should be greater than or equal to 0"), "{ran:?}");
    Ok(())
}

fn keeps(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("scale deployment memcached-sample --replicas=1")?;
    converged(cluster, 3)?;
    let before = kubectl.path("get deployment memcached-sample", "{.metadata.uid}")?;
    kubectl.ok("delete deployment memcached-sample")?;
    eventually("there is another one", || {
        let after = kubectl.path("get deployment memcached-sample", "{.metadata.uid}")?;
        Ok((after != before).then_some(()))
    })?;
    converged(cluster, 3)
}

fn metrics(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("run reader --image=busybox --command -- sleep 100000")?;
    kubectl.ok("wait --for=condition=Ready pod/reader --timeout=60s")?;
    let service = format!("memcached-operator-controller-manager-metrics-service.{NAMESPACE}:8080");
    let text = kubectl.ok(&format!("exec reader -- wget -qO- http://{service}/metrics"))?;
    let line = r#"controller_runtime_reconcile_total{controller="memcached",result="success"}"#;
    ensure!(text.contains(line), "{text}");
    kubectl.ok("delete pod reader --grace-period=0 --force").map(drop)
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete memcached memcached-sample")?;
    eventually("nothing of it is left", || {
        let left = kubectl.ok("get deployments,replicasets,pods -o name")?;
        Ok(left.trim().is_empty().then_some(()))
    })
}

fn undeploy(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok(&format!("delete --ignore-not-found -k {FOLDER}/config/default"))?;
    let gone = kubectl.refused("get crd memcacheds.cache.example.com")?;
    ensure!(gone.contains("not found"), "{gone}");
    eventually("its namespace is gone", || {
        Ok((kubectl.run(&format!("get namespace {NAMESPACE}"))?.code != 0).then_some(()))
    })
}
