//! DaemonSets: a pod on each node that is meant, from create to delete.

use anyhow::{Result, ensure};
use e2e::{Cluster, Step, eventually};

pub const STEPS: &[Step] = &[
    ("a DaemonSet puts a pod on each node, and one that is deleted comes back", create),
    ("a DaemonSet rolls out another image, tells its history, and goes back", rollout),
    ("a DaemonSet leaves nodes that it no longer selects, and comes when they are labelled", selector),
    ("a tainted node gets no pod of a DaemonSet unless it tolerates that", taint),
    ("a deleted DaemonSet takes its pods and revisions along", delete),
];

const MANIFEST: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: agent, image: \"redis:7\"}]
";

fn lines(cluster: &Cluster, arguments: &[&str]) -> Result<Vec<String>> {
    let text = cluster.kubectl().ok_with(arguments)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

fn nodes(cluster: &Cluster) -> Result<Vec<String>> {
    lines(cluster, &["get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}"])
}

/// A field of each pod that runs.
fn running(cluster: &Cluster, field: &str) -> Result<Vec<String>> {
    let path =
        format!("jsonpath={{range .items[?(@.status.phase==\"Running\")]}}{{{field}}}{{\"\\n\"}}{{end}}");
    lines(cluster, &["get", "pods", "-l", "app=agent", "-o", &path])
}

fn rolled_out(cluster: &Cluster) -> Result<()> {
    let status = cluster.kubectl().ok("rollout status daemonset/agent --timeout=90s")?;
    ensure!(status.contains("successfully rolled out"), "{status}");
    Ok(())
}

fn nowhere(cluster: &Cluster) -> Result<()> {
    eventually("no pod is left", || {
        let pods = cluster.kubectl().ok("get pods -l app=agent -o name")?;
        Ok(pods.trim().is_empty().then_some(()))
    })
}

fn create(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let text = kubectl.ok_fed("apply -f -", MANIFEST)?;
    ensure!(text.trim() == "daemonset.apps/agent created", "{text}");
    rolled_out(cluster)?;
    let nodes = nodes(cluster)?;
    ensure!(running(cluster, ".spec.nodeName")? == nodes, "not one on each of {nodes:?}");
    let count = nodes.len().to_string();
    let line = kubectl.ok("get ds agent --no-headers")?;
    let columns: Vec<&str> = line.split_whitespace().collect();
    ensure!(columns[1..7] == [&count, &count, &count, &count, &count, "<none>"], "{line}");
    let told = kubectl.ok("describe ds agent")?;
    ensure!(told.contains("SuccessfulCreate") && told.contains("Created pod: agent-"), "{told}");

    let old = running(cluster, ".metadata.name")?;
    kubectl.ok("delete pod -l app=agent")?;
    eventually("other pods run", || {
        let new = running(cluster, ".metadata.name")?;
        Ok((new.len() == old.len() && new.iter().all(|name| !old.contains(name))).then_some(()))
    })
}

fn rollout(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let images = |image: &str| {
        eventually(&format!("every pod has {image}"), || {
            let images = running(cluster, ".spec.containers[0].image")?;
            Ok((!images.is_empty() && images.iter().all(|one| one == image)).then_some(()))
        })
    };
    kubectl.ok("annotate daemonset/agent kubernetes.io/change-cause=newer")?;
    kubectl.ok("set image daemonset/agent agent=redis:7.2")?;
    rolled_out(cluster)?;
    images("redis:7.2")?;
    let history = kubectl.ok("rollout history daemonset/agent")?;
    ensure!(history.contains("\n1 ") && history.contains("\n2 ") && history.contains("newer"), "{history}");
    let detail = kubectl.ok("rollout history daemonset/agent --revision=1")?;
    ensure!(detail.contains("redis:7\n"), "{detail}");

    kubectl.ok("rollout undo daemonset/agent")?;
    rolled_out(cluster)?;
    images("redis:7")?;
    let history = kubectl.ok("rollout history daemonset/agent")?;
    ensure!(!history.contains("\n1 ") && history.contains("\n3 "), "{history}");
    Ok(())
}

fn selector(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let select = |label: &str| {
        let patch = format!(r#"{{"spec":{{"template":{{"spec":{{"nodeSelector":{label}}}}}}}}}"#);
        kubectl.ok_with(&["patch", "daemonset", "agent", "--type=merge", "-p", &patch])
    };
    select(r#"{"walk":"here"}"#)?;
    nowhere(cluster)?;
    let desired = kubectl.path("get daemonset agent", "{.status.desiredNumberScheduled}")?;
    ensure!(desired == "0", "{desired}");
    let node = nodes(cluster)?.remove(0);
    kubectl.ok(&format!("label node {node} walk=here"))?;
    eventually("a pod runs on the labelled node alone", || {
        Ok((running(cluster, ".spec.nodeName")? == std::slice::from_ref(&node)).then_some(()))
    })?;
    kubectl.ok(&format!("label node {node} walk-"))?;
    nowhere(cluster)?;
    select("null")?;
    rolled_out(cluster)
}

fn taint(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let node = nodes(cluster)?.remove(0);
    kubectl.ok(&format!("taint node {node} walk=busy:NoSchedule"))?;
    let pods = running(cluster, ".metadata.name")?;
    ensure!(pods.len() == nodes(cluster)?.len(), "what is there stays: {pods:?}");
    kubectl.ok(&format!("delete pod -l app=agent --field-selector=spec.nodeName={node}"))?;
    eventually("the tainted node is not meant", || {
        let status = "{.status.desiredNumberScheduled} {.status.currentNumberScheduled}";
        let rest = nodes(cluster)?.len() - 1;
        Ok((kubectl.path("get daemonset agent", status)? == format!("{rest} {rest}")).then_some(()))
    })?;
    ensure!(!running(cluster, ".spec.nodeName")?.contains(&node), "a pod came all the same");

    let tolerations = r#"[{"key":"walk","operator":"Exists"}]"#;
    let patch = format!(r#"{{"spec":{{"template":{{"spec":{{"tolerations":{tolerations}}}}}}}}}"#);
    kubectl.ok_with(&["patch", "daemonset", "agent", "-p", &patch])?;
    eventually("one that tolerates it comes", || {
        Ok(running(cluster, ".spec.nodeName")?.contains(&node).then_some(()))
    })?;
    rolled_out(cluster)?;
    kubectl.ok(&format!("taint node {node} walk-"))?;
    Ok(())
}

fn delete(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete daemonset agent")?;
    eventually("nothing of it is left", || {
        let left = kubectl.ok("get pods,controllerrevisions -l app=agent -o name")?;
        Ok(left.trim().is_empty().then_some(()))
    })
}
