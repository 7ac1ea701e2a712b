//! PURE: the next step of a StatefulSet.
//!
//! With `OrderedReady` at most one pod is under way at a time: made from the lowest ordinal, removed from the
//! highest, updated from the highest down to the partition. `Parallel` lifts the order for making and removing.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::command::Write;
use client::{Decision, Note, NoteKind};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;
use model::{Reason, Status};

use crate::observe::Family;
use crate::revision::{Revisions, revisions};
use crate::{claims, pods, status};

/// Pods made in one decision with `Parallel`: a batch on the bus.
const CREATIONS_MAX: usize = 500;

/// What to do, and what to tell of it.
#[derive(Debug, Default)]
pub struct Plan {
    /// What to do.
    pub decision: Decision,
    /// What is told of the write at each place once it is done; see [`outcome`] for when it is not.
    pub outcomes: BTreeMap<usize, Note>,
}

/// What to do about `set`, given its family.
pub fn decide(set: &StatefulSet, family: &Family<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if set.metadata.deletion_timestamp.is_some() {
        plan.decision.reason = "the set is being deleted";
        return plan;
    }
    let used: Vec<&str> = family.pods.iter().map(|pod| pods::revision(pod)).collect();
    let revisions = revisions(set, &family.revisions, &used);
    let writes = &mut plan.decision.writes;
    writes.extend(revisions.write.clone());
    writes.extend(revisions.superfluous.iter().map(|revision| client::revisions::delete(revision)));
    Step { set, family, revisions: &revisions, now }.take(&mut plan);
    plan.decision.writes.extend(status::update(set, &family.pods, &revisions, now));
    if min_ready_seconds(set) > 0 {
        plan.decision.again_after = Some(Duration::from_secs(1));
    }
    plan
}

/// What is told of a write, given why it was refused, if it was.
pub fn outcome(note: Note, refused: Option<&Status>) -> Option<Note> {
    let Some(status) = refused else { return Some(note) };
    // Our view was behind; it will show what happened.
    if matches!(status.reason, Reason::Conflict | Reason::NotFound | Reason::AlreadyExists) {
        return None;
    }
    let message = note.message.trim_end_matches(DONE);
    Some(Note {
        severity: NoteKind::Warning,
        reason: note.reason.replace("Successful", "Failed"),
        message: format!("{message} failed error: {}", status.message),
        ..note
    })
}

/// How the message of a write that was done ends.
const DONE: &str = " successful";

struct Step<'a> {
    set: &'a StatefulSet,
    family: &'a Family<'a>,
    revisions: &'a Revisions<'a>,
    now: Timestamp,
}

// === impl Plan ===

impl Plan {
    fn write(&mut self, write: Write, told: Note) {
        self.outcomes.insert(self.decision.writes.len(), told);
        self.decision.writes.push(write);
    }
}

// === impl Step ===

