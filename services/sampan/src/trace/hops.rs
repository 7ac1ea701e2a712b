//! The hops of a pod from the writes that led to it: pure, no clock.
//!
//! Who wrote is not in the log, but it follows from what was written: only a controller makes pods for their owners,
//! only the binder gives them a node, only that node tells of containers.

use jiff::Timestamp;
use serde_json::Value;

/// One write in the history of an object.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Its place in the log.
    pub revision: u64,
    /// The message that it came with.
    pub sequence: u64,
    /// When the log took it; nothing where only a checkpoint tells of it.
    pub time: Option<Timestamp>,
    /// Whether it made the object.
    pub created: bool,
    /// The trace that it belongs to.
    pub trace: Option<String>,
    /// The object from there on; nothing where it was deleted.
    pub object: Option<Value>,
}

/// An object on whose account the pod is there, and its history.
#[derive(Clone, Debug)]
pub struct Owned {
    /// As `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What was written about it.
    pub writes: Vec<Written>,
}

/// Everything that led to a pod and what became of it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The pod's own history.
    pub pod: Vec<Written>,
    /// Its owner, that one's owner, and so on.
    pub owners: Vec<Owned>,
}

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who did it.
    pub who: String,
    /// The message of the log that it came with.
    pub sequence: Option<u64>,
    /// When.
    pub time: Option<Timestamp>,
    /// What was done.
    pub what: String,
    /// The trace that it belongs to.
    pub trace: Option<String>,
}

/// Who asks for what no controller makes. Through which client is not in the log.
const CLIENT: &str = "kubectl > apiserver";
/// Who chooses a node, and who writes the choice.
const SCHEDULER: &str = "scheduler > binder";
/// Where the containers are.
const NODE: &str = "node";

/// Why a container waits that nobody need be told of.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The writes about the object of this uid: there may have been others of its name. A deletion goes with what is
/// before it.
pub fn of_uid(writes: Vec<Written>, uid: &str) -> Vec<Written> {
    let mut ours = false;
    let mut is_ours = |write: &Written| {
        if let Some(object) = &write.object {
            ours = object["metadata"]["uid"] == uid;
        }
        ours
    };
    writes.into_iter().filter(|write| is_ours(write)).collect()
}

// === impl Chain ===

impl Chain {
    /// Whether the history still has the pod's beginning.
    pub fn is_complete(&self) -> bool {
        self.pod.first().is_some_and(|first| first.created)
    }

    /// Every hop, in the order of the log.
    pub fn hops(&self) -> Vec<Hop> {
        let mut hops = self.causes();
        hops.extend(self.lifetime());
        hops
    }

    /// What led to the pod, the first cause first, and last its creation.
    fn causes(&self) -> Vec<Hop> {
        let Some(creation) = self.pod.first() else { return Vec::new() };
        let name = text(creation, &["metadata", "name"]);
        let mut writes = vec![(creation, format!("pod {name} created"))];
        for owner in &self.owners {
            let before = writes.last().map_or(0, |(write, _)| write.revision);
            let Some((write, verb)) = cause(&owner.writes, before) else { break };
            writes.push((write, format!("{} {} {verb}", owner.kind, owner.name)));
        }
        // Each was made by the controller of its owner, and the first one, which has none, by a client.
        let first = writes.last().and_then(|(write, _)| write.object.as_ref());
        let is_owned = first.is_none_or(|object| controller(object).is_some());
        let makers = self.owners.iter().map(|owner| maker(&owner.kind));
        let makers = makers.chain([if is_owned { "controller" } else { CLIENT }]);
        let mut hops: Vec<Hop> =
            writes.into_iter().zip(makers).map(|((write, what), who)| hop(who, write, what)).collect();
        hops.reverse();
        hops
    }

    /// What became of the pod after its creation: each thing when it is first told.
    fn lifetime(&self) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut told: Vec<String> = Vec::new();
        for (index, write) in self.pod.iter().enumerate() {
            let news = match &write.object {
                Some(pod) => news(pod, index == 0),
                None => vec![(NODE, "gone".to_owned())],
            };
            for (who, what) in news {
                if !told.contains(&what) {
                    told.push(what.clone());
                    hops.push(hop(who, write, what));
                }
            }
        }
        hops
    }
}

