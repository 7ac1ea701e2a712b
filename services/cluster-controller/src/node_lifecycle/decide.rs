//! PURE: what a node's silence or unreadiness asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::command::{PatchFormat, Resource, Write};
use client::{Decision, Note, NoteKind};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use model::{Key, Revision};
use placement::Effect;
use placement::taint::{NOT_READY, UNREACHABLE, UNSCHEDULABLE};
use serde_json::json;

/// Conditions that nobody vouches for once the node is silent.
const REPORTED_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// A node that is given up for now is looked at this often; a heartbeat itself causes no work.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Pods in one decision: a batch on the bus.
pub const PODS_MAX: usize = 500;

/// What is known of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeState {
    /// Its uid.
    pub uid: String,
    /// When it last changed.
    pub revision: Revision,
    /// The status of its condition Ready: `True`, `False`, `Unknown`, or empty.
    pub ready: String,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
}

/// What is known of a pod on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// Its uid.
    pub uid: String,
    /// `spec.tolerations`.
    pub tolerations: Vec<Bearing>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its containers have ended for good.
    pub has_ended: bool,
    /// Whether its condition Ready is true.
    pub ready: bool,
}

/// Taints that a pod bears, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Bearing {
    /// Which.
    pub covers: placement::Toleration,
    /// `tolerationSeconds`; `None` for ever.
    pub seconds: Option<i64>,
}

// === impl NodeState ===

impl NodeState {
    /// What matters of a Node.
    pub fn read(node: &Node, revision: Revision) -> Self {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.filter(|one| one.type_ == "Ready").map(|one| one.status.clone()).next();
        let spec = node.spec.clone().unwrap_or_default();
        NodeState {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            revision,
            ready: ready.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
        }
    }

    /// Whether a taint drives pods away.
    pub fn evicts(&self) -> bool {
        self.taints.iter().any(|taint| taint.effect == "NoExecute")
    }
}

// === impl PodState ===

impl PodState {
    /// The node of a pod and what matters of it; `None` when it has none.
    pub fn read(pod: &Pod) -> Option<(String, Self)> {
        let spec = pod.spec.as_ref()?;
        let node = spec.node_name.clone().filter(|node| !node.is_empty())?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let state = PodState {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            tolerations: spec.tolerations.iter().flatten().filter_map(Bearing::read).collect(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            has_ended: matches!(phase, Some("Succeeded" | "Failed")),
            ready: pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(is_ready),
        };
        Some((node, state))
    }
}

fn is_ready(condition: &PodCondition) -> bool {
    condition.type_ == "Ready" && condition.status == "True"
}

// === impl Bearing ===

impl Bearing {
    fn read(toleration: &Toleration) -> Option<Self> {
        let Toleration { key, operator, value, effect, toleration_seconds } = toleration.clone();
        let covers = placement::Toleration::of(key, operator.as_deref(), value, effect.as_deref())?;
        Some(Bearing { covers, seconds: toleration_seconds })
    }
}

/// What to do about a node that was silent for `silent`.
pub fn decide(
    name: &str,
    node: &NodeState,
    pods: &BTreeMap<Key, PodState>,
    silent: Duration,
    grace: Duration,
    now: Timestamp,
) -> Decision {
    let lost = silent >= grace;
    // To the moment at which the grace period would end: whoever sends to its pods waits for that.
    let again_after = if lost { LOOK_AGAIN } else { grace - silent };
    let mut decision = Decision {
        again_after: Some(again_after),
        reason: "heartbeats are looked at",
        ..Decision::default()
    };
    if lost && node.ready != "Unknown" {
        // Pods first, and only while the node counts as heard: what its agent says of them later, it says after.
        if give_up_pods(pods, now, &mut decision) {
            decision.again_after = Some(Duration::ZERO);
            return decision;
        }
        decision.reason = "the node is silent";
        decision.writes.push(unknown(name, now));
        decision.notes.push(not_ready_note(name, &node.uid));
    }
    let taints = wanted_taints(node, lost, now);
    if taints != node.taints {
        decision.reason = "its taints follow its conditions";
        decision.writes.push(set_taints(name, node, &taints));
        return decision;
    }
    evict(node, pods, now, &mut decision);
    decision
}

/// Nobody vouches for the pods of a silent node: they are not ready, so that Services send elsewhere. False when none
/// was ready any more.
fn give_up_pods(pods: &BTreeMap<Key, PodState>, now: Timestamp, decision: &mut Decision) -> bool {
    for (key, pod) in pods.iter().filter(|(_, pod)| pod.ready).take(PODS_MAX) {
        decision.reason = "the pods of a silent node are not ready";
        decision.writes.push(unready(key, pod, now));
        decision.notes.push(pod_note(
            key,
            pod,
            NoteKind::Warning,
            "NodeNotReady",
            "Node is not ready".to_owned(),
        ));
    }
    !decision.writes.is_empty()
}

/// The taints that the conditions ask for, with all others kept.
fn wanted_taints(node: &NodeState, lost: bool, now: Timestamp) -> Vec<Taint> {
    let health = if lost || node.ready == "Unknown" {
        Some(UNREACHABLE)
    } else if node.ready == "True" {
        None
    } else {
        Some(NOT_READY)
    };
    let ours = [NOT_READY, UNREACHABLE];
    let mut taints: Vec<Taint> = node
        .taints
        .iter()
        .filter(|taint| !ours.contains(&taint.key.as_str()) || health == Some(taint.key.as_str()))
        .filter(|taint| taint.key != UNSCHEDULABLE || node.unschedulable)
        .cloned()
        .collect();
    let mut want = |key: &str, effect: &str, time_added: Option<Time>| {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint { key: key.to_owned(), effect: effect.to_owned(), time_added, value: None });
        }
    };
    if let Some(key) = health {
        want(key, "NoSchedule", None);
        want(key, "NoExecute", Some(Time(now)));
    }
    if node.unschedulable {
        want(UNSCHEDULABLE, "NoSchedule", None);
    }
    taints
}

