//! When things happen while a node is away. Told in the output; nothing is asserted of how long they take.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e::{Cluster, PATIENCE};
use serde_json::Value;

/// The cluster as one look at it saw it.
pub struct Sight {
    items: Vec<Value>,
}

/// Something that is to happen.
pub struct Moment<'a> {
    what: &'a str,
    is_so: Box<dyn Fn(&Sight) -> bool + 'a>,
    at: Cell<Option<Duration>>,
}

// === impl Sight ===

impl Sight {
    /// Looks.
    pub fn take(cluster: &Cluster) -> Result<Self> {
        let list = cluster.kubectl().json("get nodes,endpointslices,pods")?;
        Ok(Sight { items: list["items"].as_array().cloned().unwrap_or_default() })
    }

    /// Whether a node is Ready.
    pub fn is_ready(&self, node: &str) -> bool {
        let found = self.of_kind("Node").find(|one| one["metadata"]["name"] == node);
        found.is_some_and(is_ready)
    }

    /// Whether a node has a taint that drives pods away.
    pub fn is_tainted(&self, node: &str) -> bool {
        let found = self.of_kind("Node").find(|one| one["metadata"]["name"] == node);
        let taints = found.and_then(|node| node["spec"]["taints"].as_array());
        taints.is_some_and(|taints| taints.iter().any(|taint| taint["effect"] == "NoExecute"))
    }

    /// The nodes to which a Service sends.
    pub fn endpoints_on(&self, service: &str, node: &str) -> usize {
        let slices = self.of_kind("EndpointSlice");
        let ours =
            slices.filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
        let endpoints = ours.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        endpoints
            .filter(|endpoint| endpoint["nodeName"] == node && endpoint["conditions"]["ready"] == true)
            .count()
    }

    /// The pods of an app.
    pub fn pods<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of_kind("Pod").filter(move |pod| pod["metadata"]["labels"]["app"] == app)
    }

    /// How many pods of an app are to stay somewhere else than on a node.
    pub fn elsewhere(&self, app: &str, node: &str) -> usize {
        self.pods(app).filter(|pod| !is_leaving(pod) && pod["spec"]["nodeName"] != node).count()
    }

    /// How many of those are ready.
    pub fn ready_elsewhere(&self, app: &str, node: &str) -> usize {
        let pods = self.pods(app).filter(|pod| !is_leaving(pod) && pod["spec"]["nodeName"] != node);
        pods.filter(|pod| is_ready(pod)).count()
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.items.iter().filter(move |item| item["kind"] == kind)
    }
}

/// Whether an object's condition Ready is true.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// Whether an object is being deleted.
pub fn is_leaving(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

// === impl Moment ===

impl<'a> Moment<'a> {
    /// One that has not come yet.
    pub fn new(what: &'a str, is_so: impl Fn(&Sight) -> bool + 'a) -> Self {
        Moment { what, is_so: Box::new(is_so), at: Cell::new(None) }
    }
}

/// Looks until each moment has come, and tells when it did, counted from `began`.
pub fn await_all(cluster: &Cluster, began: Instant, moments: &[Moment<'_>]) -> Result<Vec<Duration>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Of the moment before the question: what is answered was so by then or later.
        let now = began.elapsed();
        let sight = Sight::take(cluster)?;
        for moment in moments.iter().filter(|moment| moment.at.get().is_none() && (moment.is_so)(&sight)) {
            moment.at.set(Some(now));
            println!("        {:>5.1} s  {}", now.as_secs_f32(), moment.what);
        }
        let missing: Vec<&str> =
            moments.iter().filter(|moment| moment.at.get().is_none()).map(|moment| moment.what).collect();
        if missing.is_empty() {
            return Ok(moments.iter().filter_map(|moment| moment.at.get()).collect());
        }
        if Instant::now() > deadline {
            bail!("not within {PATIENCE:?}: {}", missing.join("; "));
        }
    }
}