/// The newest write before a revision that changed what is wanted of an object, and what it did.
fn cause(writes: &[Written], before: u64) -> Option<(&Written, &'static str)> {
    let mut found = None;
    let mut generation = None;
    for write in writes.iter().take_while(|write| write.revision < before) {
        let now = write.object.as_ref().and_then(|object| object["metadata"]["generation"].as_i64());
        if write.created {
            found = Some((write, "created"));
        } else if now.is_some() && generation.is_some() && now != generation {
            found = Some((write, "changed"));
        }
        generation = now;
    }
    found
}

fn maker(kind: &str) -> &'static str {
    match kind {
        "ReplicaSet" | "Deployment" | "DaemonSet" => "replica-controller",
        "StatefulSet" => "stateful-controller",
        "Job" | "CronJob" => "batch-controller",
        _ => "controller",
    }
}

fn hop(who: &str, write: &Written, what: String) -> Hop {
    Hop {
        who: who.to_owned(),
        sequence: Some(write.sequence),
        time: write.time,
        what,
        trace: write.trace.clone(),
    }
}

/// What a state of the pod tells, whether or not it was told before. A pod that was made for a node needed no binder.
fn news(pod: &Value, is_creation: bool) -> Vec<(&'static str, String)> {
    let mut news = Vec::new();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !node.is_empty() && !is_creation {
        news.push((SCHEDULER, format!("bound to {node}")));
    }
    if let Some(refusal) = condition(pod, "PodScheduled").filter(|condition| condition["status"] == "False") {
        let why = refusal["message"].as_str().unwrap_or_default();
        news.push((SCHEDULER, format!("no node: {why}")));
    }
    if is_true(pod, "PodReadyToStartContainers") {
        news.push((NODE, "sandbox and network are there".to_owned()));
    }
    for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        if !reason.is_empty() && !USUAL.contains(&reason) {
            let name = status["name"].as_str().unwrap_or_default();
            news.push((NODE, format!("container {name} waits: {reason}")));
        }
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if !phase.is_empty() && phase != "Pending" {
        news.push((NODE, phase.to_owned()));
    }
    if is_true(pod, "Ready") {
        news.push((NODE, "Ready".to_owned()));
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        news.push((CLIENT, "to be deleted".to_owned()));
    }
    news
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is_true(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition["status"] == "True")
}

/// The reference to the owner who decides about an object.
pub fn controller(object: &Value) -> Option<&Value> {
    let mut references = object["metadata"]["ownerReferences"].as_array()?.iter();
    references.find(|reference| reference["controller"] == true)
}

