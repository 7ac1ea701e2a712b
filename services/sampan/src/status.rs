//! `status`: the cluster at a glance.
//!
//! ```text
//!  units of this machine ── /readyz, /metrics ──┐
//!                                               ├──> one page
//!  API, by the kubeconfig ── nodes, pods, Leases, /metrics ──┘
//! ```
//! Of a cluster that is not on this machine it shows what the API tells (`--kubeconfig`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::api::Api;
use crate::local::{self, ClusterArguments, UnitState};

/// Which cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// A cluster that is not on this machine, by its kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Objects in one answer of a list: some hundred kilobytes.
const PAGE: usize = 500;

/// The metric that says how far a service's state is.
const SEQUENCE: &str = "sampan_store_sequence";
/// The metric that says how much of the log there is.
const LOG_BYTES: &str = "sampan_store_log_bytes";

/// The streams that the log is made of.
const STREAMS: [&str; 2] = ["STATE", "EVENTS"];

/// What the API tells.
struct Told {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    leases: Vec<Value>,
    /// Of the API server that answered.
    metrics: String,
}

/// Prints it; fails when a part of the cluster on this machine is not ready.
pub async fn run(arguments: &StatusArguments) -> Result<()> {
    if let Some(kubeconfig) = &arguments.kubeconfig {
        let told = ask(&Api::of(kubeconfig)?).await?;
        print!("{}", glance(&told));
        return Ok(());
    }
    let units = local::unit_states(&arguments.cluster).await?;
    print!("{}", table(&units));
    let kubeconfig = arguments.cluster.data_dir.join("admin.kubeconfig");
    match async { ask(&Api::of(&kubeconfig)?).await }.await {
        Ok(told) => print!("\n{}", glance(&told)),
        Err(error) => println!("\nThe API does not answer: {error:#}"),
    }
    if units.iter().any(|unit| unit.problem.is_some()) {
        bail!("not everything is ready");
    }
    Ok(())
}

async fn ask(api: &Api) -> Result<Told> {
    Ok(Told {
        nodes: list(api, "/api/v1/nodes").await?,
        pods: list(api, "/api/v1/pods").await?,
        leases: list(api, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases").await?,
        metrics: api.text("/metrics").await?,
    })
}

async fn list(api: &Api, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut next = String::new();
    loop {
        let page = api.get(&format!("{path}?limit={PAGE}&continue={next}")).await?;
        items.extend(page["items"].as_array().context("a list has items")?.iter().cloned());
        match page["metadata"]["continue"].as_str() {
            Some(more) if !more.is_empty() => next = more.to_owned(),
            _ => return Ok(items),
        }
    }
}

/// A line for each unit: whether it is ready, and how far its state is behind the furthest one. A service that follows
/// a part of the log only stands where the last message of that part is.
fn table(units: &[UnitState]) -> String {
    let reached = |unit: &UnitState| gauge(&unit.metrics, SEQUENCE, STREAMS[0]);
    let furthest = units.iter().filter_map(reached).max().unwrap_or(0);
    let mut out = format!("{:<20} {:>8} {:>10} {:>7}  STATE\n", "UNIT", "PID", "SEQUENCE", "BEHIND");
    for unit in units {
        let or_none = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let (pid, sequence) = (unit.pid.map(|pid| pid.unsigned_abs().into()), reached(unit));
        let behind = sequence.map(|sequence| furthest - sequence);
        let state = unit.problem.as_deref().unwrap_or("ready");
        let (pid, sequence, behind) = (or_none(pid), or_none(sequence), or_none(behind));
        out.push_str(&format!("{:<20} {pid:>8} {sequence:>10} {behind:>7}  {state}\n", unit.name));
    }
    out
}

/// A line for each thing that one wants to know first.
fn glance(told: &Told) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<8} {text}\n"));
    line("nodes", nodes(&told.nodes));
    line("pods", pods(&told.pods));
    line("log", STREAMS.map(|stream| stream_line(&told.metrics, stream)).join(", "));
    for lease in &told.leases {
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let role = lease["metadata"]["name"].as_str().unwrap_or_default();
        line("leader", format!("{role}: {}", if holder.is_empty() { "nobody" } else { holder }));
    }
    out
}

fn nodes(nodes: &[Value]) -> String {
    let ready = |node: &&Value| {
        let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let away: Vec<String> = nodes.iter().filter(|node| !ready(node)).map(name).collect();
    let count = nodes.len() - away.len();
    match away.is_empty() {
        true => format!("{count} of {} Ready", nodes.len()),
        false => format!("{count} of {} Ready, not {}", nodes.len(), away.join(", ")),
    }
}

fn pods(pods: &[Value]) -> String {
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods {
        *phases.entry(pod["status"]["phase"].as_str().unwrap_or("Unknown")).or_default() += 1;
    }
    match phases.is_empty() {
        true => "none".to_owned(),
        false => {
            phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn stream_line(metrics: &str, stream: &str) -> String {
    let sequence = gauge(metrics, SEQUENCE, stream).map_or("-".to_owned(), |sequence| sequence.to_string());
    match gauge(metrics, LOG_BYTES, stream) {
        Some(bytes) => format!("{stream} at {sequence} ({:.1} MB)", bytes as f64 / f64::from(1 << 20)),
        None => format!("{stream} at {sequence}"),
    }
}

/// The value of a gauge of one stream in Prometheus' text format.
fn gauge(metrics: &str, name: &str, stream: &str) -> Option<u64> {
    let begin = format!("{name}{{stream=\"{stream}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&begin)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unit(name: &str, problem: Option<&str>, metrics: &str) -> UnitState {
        UnitState {
            name: name.to_owned(),
            pid: problem.is_none().then_some(7),
            problem: problem.map(str::to_owned),
            metrics: metrics.to_owned(),
        }
    }

    #[test]
    fn each_unit_says_how_far_it_is_behind() {
        let metrics =
            |sequence: u64| format!("# HELP x\nsampan_store_sequence{{stream=\"STATE\"}} {sequence}\n");
        let units = [
            unit("nats", None, ""),
            unit("apiserver", None, &metrics(50)),
            unit("scheduler", None, &metrics(48)),
            unit("dns", Some("does not run"), ""),
        ];
        let shown: Vec<Vec<String>> = table(&units)
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(shown[0], ["nats", "7", "-", "-", "ready"]);
        assert_eq!(shown[1], ["apiserver", "7", "50", "0", "ready"]);
        assert_eq!(shown[2], ["scheduler", "7", "48", "2", "ready"]);
        assert_eq!(shown[3], ["dns", "-", "-", "-", "does", "not", "run"]);
    }

    #[test]
    fn a_cluster_is_told_in_a_few_lines() {
        let node = |name: &str, ready: &str| json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let pod = |phase: &str| json!({"status": {"phase": phase}});
        let told = Told {
            nodes: vec![node("a", "True"), node("b", "False")],
            pods: vec![pod("Running"), pod("Pending"), pod("Running")],
            leases: vec![json!({"metadata": {"name": "binder"}, "spec": {"holderIdentity": "s-1"}})],
            metrics: "sampan_store_sequence{stream=\"STATE\"} 9\nsampan_store_log_bytes{stream=\"STATE\"} 1572864\n"
                .to_owned(),
        };
        assert_eq!(
            glance(&told),
            "nodes    1 of 2 Ready, not b\n\
             pods     1 Pending, 2 Running\n\
             log      STATE at 9 (1.5 MB), EVENTS at -\n\
             leader   binder: s-1\n"
        );
    }
}
