//! One trace through all the services.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, eventually};

use crate::collector::{Collector, Seen};

/// The services that a Deployment's first pod passes.
const SERVICES: [&str; 4] = ["apiserver", "node-agent", "replica-controller", "scheduler"];

/// What a container's start is to its node.
const ACTIONS: [&str; 3] = ["run_podsandbox", "pull_image", "start_container"];

/// One `kubectl create deployment` makes one trace.
pub fn one_deployment(cluster: &Cluster, collector: &Collector) -> Result<()> {
    cluster.kubectl().ok("create deployment traced --image=busybox:1 -- sleep 3600")?;
    eventually("every service has told of its part of the trace", || {
        let spans = of_request(&collector.spans())?;
        let services: BTreeSet<&str> = spans.iter().map(|span| span.service.as_str()).collect();
        ensure!(SERVICES.iter().all(|service| services.contains(service)), "only {services:?}");
        let acts: BTreeSet<&str> = spans.iter().map(|span| span.attribute("action")).collect();
        ensure!(ACTIONS.iter().all(|action| acts.contains(action)), "only {acts:?}");
        connected(&spans)?;
        Ok(Some(()))
    })
}

/// The spans of the trace that the request began.
fn of_request(spans: &[Seen]) -> Result<Vec<Seen>> {
    let request = spans
        .iter()
        .find(|span| {
            span.name == "request" && span.attribute("path").ends_with("/namespaces/default/deployments")
        })
        .context("the request is not told of")?;
    ensure!(request.parent.is_empty(), "kubectl names no trace");
    Ok(spans.iter().filter(|span| span.trace == request.trace).cloned().collect())
}

/// Whether every span but the first has its parent among them.
fn connected(spans: &[Seen]) -> Result<()> {
    let known: HashSet<&[u8]> = spans.iter().map(|span| span.span.as_slice()).collect();
    let orphan = spans.iter().find(|span| !span.parent.is_empty() && !known.contains(span.parent.as_slice()));
    ensure!(orphan.is_none(), "nobody is the parent of {orphan:?}");
    ensure!(spans.iter().filter(|span| span.parent.is_empty()).count() == 1, "one request began it");
    Ok(())
}
