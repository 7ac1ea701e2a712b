//! What agents say of their node, pods and events: written through the same verbs as everybody's, then answered.

use std::sync::Arc;

use bus::node::{LOCAL_PATH, PodReport, Report, ReportReply, VOLUME_NODE, VolumeReport};
use bus::{Bus, BusError, Incoming, subject};
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use jiff::Timestamp;
use kinds::Kind;
use model::spelling::Fnv;
use model::{Object, Reason, Status};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::volumes::is_leaving;
use crate::registry::{Part, Registry, body, part, pipeline};
use crate::verbs::{self, Context, DeleteOptions, Identity, Target, WriteOptions};

/// Reports that are carried out at a time; more wait. Their writes share log messages, so many at once cost little more
/// than one. Those of one node are carried out one after the other: an agent that was cut off tells again what was not
/// answered, and what it said first must not be what stays.
const LANES: usize = 256;
/// Reports that wait in a lane. An agent sends one at a time, so more are of several agents, or old; then the bus waits.
const LANE: usize = 16;
/// Writes of one report under way at a time.
const WRITES: usize = 64;

/// Serves reports until `shutdown`.
pub async fn serve(registry: Arc<Registry>, bus: Bus, shutdown: CancellationToken) -> Result<(), BusError> {
    let mut requests = bus.serve(subject::REPORT_ALL, subject::API_SERVERS).await?;
    let lanes: Vec<mpsc::Sender<Incoming>> = (0..LANES).map(|_| lane(&registry)).collect();
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            request = requests.next() => request,
        };
        let Some(request) = request else { return Ok(()) };
        let node = Fnv::of(subject::node_of(request.subject()));
        let lane = &lanes[usize::try_from(node % LANES as u64).expect("less than the number of lanes")];
        lane.send(request).await.expect("a lane lives as long as its sender");
    }
}

/// Carries out what is sent, one after the other.
fn lane(registry: &Arc<Registry>) -> mpsc::Sender<Incoming> {
    let (sender, mut waiting) = mpsc::channel::<Incoming>(LANE);
    let registry = Arc::clone(registry);
    tokio::spawn(async move {
        while let Some(request) = waiting.recv().await {
            let registry = Arc::clone(&registry);
            // One that brings down its own task takes no others along.
            let _ = tokio::spawn(async move { answer(&registry, &request).await }).await;
        }
    });
    sender
}

async fn answer(registry: &Registry, request: &Incoming) {
    let reply = match request.decode::<Report>() {
        Ok(report) => handle(registry, &subject::node_of(request.subject()), report, Timestamp::now()).await,
        Err(error) => {
            ReportReply { refused: Some(Status::bad_request(error.to_string())), ..ReportReply::default() }
        }
    };
    request.answer(&reply).await;
}

/// Carries out a node's report. Everything that the reply does not name is committed.
pub async fn handle(registry: &Registry, node: &str, report: Report, now: Timestamp) -> ReportReply {
    let context = Context { identity: agent(node), now, guard: None };
    let reporter = Reporter { registry, context, node };
    // The node first: on a fresh cluster the pods' agents would else speak for a node that there is not.
    let refused = match &report.node {
        Some(json) => reporter.node(json).await.err(),
        None => None,
    };
    let pods = report.pods.into_iter().enumerate().map(async |(index, pod): (usize, PodReport)| {
        let result = reporter.pod(&pod).await;
        result.err().map(|status| (index, status))
    });
    let pods: Vec<_> = pods.collect();
    let pods = stream::iter(pods).buffer_unordered(WRITES).filter_map(future::ready).collect::<Vec<_>>();
    let events: Vec<_> = report
        .events
        .into_iter()
        .map(async |json: Bytes| {
            if let Err(status) = reporter.event(&json).await {
                // An event is told once; nobody waits for it.
                debug!(node, "event refused: {status}");
            }
        })
        .collect();
    let events = stream::iter(events).buffer_unordered(WRITES).collect::<()>();
    let (mut pods, ()) = futures::join!(pods, events);
    pods.sort_by_key(|(index, _)| *index);
    let mut volumes = Vec::new();
    for (index, volume) in report.volumes.iter().enumerate() {
        volumes.extend(reporter.volume(volume).await.err().map(|status| (index, status)));
    }
    ReportReply { node: refused, pods, volumes, refused: None }
}

fn agent(node: &str) -> Identity {
    Identity {
        user: format!("system:node:{node}"),
        groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
        ..Identity::default()
    }
}

/// An agent while its report is carried out.
struct Reporter<'a> {
    registry: &'a Registry,
    context: Context,
    node: &'a str,
}

// === impl Reporter ===

