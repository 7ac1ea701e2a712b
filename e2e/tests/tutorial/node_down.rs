//! A node that loses its power.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually, outage};

use crate::moments::{Moment, Sight, await_all};
use crate::{WEB, node_of};

pub const STEPS: &[Step] = &[
    ("a node loses its power: its deployment's pods move, and services send elsewhere", power_cut),
    ("a bare pod stays on its node, and runs again when the node does", bare_pod),
    ("kubectl delete: nothing of them is left either", clean),
];

/// Asks the service without end; tells when it began to ask for what nobody answered, on the machine's own clock.
const TRAFFIC: &str = r#"
while :; do
  read -r now _ </proc/uptime
  if timeout 1 redis-cli -h web ping >/dev/null 2>&1; then echo "$now answered"; else echo "$now lost"; fi
done
"#;

fn uptime() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime").context("no /proc/uptime")?;
    text.split(' ').next().unwrap_or_default().parse().context("seconds")
}

fn power_cut(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok_fed("create -f -", &WEB.replace("SECONDS", "0"))?;
    kubectl.ok("rollout status deployment/web --timeout=60s")?;
    let node = kubectl.path("get pods -l app=web", "{.items[0].spec.nodeName}")?;
    let other = if node == "node-3" { "node-2" } else { "node-3" };
    for (pod, node) in [("bare", node.as_str()), ("client", other)] {
        let here = format!(r#"{{"spec": {{"nodeName": "{node}", "terminationGracePeriodSeconds": 0}}}}"#);
        let run = ["run", pod, "--image=redis", "--overrides", &here, "--command", "--", "sleep", "100000"];
        kubectl.ok_with(&run)?;
        kubectl.ok(&format!("wait --for=condition=Ready pod/{pod} --timeout=60s"))?;
    }
    let command = kubectl.with(&["exec", "client", "--", "sh", "-c", TRAFFIC]);
    let mut traffic = e2e::kubectl::follow(command)?;
    traffic.line("it is answered", |line| line.ends_with("answered"))?;

    let (began, dark) = (Instant::now(), uptime()?);
    outage::power_cut(cluster, &node)?;
    let moments = [
        Moment::new("the node is NotReady", |sight: &Sight| !sight.is_ready(&node)),
        Moment::new("no service sends to it", |sight| sight.endpoints_on("web", &node) == 0),
        Moment::new("the pods in place of its own are made", |sight| sight.elsewhere("web", &node) == 3),
        Moment::new("and ready", |sight| sight.ready_elsewhere("web", &node) == 3),
    ];
    let when = await_all(cluster, began, &moments)?;
    let not_ready = when.first().copied().unwrap_or_default();
    println!("        {:>5.1} s  after NotReady the pods in their place were made", since(&when, 2));
    let lost = lost_after(&mut traffic, uptime()?)?;
    let last = lost.last().map_or(0.0, |last| last - dark);
    println!(
        "        {last:>5.1} s  the last of {} questions that were lost; {:.1} s after NotReady",
        lost.len(),
        last - not_ready.as_secs_f64()
    );
    Ok(())
}

fn since(when: &[Duration], place: usize) -> f64 {
    let at = |place: usize| when.get(place).copied().unwrap_or_default().as_secs_f64();
    at(place) - at(0)
}

/// The times of lost questions, up to ten answered in a row that were asked after `now`.
fn lost_after(traffic: &mut e2e::kubectl::Following, now: f64) -> Result<Vec<f64>> {
    let (mut lost, mut in_a_row) = (Vec::new(), 0);
    while in_a_row < 10 {
        let line = traffic.line("a question", |_| true)?;
        let (at, outcome) = line.split_once(' ').context("a time and an outcome")?;
        let at: f64 = at.parse()?;
        match outcome {
            "answered" if at > now => in_a_row += 1,
            "answered" => {}
            _ => {
                lost.push(at);
                in_a_row = 0;
            }
        }
    }
    Ok(lost)
}

fn bare_pod(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let (node, uid) = (node_of(cluster, "bare")?, kubectl.path("get pod bare", "{.metadata.uid}")?);
    let began = Instant::now();
    outage::end(cluster, &node)?;
    await_all(cluster, began, &[Moment::new("the node is Ready", |sight: &Sight| sight.is_ready(&node))])?;
    eventually("it runs again", || {
        let line = kubectl.ok("get pod bare --no-headers")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(matches!(words.as_slice(), ["bare", "1/1", "Running", "1", ..]).then_some(()))
    })?;
    let same = (node_of(cluster, "bare")?, kubectl.path("get pod bare", "{.metadata.uid}")?);
    ensure!(same == (node, uid), "it is another pod: {same:?}");
    Ok(())
}

fn clean(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("delete deployment web")?;
    kubectl.ok("delete service web")?;
    kubectl.ok("delete pod bare client")?;
    eventually("no pod is left", || Ok(kubectl.ok("get pods -o name")?.trim().is_empty().then_some(())))
}