impl Step<'_> {
    fn take(&self, plan: &mut Plan) {
        let by_ordinal: BTreeMap<i32, &Pod> =
            self.family.pods.iter().filter_map(|pod| Some((pods::ordinal(pod)?, *pod))).collect();
        let wanted = self.ordinals();
        if self.make(&by_ordinal, wanted.clone(), plan) || self.remove(&by_ordinal, &wanted, plan) {
            return;
        }
        self.update(&by_ordinal, wanted, plan);
    }

    fn ordinals(&self) -> std::ops::Range<i32> {
        let spec = self.set.spec.as_ref();
        let start =
            spec.and_then(|spec| spec.ordinals.as_ref()).and_then(|ordinals| ordinals.start).unwrap_or(0);
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        start..start.saturating_add(replicas)
    }

    fn is_parallel(&self) -> bool {
        self.set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref()) == Some("Parallel")
    }

    /// Makes pods that are missing and replaces those that have ended; true when the next ordinal has to wait.
    fn make(&self, present: &BTreeMap<i32, &Pod>, wanted: std::ops::Range<i32>, plan: &mut Plan) -> bool {
        let mut waits = false;
        for ordinal in wanted {
            let settled = match present.get(&ordinal) {
                None => {
                    self.make_one(ordinal, plan);
                    false
                }
                Some(pod) if pods::has_ended(pod) && !pods::is_terminating(pod) => {
                    plan.decision.reason = "a pod has ended";
                    plan.write(
                        pods::delete(pod),
                        self.note("RecreatingTerminatedPod", "delete Pod", ordinal),
                    );
                    false
                }
                Some(pod) => {
                    plan.decision.writes.extend(claims::retained(self.set, pod, false, &self.family.claims));
                    if pods::is_pending(pod) {
                        // It waits for them, whoever deleted them.
                        self.make_claims(ordinal, plan);
                    }
                    self.is_settled(pod)
                }
            };
            waits |= !settled;
            let full = plan.decision.writes.len() >= CREATIONS_MAX;
            if full || (!settled && !self.is_parallel()) {
                return true;
            }
        }
        waits && !self.is_parallel()
    }

    /// The claims first, and the pod when they are there: it never runs without its data.
    fn make_one(&self, ordinal: i32, plan: &mut Plan) {
        if claims::are_going(self.set, ordinal, &self.family.claims) {
            plan.decision.reason = "the claims of the pod before are still going";
        } else if !self.make_claims(ordinal, plan) {
            plan.decision.reason = "a pod is missing";
            plan.write(self.pod(ordinal), self.note("SuccessfulCreate", "create Pod", ordinal));
        }
    }

    /// Makes the claims of an ordinal that are missing; whether any was.
    fn make_claims(&self, ordinal: i32, plan: &mut Plan) -> bool {
        let missing = claims::missing(self.set, ordinal, &self.family.claims);
        let any = !missing.is_empty();
        for (claim, write) in missing {
            plan.decision.reason = "a claim is missing";
            plan.write(write, self.note("SuccessfulCreate", &format!("create Claim {claim} Pod"), ordinal));
        }
        any
    }

    /// Removes pods beyond the wanted ordinals, the highest first; true while some are left.
    fn remove(&self, present: &BTreeMap<i32, &Pod>, wanted: &std::ops::Range<i32>, plan: &mut Plan) -> bool {
        let condemned: Vec<(&i32, &&Pod)> =
            present.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal)).collect();
        for (ordinal, pod) in &condemned {
            let owned = claims::retained(self.set, pod, true, &self.family.claims);
            if !owned.is_empty() {
                plan.decision.reason = "the claims of a pod are to go with it, or to stay";
                plan.decision.writes.extend(owned);
            } else if !pods::is_terminating(pod) {
                plan.decision.reason = "a pod is not wanted any longer";
                plan.write(pods::delete(pod), self.note("SuccessfulDelete", "delete Pod", **ordinal));
            }
            if !self.is_parallel() {
                break;
            }
        }
        !condemned.is_empty()
    }

    /// Replaces the highest pod of an older revision, down to the partition, one at a time.
    fn update(&self, present: &BTreeMap<i32, &Pod>, wanted: std::ops::Range<i32>, plan: &mut Plan) {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        for ordinal in (self.partition()..wanted.end).rev() {
            let Some(pod) = present.get(&ordinal) else { return };
            if pods::revision(pod) != self.revisions.update && !pods::is_terminating(pod) {
                plan.decision.reason = "a pod has an older revision";
                plan.write(pods::delete(pod), self.note("SuccessfulDelete", "delete Pod", ordinal));
                return;
            }
            if !self.is_settled(pod) {
                plan.decision.reason = "an updated pod is not available yet";
                return;
            }
        }
    }

    /// A pod that is asked to go may be ready for a while yet, and others wait for the one that follows it.
    fn is_settled(&self, pod: &Pod) -> bool {
        !pods::is_terminating(pod) && pods::is_available(pod, min_ready_seconds(self.set), self.now)
    }

    fn partition(&self) -> i32 {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0).max(self.ordinals().start)
    }

    /// A pod below the partition is made from the current revision, any other from the new one.
    fn pod(&self, ordinal: i32) -> Write {
        let newest = self.set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        let old = self.revisions.current_template.as_ref().filter(|_| ordinal < self.partition());
        let (template, name): (&PodTemplateSpec, &str) = match old {
            Some(template) => (template, &self.revisions.current),
            None => (&newest, &self.revisions.update),
        };
        pods::create(self.set, template, name, ordinal)
    }

    fn note(&self, reason: &str, what: &str, ordinal: i32) -> Note {
        let metadata = &self.set.metadata;
        let name = metadata.name.clone().unwrap_or_default();
        let pod = pods::name(self.set, ordinal);
        Note {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            severity: NoteKind::Normal,
            reason: reason.to_owned(),
            message: format!("{what} {pod} in StatefulSet {name}{DONE}"),
            name,
        }
    }
}

