//! Deployments and sets to decide about.

use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::{Value, json};

use super::decide::{Observation, Plan, decide};
use super::draft::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION};
use super::template;
use crate::observe::{Deployment, Set, Template};

/// When decisions are made.
pub fn now() -> Timestamp {
    "2024-01-01T12:00:00Z".parse().expect("a time")
}

/// A Deployment "web" of 10 pods of image `web:<version>`, rolled with the default bounds: 3 more, 2 less.
pub fn deployment() -> Deployment {
    deployment_of(10, 1)
}

/// The same with another size, or another image.
pub fn deployment_of(replicas: i32, version: i32) -> Deployment {
    let json = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "web-uid", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template_of(version),
        },
    });
    Deployment::parse(&Key::object("apps", "deployments", "default", "web"), json.to_string().as_bytes())
        .expect("a Deployment")
}

fn template_of(version: i32) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": format!("web:{version}")}]},
    })
}

/// The set of `web:<version>`, whose revision is the version, with as many available pods as told, and made for a
/// Deployment of 10.
pub fn set(version: i32, replicas: i32, available: i32) -> Set {
    let hash = model::template::hash(&template_of(version), None);
    let name = format!("web-{hash}");
    let json = json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("set-{version}"), "generation": 1,
            "labels": {"app": "web", template::HASH_LABEL: hash},
            "annotations": {
                REVISION: version.to_string(), DESIRED_REPLICAS: "10", MAX_REPLICAS: "13",
            },
            "creationTimestamp": format!("2024-01-01T00:{version:02}:00Z"),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "web-uid", "controller": true
            }],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web", template::HASH_LABEL: hash}},
            "template": template::with_hash(&Template(template_of(version)), &hash).0,
        },
        "status": {
            "replicas": replicas, "readyReplicas": available, "availableReplicas": available,
            "terminatingReplicas": 0, "observedGeneration": 1,
        },
    });
    Set::parse(&Key::object("apps", "replicasets", "default", &name), json.to_string().as_bytes())
        .expect("a set")
}

/// The plan for a Deployment with these sets.
pub fn plan<'a>(deployment: &'a Deployment, sets: &'a [Set]) -> Plan<'a> {
    let observation = Observation {
        deployment,
        owned: sets.iter().filter(|set| set.manager.is_some()).collect(),
        orphans: sets.iter().filter(|set| set.manager.is_none()).collect(),
        named: Box::new(|name| sets.iter().find(|set| set.name() == name)),
        create_error: None,
    };
    decide(&observation, now())
}

/// The sizes that a plan gives, by version of the set; a new set is version 0.
pub fn sizes(plan: &Plan<'_>) -> Vec<(String, i32)> {
    let new = plan.create.iter().map(|new| ("new".to_owned(), new.draft.replicas));
    let changed = plan.change.iter().filter_map(|draft| {
        let set = draft.set?;
        (draft.replicas != set.replicas).then(|| (set.uid.clone(), draft.replicas))
    });
    new.chain(changed).collect()
}