impl Reporter<'_> {
    fn kind(&self, plural: &str) -> Result<Arc<Kind>, Status> {
        self.registry.kind("", "v1", plural).ok_or_else(part::no_such_part)
    }

    /// Registers the node, or brings what its agent knows of it up to date.
    async fn node(&self, json: &[u8]) -> Result<(), Status> {
        let kind = self.kind("nodes")?;
        let sent = body::decode(self.registry.schemas(), "v1", "Node", json)?;
        let labels = sent.object.at(&["metadata", "labels"]).and_then(Value::as_object);
        let reserved = labels.into_iter().flatten().any(|(label, _)| is_reserved(label));
        if sent.object.name() != self.node || reserved {
            return Err(self.forbidden("nodes", sent.object.name()));
        }
        let reported = sent.object.clone();
        let target = Target::object(kind, "", self.node);
        let update = || self.change(&target, Part::Status, |present| Ok(merged_node(present, &reported)));
        match update().await {
            Err(status) if status.reason == Reason::NotFound => (),
            result => return result,
        }
        let collection = Target::collection(target.kind.clone(), "");
        match verbs::create(self.registry, &self.context, &collection, sent, &WriteOptions::default()).await {
            // A status is not taken at creation.
            Ok(_) => update().await,
            Err(status) if status.reason == Reason::AlreadyExists => update().await,
            Err(status) => Err(status),
        }
    }

    /// Notes a pod's status, and removes a pod that ended as it was to.
    async fn pod(&self, report: &PodReport) -> Result<(), Status> {
        let target = Target::object(self.kind("pods")?, &report.namespace, &report.name);
        if let Some(json) = &report.status {
            let status = decode_status(self.registry, json)?;
            let noted = self.change(&target, Part::Status, |present| {
                self.check_pod(&target, present, report)?;
                Ok(with_status(present, status.clone()))
            });
            match noted.await {
                // Somebody removed it by force: that was wanted.
                Err(status) if status.reason == Reason::NotFound && report.gone => return Ok(()),
                result => result?,
            }
        }
        if !report.gone {
            return Ok(());
        }
        self.remove(&target, report).await
    }

    async fn remove(&self, target: &Target, report: &PodReport) -> Result<(), Status> {
        let key = crate::registry::key_of(&target.kind, &target.namespace, &target.name)?;
        if let Some(item) = self.registry.store().get(&key) {
            let present = self.registry.present(&target.kind, item)?.object;
            self.check_pod(target, &present, report)?;
            if present.deletion_timestamp().is_none() {
                return Err(target.conflict("the pod is not being deleted"));
            }
        }
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(report.uid.clone()),
            ..DeleteOptions::default()
        };
        match verbs::delete(self.registry, &self.context, target, &options).await {
            Err(status) if status.reason != Reason::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    /// Lets a volume go of which its node has nothing left.
    async fn volume(&self, report: &VolumeReport) -> Result<(), Status> {
        let target = Target::object(self.kind("persistentvolumes")?, "", &report.name);
        let let_go = |present: &Object| {
            if present.uid() != report.uid {
                return Err(target.conflict("it is another volume of that name"));
            }
            let is_here = present.str_at(&["metadata", "annotations", VOLUME_NODE]) == self.node;
            if !is_here || !is_leaving(present) {
                return Err(self.forbidden("persistentvolumes", &report.name));
            }
            let mut volume = present.clone();
            let left: Vec<&str> = present.finalizers().filter(|one| *one != LOCAL_PATH).collect();
            volume.set(&["metadata", "finalizers"], serde_json::json!(left));
            Ok(volume)
        };
        let options = WriteOptions::default();
        let changed =
            pipeline::change(self.registry, &self.context, &target, &Part::Whole, &options, let_go).await;
        match changed {
            Err(status) if status.reason != Reason::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    /// Records an event, or counts one again that is there.
    async fn event(&self, json: &[u8]) -> Result<(), Status> {
        let kind = self.kind("events")?;
        let sent = body::decode(self.registry.schemas(), "v1", "Event", json)?;
        let (namespace, name) = (sent.object.namespace().to_owned(), sent.object.name().to_owned());
        if sent.object.str_at(&["source", "host"]) != self.node
            || !self.may_tell_again(&kind, &sent.object)?
        {
            return Err(self.forbidden("events", &name));
        }
        let options = WriteOptions::default();
        let collection = Target::collection(kind.clone(), &namespace);
        match verbs::create(self.registry, &self.context, &collection, sent.clone(), &options).await {
            Err(status) if status.reason == Reason::AlreadyExists => {
                let target = Target::object(kind, &namespace, &name);
                verbs::update(self.registry, &self.context, &target, sent, &options).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    /// An event of this name that is there is one of this node's own.
    fn may_tell_again(&self, kind: &Kind, event: &Object) -> Result<bool, Status> {
        let key = crate::registry::key_of(kind, event.namespace(), event.name())?;
        let Some(item) = self.registry.store().get(&key) else { return Ok(true) };
        Ok(self.registry.present(kind, item)?.object.str_at(&["source", "host"]) == self.node)
    }

    async fn change(
        &self,
        target: &Target,
        part: Part,
        edit: impl FnMut(&Object) -> Result<Object, Status>,
    ) -> Result<(), Status> {
        let target = target.clone().at("status");
        let options = WriteOptions::default();
        pipeline::change(self.registry, &self.context, &target, &part, &options, edit).await.map(drop)
    }

    /// A node speaks for the pods that it was given, and for no others.
    fn check_pod(&self, target: &Target, present: &Object, report: &PodReport) -> Result<(), Status> {
        if present.uid() != report.uid {
            let why = format!("UID in precondition: {}, UID in object meta: {}", report.uid, present.uid());
            return Err(target.conflict(&format!("Precondition failed: {why}")));
        }
        if present.str_at(&["spec", "nodeName"]) != self.node {
            return Err(self.forbidden("pods", &report.name));
        }
        Ok(())
    }

    fn forbidden(&self, resource: &str, name: &str) -> Status {
        let why = format!("node {:?} cannot speak for it", self.node);
        Status::forbidden("", resource, name, &why)
    }
}

/// Labels that administrators set to keep nodes apart, and that no node sets itself.
fn is_reserved(label: &str) -> bool {
    const RESERVED: &str = "node-restriction.kubernetes.io";
    let domain = label.split('/').next().unwrap_or_default();
    domain == RESERVED || domain.strip_suffix(RESERVED).is_some_and(|sub| sub.ends_with('.'))
}

fn decode_status(registry: &Registry, json: &Bytes) -> Result<Value, Status> {
    let status: Value = serde_json::from_slice(json)
        .map_err(|error| Status::bad_request(format!("the status is not JSON: {error}")))?;
    // The type is known of the whole pod only.
    let pod = serde_json::json!({ "status": status });
    let mut pod = body::decode(registry.schemas(), "v1", "Pod", pod.to_string().as_bytes())?;
    Ok(pod.object.remove("status").unwrap_or_else(|| Value::Object(Map::new())))
}

/// The pod with the reported status; conditions that others own, and what its node does not know, stay.
fn with_status(present: &Object, mut status: Value) -> Object {
    const KEPT: [&str; 3] = ["qosClass", "nominatedNodeName", "resize"];
    let mut pod = present.clone();
    let conditions = merged_conditions(present.at(&["status", "conditions"]), status.get("conditions"));
    if let Value::Object(fields) = &mut status {
        for field in KEPT {
            if let (false, Some(value)) = (fields.contains_key(field), present.at(&["status", field])) {
                fields.insert(field.to_owned(), value.clone());
            }
        }
        if !conditions.is_empty() {
            fields.insert("conditions".to_owned(), Value::Array(conditions));
        }
    }
    pod.set(&["status"], status);
    pod
}

/// The node with what its agent reports: labels and annotations added, status fields replaced.
fn merged_node(present: &Object, reported: &Object) -> Object {
    let mut node = present.clone();
    for field in ["labels", "annotations"] {
        for (name, value) in
            reported.at(&["metadata", field]).and_then(Value::as_object).into_iter().flatten()
        {
            node.set(&["metadata", field, name], value.clone());
        }
    }
    for (field, value) in reported.get("status").and_then(Value::as_object).into_iter().flatten() {
        match field.as_str() {
            "conditions" => {
                let conditions = merged_conditions(present.at(&["status", "conditions"]), Some(value));
                node.set(&["status", "conditions"], conditions);
            }
            field => node.set(&["status", field], value.clone()),
        }
    }
    node
}

/// Reported conditions, each in the place where it was, and those of others.
fn merged_conditions(present: Option<&Value>, reported: Option<&Value>) -> Vec<Value> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut conditions = list(present);
    for condition in list(reported) {
        match conditions.iter_mut().find(|one| one.get("type") == condition.get("type")) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_report_replaces_the_status_and_leaves_what_others_said() {
        let present = object(json!({"status": {
            "phase": "Pending", "qosClass": "BestEffort", "reason": "Old",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]
        }}));
        let reported = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}
        ]});
        assert_eq!(
            with_status(&present, reported).into_value(),
            json!({"status": {
                "phase": "Running", "qosClass": "BestEffort",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True"},
                    {"type": "Initialized", "status": "True"}
                ]
            }})
        );
    }

    #[test]
    fn labels_that_keep_nodes_apart_are_not_for_nodes_to_set() {
        for reserved in ["node-restriction.kubernetes.io/tier", "a.node-restriction.kubernetes.io/tier"] {
            assert!(is_reserved(reserved), "{reserved}");
        }
        for free in ["zone", "kubernetes.io/arch", "my-node-restriction.kubernetes.io/x"] {
            assert!(!is_reserved(free), "{free}");
        }
    }

    #[test]
    fn an_agent_adds_labels_and_leaves_the_spec_alone() {
        let present = object(json!({
            "metadata": {"name": "n", "labels": {"mine": "x"}},
            "spec": {"podCIDR": "10.244.0.0/24", "unschedulable": true},
            "status": {"capacity": {"cpu": "1"}, "volumesInUse": ["v"]}
        }));
        let reported = object(json!({
            "metadata": {"name": "n", "labels": {"arch": "amd64"}}, "spec": {"podCIDR": "other"},
            "status": {"capacity": {"cpu": "2"}}
        }));
        assert_eq!(
            merged_node(&present, &reported).into_value(),
            json!({
                "metadata": {"name": "n", "labels": {"mine": "x", "arch": "amd64"}},
                "spec": {"podCIDR": "10.244.0.0/24", "unschedulable": true},
                "status": {"capacity": {"cpu": "2"}, "volumesInUse": ["v"]}
            })
        );
    }
}
