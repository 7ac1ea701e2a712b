//! `trace`: the way of a pod from the request that asked for it until it is ready, from what the log and the objects
//! say. It needs neither a collector of traces nor access to the bus: an API server has the history of every object at
//! hand and shows it to those who may read the objects.
//!
//! ```text
//!  pod ──owner──> ReplicaSet ──owner──> Deployment       GET /sampan/history?key=… (all of them)
//!                                                          └──> hops (pure) ──> a table
//! ```

mod hops;

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

use crate::api::{Api, ApiArguments};
use hops::{Chain, Hop, Owned, Written};

/// Which pod.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceArguments {
    #[command(flatten)]
    api: ApiArguments,
    /// The pod
    pod: String,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

/// Kinds that own pods, or what owns pods, and where they are.
const OWNERS: [(&str, &str, &str); 6] = [
    ("ReplicaSet", "apps", "replicasets"),
    ("Deployment", "apps", "deployments"),
    ("StatefulSet", "apps", "statefulsets"),
    ("DaemonSet", "apps", "daemonsets"),
    ("Job", "batch", "jobs"),
    ("CronJob", "batch", "cronjobs"),
];

/// A Deployment's pod has two owners above it; more than this is no chain that we know.
const OWNERS_MAX: usize = 4;

/// What the history says of an object.
struct Told {
    writes: Vec<Written>,
    /// After this revision nothing is missing.
    since: u64,
}

/// Prints the hops of a pod.
pub async fn run(arguments: &TraceArguments) -> Result<()> {
    let api = Api::open(&arguments.api)?;
    let (namespace, name) = (arguments.namespace.as_str(), arguments.pod.as_str());
    let told = ask(&api, &format!("core/pods/{namespace}/{name}")).await?;
    let pod = match told.writes.iter().rev().find_map(|write| write.object.clone()) {
        Some(pod) => pod,
        None => api.get(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await?,
    };
    let uid = pod["metadata"]["uid"].as_str().context("a pod has a uid")?.to_owned();
    let owners = owners(&api, namespace, &pod).await?;
    let chain = Chain { pod: hops::of_uid(told.writes, &uid), owners };
    let hops = match chain.is_complete() {
        true => chain.hops(),
        false => {
            println!(
                "The beginning of pod {name} is older than the history of the API server, which goes back to revision {}.\n\
                 This is what the pod itself says, to the second:\n",
                told.since
            );
            hops::of_object(&pod)
        }
    };
    if hops.is_empty() {
        bail!("nothing is known of the way of pod {name}");
    }
    print!("{}", table(&hops));
    // A `traceparent` names the trace, and then the span in it.
    if let Some(trace) = hops.iter().find_map(|hop| hop.trace.as_deref()?.split('-').nth(1)) {
        println!("\ntrace {trace}");
    }
    Ok(())
}

/// The owners of a pod with their histories, the nearest first.
async fn owners(api: &Api, namespace: &str, pod: &Value) -> Result<Vec<Owned>> {
    let mut owners = Vec::new();
    let mut object = pod.clone();
    while let Some(owner) = hops::controller(&object).filter(|_| owners.len() < OWNERS_MAX) {
        let (kind, name) = (text(owner, "kind"), text(owner, "name"));
        let Some((_, group, plural)) = OWNERS.iter().find(|(known, _, _)| *known == kind) else { break };
        let uid = text(owner, "uid");
        let told = ask(api, &format!("{group}/{plural}/{namespace}/{name}")).await?;
        let writes = hops::of_uid(told.writes, &uid);
        let newest = writes.iter().rev().find_map(|write| write.object.clone());
        owners.push(Owned { kind, name: name.clone(), writes });
        object = match newest {
            Some(newest) => newest,
            // Nothing in the history: it may be there all the same.
            None => {
                match api.get(&format!("/apis/{group}/v1/namespaces/{namespace}/{plural}/{name}")).await {
                    Ok(object) => object,
                    Err(_) => break,
                }
            }
        };
    }
    Ok(owners)
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

async fn ask(api: &Api, key: &str) -> Result<Told> {
    let history = api.get(&format!("/sampan/history?key={key}")).await?;
    let writes = history["writes"].as_array().context("a history has writes")?;
    Ok(Told { writes: writes.iter().map(written).collect(), since: history["since"].as_u64().unwrap_or(0) })
}

fn written(write: &Value) -> Written {
    Written {
        revision: write["revision"].as_u64().unwrap_or(0),
        sequence: write["sequence"].as_u64().unwrap_or(0),
        time: write["time"].as_str().and_then(|time| time.parse().ok()),
        created: write["created"] == true,
        trace: write["trace"].as_str().map(str::to_owned),
        object: write.get("object").cloned(),
    }
}

/// A line for each hop, with the milliseconds since the one before it and since the first.
fn table(hops: &[Hop]) -> String {
    let mut out = format!("{:<20} {:>9}  {:<24} {:>8} {:>8}  WHAT\n", "WHO", "SEQUENCE", "TIME", "+MS", "MS");
    let first = hops.iter().find_map(|hop| hop.time);
    let mut before = first;
    for hop in hops {
        let since = |earlier: Option<Timestamp>| match hop.time.zip(earlier) {
            Some((time, earlier)) => (time.as_millisecond() - earlier.as_millisecond()).to_string(),
            None => "-".to_owned(),
        };
        let sequence = hop.sequence.map_or("-".to_owned(), |sequence| sequence.to_string());
        let time = hop.time.map_or("-".to_owned(), |time| format!("{time:.3}"));
        // Writing into a string does not fail.
        let _ = writeln!(
            out,
            "{:<20} {sequence:>9}  {time:<24} {:>8} {:>8}  {}",
            hop.who,
            since(before),
            since(first),
            hop.what
        );
        before = hop.time.or(before);
    }
    out
}