fn text(write: &Written, path: &[&str]) -> String {
    let value =
        write.object.as_ref().and_then(|object| path.iter().try_fold(object, |value, name| value.get(name)));
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What the object itself tells where the history no longer does, by the times in it.
pub fn of_object(pod: &Value) -> Vec<Hop> {
    let row = |who: &str, time: &Value, what: String| Hop {
        who: who.to_owned(),
        sequence: None,
        time: time.as_str().and_then(|time| time.parse().ok()),
        what,
        trace: None,
    };
    let created = &pod["metadata"]["creationTimestamp"];
    let mut hops = vec![row("apiserver", created, "pod created".to_owned())];
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut rows: Vec<Hop> = conditions
        .map(|condition| {
            let kind = condition["type"].as_str().unwrap_or_default();
            let who = if kind == "PodScheduled" { SCHEDULER } else { NODE };
            let status = condition["status"].as_str().unwrap_or_default();
            row(who, &condition["lastTransitionTime"], format!("{kind}={status}"))
        })
        .collect();
    for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        let started = &status["state"]["running"]["startedAt"];
        if started.is_string() {
            let name = status["name"].as_str().unwrap_or_default();
            rows.push(row(NODE, started, format!("container {name} started")));
        }
    }
    rows.sort_by_key(|hop| hop.time);
    hops.append(&mut rows);
    hops
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    fn write(sequence: u64, object: Value) -> Written {
        Written {
            revision: sequence * 1024,
            sequence,
            time: Some(at(sequence as i64 * 10)),
            object: Some(object),
            ..Written::default()
        }
    }

    fn created(sequence: u64, object: Value) -> Written {
        Written { created: true, ..write(sequence, object) }
    }

    fn pod(node: &str, status: Value) -> Value {
        json!({"metadata": {"name": "web-1-a", "uid": "u"}, "spec": {"nodeName": node}, "status": status})
    }

    fn shown(hops: &[Hop]) -> Vec<String> {
        hops.iter().map(|hop| format!("{} {} {}", hop.sequence.unwrap_or(0), hop.who, hop.what)).collect()
    }

    fn set(kind: &str, name: &str, writes: &[(u64, i64, bool)]) -> Owned {
        let writes = writes.iter().map(|(sequence, generation, created)| Written {
            created: *created,
            ..write(*sequence, json!({"metadata": {"name": name, "generation": generation}}))
        });
        Owned { kind: kind.to_owned(), name: name.to_owned(), writes: writes.collect() }
    }

    #[test]
    fn a_deployments_pod_comes_from_the_write_that_asked_for_it() {
        let running = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let chain = Chain {
            pod: vec![
                created(20, pod("", json!({"phase": "Pending"}))),
                write(21, pod("n1", json!({"phase": "Pending"}))),
                write(23, pod("n1", running.clone())),
                write(24, pod("n1", running)),
            ],
            owners: vec![
                // Scaled at 19; what the status says at 22 asks for nothing.
                set("ReplicaSet", "web-1", &[(11, 1, true), (19, 2, false), (22, 2, false)]),
                set("Deployment", "web", &[(10, 1, true), (12, 1, false), (18, 2, false), (25, 3, false)]),
            ],
        };
        assert!(chain.is_complete());
        assert_eq!(
            shown(&chain.hops()),
            [
                "18 kubectl > apiserver Deployment web changed",
                "19 replica-controller ReplicaSet web-1 changed",
                "20 replica-controller pod web-1-a created",
                "21 scheduler > binder bound to n1",
                "23 node Running",
                "23 node Ready",
            ]
        );
    }

    #[test]
    fn what_is_no_longer_known_is_left_out_and_nobody_is_blamed() {
        let chain = Chain {
            pod: vec![created(20, pod("n1", json!({})))],
            owners: vec![set("ReplicaSet", "web-1", &[(19, 2, false)]), set("Deployment", "web", &[])],
        };
        // The ReplicaSet's write at 19 may be one of its status.
        assert_eq!(shown(&chain.hops()), ["20 replica-controller pod web-1-a created"]);
        let lone = Chain { pod: vec![write(20, pod("n1", json!({})))], owners: Vec::new() };
        assert!(!lone.is_complete());
    }

    #[test]
    fn why_a_pod_waits_is_told_once_for_each_reason() {
        let refusal =
            |why: &str| json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": why}]});
        let waiting = json!({
            "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        });
        let chain = Chain {
            pod: vec![
                created(1, pod("", json!({}))),
                write(2, pod("", refusal("0/1 nodes"))),
                write(3, pod("", refusal("0/1 nodes"))),
                write(4, pod("n1", waiting.clone())),
                write(5, pod("n1", waiting)),
                Written { object: None, ..write(6, json!({})) },
            ],
            owners: Vec::new(),
        };
        assert_eq!(
            shown(&chain.hops()),
            [
                "1 kubectl > apiserver pod web-1-a created",
                "2 scheduler > binder no node: 0/1 nodes",
                "4 scheduler > binder bound to n1",
                "4 node container c waits: ImagePullBackOff",
                "6 node gone",
            ]
        );
    }

    #[test]
    fn an_earlier_pod_of_the_same_name_is_another_one() {
        let earlier = json!({"metadata": {"name": "web-1-a", "uid": "other"}});
        let writes = vec![
            created(1, earlier),
            Written { object: None, ..write(2, json!({})) },
            created(3, pod("", json!({}))),
        ];
        let ours = of_uid(writes, "u");
        assert_eq!(ours.iter().map(|write| write.sequence).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_object_tells_the_rest_to_the_second() {
        let pod = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:03Z"},
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                ],
                "containerStatuses": [{"name": "c", "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}],
            },
        });
        assert_eq!(
            shown(&of_object(&pod)),
            [
                "0 apiserver pod created",
                "0 scheduler > binder PodScheduled=True",
                "0 node container c started",
                "0 node Ready=True",
            ]
        );
    }
}