/// Pods whose toleration has run out go; the earliest of the others says when to look again.
fn evict(node: &NodeState, pods: &BTreeMap<Key, PodState>, now: Timestamp, decision: &mut Decision) {
    for (key, pod) in pods.iter().filter(|(_, pod)| !pod.deleting && !pod.has_ended) {
        let Some(when) = leaves_at(&node.taints, &pod.tolerations, now) else { continue };
        if when > now || decision.writes.len() >= PODS_MAX {
            let wait: Duration = when.duration_since(now).try_into().unwrap_or(Duration::ZERO);
            decision.again_after = decision.again_after.map(|after| after.min(wait));
            continue;
        }
        decision.reason = "pods do not tolerate its taints any longer";
        decision.writes.push(delete(key, pod));
        decision.notes.push(eviction_note(key, pod));
    }
}

/// When a pod must leave a node with these taints; `None` when it may stay for good.
fn leaves_at(taints: &[Taint], tolerations: &[Bearing], now: Timestamp) -> Option<Timestamp> {
    taints
        .iter()
        .filter(|taint| taint.effect == Effect::NoExecute.name())
        .filter_map(|taint| {
            let added = taint.time_added.as_ref().map_or(now, |time| time.0);
            let judged = judged(taint);
            let mut tolerating = tolerations.iter().filter(|one| one.covers.tolerates(&judged)).peekable();
            if tolerating.peek().is_none() {
                return Some(now);
            }
            let seconds = tolerating.filter_map(|one| one.seconds).min()?;
            Some(added.saturating_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX))
        })
        .min()
}

fn judged(taint: &Taint) -> placement::Taint {
    placement::Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: Effect::NoExecute,
    }
}

fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn unready(key: &Key, pod: &PodState, now: Timestamp) -> Write {
    let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": seconds(now)});
    let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
    Write::Patch {
        resource: Resource::new("", "v1", "pods"),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        subresource: "status".to_owned(),
        format: PatchFormat::Strategic,
        patch: patch.to_string().into(),
    }
}

fn unknown(name: &str, now: Timestamp) -> Write {
    let time = seconds(now);
    let conditions: Vec<_> = REPORTED_CONDITIONS
        .iter()
        .map(|kind| {
            json!({
                "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.", "lastTransitionTime": time,
            })
        })
        .collect();
    Write::Patch {
        resource: Resource::new("", "v1", "nodes"),
        namespace: String::new(),
        name: name.to_owned(),
        subresource: "status".to_owned(),
        format: PatchFormat::Strategic,
        patch: json!({"status": {"conditions": conditions}}).to_string().into(),
    }
}

fn set_taints(name: &str, node: &NodeState, taints: &[Taint]) -> Write {
    let patch = json!({
        "metadata": {"uid": node.uid},
        "spec": {"taints": if taints.is_empty() { json!(null) } else { json!(taints) }},
    });
    Write::Patch {
        resource: Resource::new("", "v1", "nodes"),
        namespace: String::new(),
        name: name.to_owned(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}

fn delete(key: &Key, pod: &PodState) -> Write {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}});
    Write::Delete {
        resource: Resource::new("", "v1", "pods"),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        options: options.to_string().into(),
    }
}

fn not_ready_note(name: &str, uid: &str) -> Note {
    Note {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        severity: NoteKind::Normal,
        reason: "NodeNotReady".to_owned(),
        message: format!("Node {name} status is now: NodeNotReady"),
    }
}

fn eviction_note(key: &Key, pod: &PodState) -> Note {
    let message = format!("Marking for deletion Pod {}/{}", key.namespace(), key.name());
    pod_note(key, pod, NoteKind::Normal, "TaintManagerEviction", message)
}

