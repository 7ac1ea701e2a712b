//! Jobs walked to their end on pods in a map.

use std::collections::BTreeMap;

use bus::command::Write;
use client::{Controller, Decision, Observed};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use model::{Key, Revision};
use serde_json::{Value, json};
use store::Item;

use super::Jobs;
use super::decide::decide;
use super::pods::{FINALIZER, read_indexes, write_indexes};

struct World {
    job: Job,
    pods: BTreeMap<String, Pod>,
    made: usize,
    now: Timestamp,
}

impl World {
    fn new(spec: Value) -> Self {
        let mut object = json!({
            "metadata": {"name": "sum", "namespace": "default", "uid": "j"},
            "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6,
                "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        let job = serde_json::from_value(object).expect("a job");
        World { job, pods: BTreeMap::new(), made: 0, now: Timestamp::UNIX_EPOCH }
    }

    fn step(&mut self) -> usize {
        let decision = self.decision();
        let count = decision.writes.len();
        decision.writes.into_iter().for_each(|write| self.apply(write));
        count
    }

    fn decision(&self) -> Decision {
        decide(&self.job, &self.pods.values().collect::<Vec<_>>(), self.now)
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            if self.step() == 0 {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.decision());
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Create { object, .. } => {
                self.made += 1;
                let mut pod: Pod = serde_json::from_slice(&object).expect("a pod");
                let name = format!("pod-{}", self.made);
                pod.metadata.name = Some(name.clone());
                pod.metadata.uid = Some(name.clone());
                self.pods.insert(name, pod);
            }
            Write::Delete { name, .. } => {
                if let Some(pod) = self.pods.get_mut(&name) {
                    let time = json!("2026-01-01T00:00:00Z");
                    pod.metadata.deletion_timestamp = Some(serde_json::from_value(time).expect("a time"));
                }
            }
            Write::Patch { name, subresource, patch, .. } => {
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                if subresource == "status" {
                    let mut job = json!(self.job);
                    model::patch::merge_patch(&mut job, &json!({"status": patch["status"]}))
                        .expect("a patch");
                    self.job = serde_json::from_value(job).expect("a job");
                } else if let Some(pod) = self.pods.get_mut(&name) {
                    pod.metadata.finalizers = None;
                }
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn end(&mut self, name: &str, phase: &str) {
        let pod = self.pods.get_mut(name).expect("it was made");
        pod.status = Some(serde_json::from_value(json!({"phase": phase})).expect("a status"));
    }

    fn condition(&self) -> Option<String> {
        let conditions = self.job.status.as_ref()?.conditions.clone()?;
        conditions
            .into_iter()
            .find(|one| ["Complete", "Failed"].contains(&one.type_.as_str()))
            .map(|one| format!("{} {}", one.type_, one.reason.unwrap_or_default()))
    }

    fn counts(&self) -> (i32, i32) {
        let status = self.job.status.clone().unwrap_or_default();
        (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))
    }
}

#[test]
fn a_job_runs_its_completions_in_parallel_and_ends() {
    let mut world = World::new(json!({"completions": 3, "parallelism": 2}));
    world.settle();
    assert_eq!(world.pods.len(), 2);
    world.end("pod-1", "Succeeded");
    world.end("pod-2", "Succeeded");
    world.settle();
    assert_eq!((world.pods.len(), world.counts()), (3, (2, 0)));
    world.end("pod-3", "Succeeded");
    world.settle();
    assert_eq!(world.condition().as_deref(), Some("Complete CompletionsReached"));
    assert_eq!(world.counts(), (3, 0));
}

#[test]
fn a_pod_is_counted_once_although_it_is_gone_after_it_was_noted() {
    let mut world = World::new(json!({"completions": 2}));
    world.settle();
    assert_eq!(world.pods["pod-1"].metadata.finalizers.as_deref(), Some(&[FINALIZER.to_owned()][..]));
    world.end("pod-1", "Succeeded");
    world.step();
    world.step();
    world.pods.remove("pod-1");
    world.settle();
    assert_eq!(world.counts(), (1, 0));
}

fn item(collection: &str, object: &Value) -> Item {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let key = Key::from_raw(&format!("{collection}/default/{name}"));
    Item { key, revision: Revision(1), created: Revision(1), value: object.to_string().into() }
}

/// A pod that waits to be counted, with these further metadata.
fn held_pod(more: Value) -> Value {
    let mut pod = json!({"metadata": {
        "name": "sum-1", "namespace": "default", "uid": "p", "finalizers": [FINALIZER],
        "labels": {"batch.kubernetes.io/job-name": "sum"},
    }});
    model::patch::merge_patch(&mut pod["metadata"], &more).expect("a patch");
    pod
}

fn releases(jobs: &mut Jobs, key: &Key) -> bool {
    let writes = jobs.decide(key, Timestamp::UNIX_EPOCH).writes;
    writes.iter().any(|write| matches!(write, Write::Patch { name, subresource, .. } if name == "sum-1" && subresource.is_empty()))
}

#[test]
fn nothing_holds_the_pods_of_a_job_that_is_gone() {
    let owned = json!({"ownerReferences": [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "sum", "uid": "j", "controller": true}
    ]});
    let job = item("batch/jobs", &json!({"metadata": {"name": "sum", "namespace": "default", "uid": "j"}}));
    let (pod, key) = (item("core/pods", &held_pod(owned)), job.key.clone());
    for job_goes_first in [false, true] {
        let mut jobs = Jobs::default();
        if !job_goes_first {
            jobs.observe(&Observed::Put(job.clone()));
        }
        assert_eq!(jobs.observe(&Observed::Put(pod.clone())), std::slice::from_ref(&key));
        if !job_goes_first {
            assert!(!releases(&mut jobs, &key), "its end is to be counted");
            let gone = Observed::Delete { key: key.clone(), previous: job.clone() };
            assert_eq!(jobs.observe(&gone), std::slice::from_ref(&key));
        }
        assert!(releases(&mut jobs, &key));
        jobs.observe(&Observed::Delete { key: pod.key.clone(), previous: pod.clone() });
        assert!(!releases(&mut jobs, &key));
    }
}

#[test]
fn nothing_holds_a_pod_that_a_job_has_let_go_of() {
    let (mut jobs, pod) = (Jobs::default(), item("core/pods", &held_pod(json!({}))));
    let keys = jobs.observe(&Observed::Put(pod));
    assert_eq!(keys, [Key::from_raw("batch/jobs/default/sum")]);
    assert!(releases(&mut jobs, &keys[0]));
}

#[test]
fn failures_beyond_the_limit_fail_the_job() {
    let mut world = World::new(json!({"backoffLimit": 1}));
    for n in 1..=2 {
        world.settle();
        world.end(&format!("pod-{n}"), "Failed");
    }
    world.settle();
    assert_eq!(world.condition().as_deref(), Some("Failed BackoffLimitExceeded"));
    assert_eq!(world.counts(), (0, 2));
}

#[test]
fn an_indexed_job_makes_a_pod_for_each_index() {
    let mut world = World::new(json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"}));
    world.settle();
    for n in 1..=3 {
        world.end(&format!("pod-{n}"), "Succeeded");
    }
    world.settle();
    let status = world.job.status.clone().unwrap_or_default();
    assert_eq!(status.completed_indexes.as_deref(), Some("0-2"));
}

#[test]
fn a_suspended_job_has_no_pods() {
    let mut world = World::new(json!({"suspend": true}));
    world.settle();
    assert!(world.pods.is_empty());
}

#[test]
fn indexes_are_written_as_runs() {
    let indexes = [0, 1, 2, 5].into();
    assert_eq!(write_indexes(&indexes), "0-2,5");
    assert_eq!(read_indexes("0-2,5"), indexes);
}