fn min_ready_seconds(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Claim;
    use k8s_openapi::api::apps::v1::ControllerRevision;
    use serde_json::{Value, json};

    /// A set with its pods and revisions, which does what is decided.
    struct World {
        set: StatefulSet,
        pods: BTreeMap<String, Pod>,
        claims: BTreeMap<String, Claim>,
        revisions: Vec<ControllerRevision>,
    }

    impl World {
        fn new(spec: Value) -> Self {
            let mut object = json!({
                "metadata": {"name": "db", "namespace": "default", "uid": "s", "generation": 1},
                "spec": {
                    "serviceName": "db", "replicas": 3, "selector": {"matchLabels": {"app": "db"}},
                    "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
                }
            });
            for (field, value) in spec.as_object().into_iter().flatten() {
                object["spec"][field] = value.clone();
            }
            let set = serde_json::from_value(object).expect("a set");
            World { set, pods: BTreeMap::new(), claims: BTreeMap::new(), revisions: Vec::new() }
        }

        /// Decides once and does it; returns what was done to pods.
        fn step(&mut self) -> Vec<String> {
            let revisions: Vec<&ControllerRevision> = self.revisions.iter().collect();
            let claims = self.claims.iter().map(|(name, claim)| (name.as_str(), claim)).collect();
            let family = Family { pods: self.pods.values().collect(), revisions, claims };
            let writes = decide(&self.set, &family, Timestamp::UNIX_EPOCH).decision.writes;
            writes.into_iter().filter_map(|write| self.apply(write)).collect()
        }

        fn apply(&mut self, write: Write) -> Option<String> {
            match write {
                Write::Create { resource, object, .. } if resource.plural == "pods" => {
                    let pod: Pod = serde_json::from_slice(&object).expect("a pod");
                    let name = pod.metadata.name.clone().expect("a name");
                    self.pods.insert(name.clone(), pod);
                    Some(format!("create {name}"))
                }
                Write::Create { resource, object, .. } if resource.plural == "persistentvolumeclaims" => {
                    let claim: Claim = serde_json::from_slice(&object).expect("a claim");
                    let name = claim.metadata.name.clone().expect("a name");
                    self.claims.insert(name.clone(), claim);
                    Some(format!("create {name}"))
                }
                Write::Patch { resource, name, patch, .. } if resource.plural == "persistentvolumeclaims" => {
                    let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                    let owners = patch["metadata"]["ownerReferences"].clone();
                    let claim = self.claims.get_mut(&name).expect("it is there");
                    claim.metadata.owner_references = serde_json::from_value(owners).expect("owners");
                    Some(format!("own {name}"))
                }
                Write::Create { object, .. } => {
                    self.revisions.push(serde_json::from_slice(&object).expect("a revision"));
                    None
                }
                Write::Delete { name, .. } => {
                    self.pods.remove(&name);
                    Some(format!("delete {name}"))
                }
                Write::Patch { subresource, patch, .. } if subresource == "status" => {
                    let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                    self.set.status =
                        Some(serde_json::from_value(patch["status"].clone()).expect("a status"));
                    None
                }
                _ => None,
            }
        }

        fn make_ready(&mut self) {
            for pod in self.pods.values_mut() {
                let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
                pod.status = Some(serde_json::from_value(status).expect("a status"));
            }
        }

        /// Steps, with every pod becoming ready after each, until nothing happens.
        fn settle(&mut self) -> Vec<String> {
            let mut done = Vec::new();
            for _ in 0..20 {
                let step = self.step();
                if step.is_empty() && self.step().is_empty() {
                    break;
                }
                done.extend(step);
                self.make_ready();
            }
            done
        }

        fn image(&mut self, image: &str) {
            let template = &mut self.set.spec.as_mut().expect("a spec").template;
            template.spec.as_mut().expect("a pod spec").containers[0].image = Some(image.to_owned());
        }
    }

    #[test]
    fn pods_are_made_in_order_each_after_the_one_before_is_ready() {
        let mut world = World::new(json!({}));
        assert_eq!(world.step(), ["create db-0"]);
        assert_eq!(world.step(), Vec::<String>::new(), "db-0 is not ready");
        world.make_ready();
        assert_eq!(world.step(), ["create db-1"]);
        world.make_ready();
        assert_eq!(world.step(), ["create db-2"]);
        let spec = world.pods["db-1"].spec.as_ref().expect("a spec");
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-1"), Some("db")));
    }

    #[test]
    fn parallel_makes_them_all_at_once() {
        let mut world = World::new(json!({"podManagementPolicy": "Parallel"}));
        assert_eq!(world.step(), ["create db-0", "create db-1", "create db-2"]);
    }

    #[test]
    fn scaling_down_removes_the_highest_first() {
        let mut world = World::new(json!({}));
        world.settle();
        world.set.spec.as_mut().expect("a spec").replicas = Some(1);
        assert_eq!(world.settle(), ["delete db-2", "delete db-1"]);
    }

    #[test]
    fn an_update_goes_from_the_highest_down_to_the_partition() {
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        let mut world = World::new(json!({"updateStrategy": strategy}));
        world.settle();
        world.image("v2");
        assert_eq!(world.settle(), ["delete db-2", "create db-2", "delete db-1", "create db-1"]);
        let image = |world: &World, name: &str| {
            world.pods[name].spec.as_ref().expect("a spec").containers[0].image.clone()
        };
        assert_eq!(image(&world, "db-0").as_deref(), Some("v1"));
        assert_eq!(image(&world, "db-2").as_deref(), Some("v2"));
        world.pods.remove("db-0");
        world.step();
        assert_eq!(
            image(&world, "db-0").as_deref(),
            Some("v1"),
            "below the partition the old template stays"
        );
    }

    #[test]
    fn an_update_waits_for_a_pod_that_is_on_its_way_out_though_it_is_still_ready() {
        let mut world = World::new(json!({}));
        world.settle();
        world.image("v2");
        let going = world.pods.get_mut("db-2").expect("it was made");
        let time = json!("2026-01-01T00:00:00Z");
        going.metadata.deletion_timestamp = Some(serde_json::from_value(time).expect("a time"));
        assert_eq!(world.step(), Vec::<String>::new(), "db-2 is on its way out");
        world.pods.remove("db-2");
        assert_eq!(
            world.settle(),
            ["create db-2", "delete db-1", "create db-1", "delete db-0", "create db-0"]
        );
    }

    fn with_claims(more: Value) -> World {
        let templates = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]);
        let mut spec = json!({"replicas": 1, "volumeClaimTemplates": templates});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        World::new(spec)
    }

    #[test]
    fn a_pods_claims_are_there_before_it_and_stay_after_it() {
        let mut world = with_claims(json!({}));
        assert_eq!(world.step(), ["create data-db-0"]);
        assert_eq!(world.step(), ["create db-0"]);
        let spec = world.pods["db-0"].spec.as_ref().expect("a spec");
        let claim = spec.volumes.as_ref().and_then(|volumes| volumes[0].persistent_volume_claim.as_ref());
        assert_eq!(claim.map(|claim| claim.claim_name.as_str()), Some("data-db-0"));
        world.make_ready();
        world.pods.remove("db-0");
        assert_eq!(world.step(), ["create db-0"], "with the claim that it had");
        world.claims.clear();
        let pod = world.pods.get_mut("db-0").expect("it was made");
        pod.status = Some(serde_json::from_value(json!({"phase": "Pending"})).expect("a status"));
        assert_eq!(world.step(), ["create data-db-0"], "somebody deleted it");
    }

    #[test]
    fn claims_go_with_a_pod_too_many_if_the_set_says_so() {
        let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}, "replicas": 2});
        let mut world = with_claims(policy);
        world.settle();
        for pod in world.pods.values_mut() {
            pod.metadata.uid = pod.metadata.name.clone();
        }
        world.set.spec.as_mut().expect("a spec").replicas = Some(1);
        assert_eq!(world.step(), ["own data-db-1"]);
        assert_eq!(world.step(), ["delete db-1"]);
        world.set.spec.as_mut().expect("a spec").replicas = Some(2);
        assert_eq!(world.step(), Vec::<String>::new(), "its claim is still going");
        world.claims.remove("data-db-1");
        assert_eq!(world.settle(), ["create data-db-1", "create db-1"]);
    }

    #[test]
    fn a_write_that_is_refused_is_told_with_the_reason() {
        let world = with_claims(json!({}));
        let plan = decide(&world.set, &Family::default(), Timestamp::UNIX_EPOCH);
        let note = plan.outcomes.into_values().next().expect("a claim is made");
        let done = outcome(note.clone(), None).expect("it is told");
        assert_eq!(done.message, "create Claim data-db-0 Pod db-0 in StatefulSet db successful");
        let refused = outcome(note.clone(), Some(&Status::bad_request("no such class"))).expect("it is told");
        assert_eq!((refused.severity, refused.reason.as_str()), (NoteKind::Warning, "FailedCreate"));
        assert_eq!(
            refused.message,
            "create Claim data-db-0 Pod db-0 in StatefulSet db failed error: no such class"
        );
        assert!(outcome(note, Some(&Status::already_exists("", "pods", "db-0"))).is_none());
    }

    #[test]
    fn a_pod_that_ended_is_replaced_under_its_name() {
        let mut world = World::new(json!({"replicas": 1}));
        world.settle();
        let pod = world.pods.get_mut("db-0").expect("it was made");
        pod.status = Some(serde_json::from_value(json!({"phase": "Failed"})).expect("a status"));
        assert_eq!(world.settle(), ["delete db-0", "create db-0"]);
    }
}