fn pod_note(key: &Key, pod: &PodState, severity: NoteKind, reason: &str, message: String) -> Note {
    Note {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        uid: pod.uid.clone(),
        severity,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(40);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn mk_node(ready: &str, taints: Vec<Taint>) -> NodeState {
        NodeState {
            uid: "n".into(),
            revision: Revision(5),
            ready: ready.into(),
            unschedulable: false,
            taints,
        }
    }

    fn mk_taint(key: &str, effect: &str, added: Option<i64>) -> Taint {
        Taint { key: key.into(), effect: effect.into(), time_added: added.map(|s| Time(at(s))), value: None }
    }

    fn tolerates_for(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some("NoExecute".into()),
            toleration_seconds: seconds,
            value: None,
        }
    }

    fn pods(tolerations: Vec<Toleration>) -> BTreeMap<Key, PodState> {
        let tolerations = tolerations.iter().filter_map(Bearing::read).collect();
        let pod = PodState { uid: "p".into(), tolerations, has_ended: false, deleting: false, ready: false };
        BTreeMap::from([(Key::object("", "pods", "default", "p"), pod)])
    }

    #[test]
    fn a_node_that_is_heard_and_ready_causes_no_write() {
        let decision = decide("a", &mk_node("True", vec![]), &pods(vec![]), Duration::ZERO, GRACE, at(0));
        assert!(decision.writes.is_empty());
        assert_eq!(decision.again_after, Some(GRACE), "no look before it could matter");
        let silent = Duration::from_secs(3);
        let decision = decide("a", &mk_node("True", vec![]), &pods(vec![]), silent, GRACE, at(0));
        assert_eq!(decision.again_after, Some(GRACE - silent));
    }

    #[test]
    fn the_ready_pods_of_a_silent_node_are_given_up_before_the_node() {
        let mut pods = pods(vec![]);
        pods.values_mut().for_each(|pod| pod.ready = true);
        let decision = decide("a", &mk_node("True", vec![]), &pods, GRACE, GRACE, at(100));
        let [Write::Patch { resource, subresource, patch, .. }] = &decision.writes[..] else {
            panic!("one write: {:?}", decision.writes)
        };
        let patch: serde_json::Value = serde_json::from_slice(patch).expect("JSON");
        assert_eq!((resource.plural.as_str(), subresource.as_str()), ("pods", "status"));
        assert_eq!(patch["metadata"]["uid"], "p");
        assert_eq!(patch["status"]["conditions"][0]["status"], "False");
        assert_eq!(decision.again_after, Some(Duration::ZERO), "then the node");
        // What its agent says of them from here on is said after.
        let decision = decide("a", &mk_node("Unknown", vec![]), &pods, GRACE, GRACE, at(100));
        let plurals = decision.writes.iter().map(|write| match write {
            Write::Patch { resource, .. } => resource.plural.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(plurals.collect::<Vec<_>>(), ["nodes"]);
    }

    #[test]
    fn a_silent_node_becomes_unknown_and_unreachable() {
        let silent = GRACE + Duration::from_secs(1);
        let decision = decide("a", &mk_node("True", vec![]), &pods(vec![]), silent, GRACE, at(100));
        let texts: Vec<String> = decision
            .writes
            .iter()
            .map(|write| match write {
                Write::Patch { subresource, patch, .. } => {
                    format!("{subresource} {}", String::from_utf8_lossy(patch))
                }
                other => format!("{other:?}"),
            })
            .collect();
        assert!(texts[0].starts_with("status ") && texts[0].contains("NodeStatusUnknown"), "{texts:?}");
        assert!(texts[1].contains(UNREACHABLE) && texts[1].contains("NoExecute"), "{texts:?}");
    }

    #[test]
    fn a_node_that_recovers_loses_its_taints_and_keeps_those_of_others() {
        let taints = vec![
            mk_taint("gpu", "NoSchedule", None),
            mk_taint(UNREACHABLE, "NoSchedule", None),
            mk_taint(UNREACHABLE, "NoExecute", Some(0)),
        ];
        let wanted = wanted_taints(&mk_node("True", taints), false, at(9));
        assert_eq!(wanted, [mk_taint("gpu", "NoSchedule", None)]);
    }

    #[test]
    fn pods_leave_when_their_toleration_has_run_out() {
        let taints =
            || vec![mk_taint(UNREACHABLE, "NoSchedule", None), mk_taint(UNREACHABLE, "NoExecute", Some(0))];
        let node = mk_node("Unknown", taints());
        let judged = |tolerations, now| {
            decide("a", &node, &pods(tolerations), Duration::ZERO, GRACE, at(now)).writes.len()
        };
        assert_eq!(judged(vec![], 1), 1, "not tolerated at all");
        assert_eq!(judged(vec![tolerates_for(UNREACHABLE, Some(300))], 299), 0);
        assert_eq!(judged(vec![tolerates_for(UNREACHABLE, Some(300))], 300), 1);
        assert_eq!(judged(vec![tolerates_for(UNREACHABLE, None)], 1_000_000), 0);
    }
}
