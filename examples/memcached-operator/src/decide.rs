//! PURE: what a Memcached asks for, given what is there.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::api::Memcached;

/// The container's image.
const IMAGE: &str = "memcached:1.6";
/// Label by which the pods of one Memcached are found, with its name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Label of everything that this operator makes.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
const OPERATOR: &str = "memcached-operator";

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the Deployment.
    Create(Box<Deployment>),
    /// Give it another size.
    Resize {
        /// What it has.
        from: i32,
        /// What is asked for.
        to: i32,
    },
    /// Tell the pods' names in the status.
    Report(Vec<String>),
}

/// Why nothing can be done.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DecideError {
    /// Somebody else's Deployment has the name.
    #[error("Deployment {0} is there already and belongs to somebody else")]
    NotOurs(String),
}

/// The pods that belong to any Memcached.
pub fn all_pods() -> String {
    format!("{MANAGED_BY}={OPERATOR}")
}

/// The pods that belong to this one.
pub fn pods_of(memcached: &Memcached) -> String {
    format!("{MANAGED_BY}={OPERATOR},{INSTANCE}={}", memcached.name_any())
}

/// What to do.
pub fn decide(
    memcached: &Memcached,
    deployment: Option<&Deployment>,
    pods: &[Pod],
) -> Result<Vec<Action>, DecideError> {
    // What it owns goes with it: that is the cluster's work.
    if memcached.metadata.deletion_timestamp.is_some() {
        return Ok(Vec::new());
    }
    let mut actions = Vec::new();
    let to = memcached.spec.size;
    match deployment {
        None => actions.push(Action::Create(Box::new(wanted(memcached)))),
        Some(present) if !is_owned(present, memcached) => {
            return Err(DecideError::NotOurs(present.name_any()));
        }
        Some(present) => {
            let from = present.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            if from != to {
                actions.push(Action::Resize { from, to });
            }
        }
    }
    let names = names(pods);
    if memcached.status.as_ref().is_none_or(|status| status.nodes != names) {
        actions.push(Action::Report(names));
    }
    Ok(actions)
}

fn is_owned(deployment: &Deployment, memcached: &Memcached) -> bool {
    let uid = memcached.metadata.uid.as_ref();
    deployment
        .owner_references()
        .iter()
        .any(|owner| Some(&owner.uid) == uid && owner.controller == Some(true))
}

/// The pods that are there to stay.
fn names(pods: &[Pod]) -> Vec<String> {
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut names: Vec<String> = staying.map(ResourceExt::name_any).collect();
    names.sort();
    names
}

fn wanted(memcached: &Memcached) -> Deployment {
    let name = memcached.name_any();
    let labels = BTreeMap::from([
        ("app.kubernetes.io/name", "memcached"),
        (INSTANCE, name.as_str()),
        (MANAGED_BY, OPERATOR),
    ]);
    let container = json!({
        "name": "memcached",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["memcached", "-m", "64", "-o", "modern", "-v"],
        "ports": [{"name": "memcached", "containerPort": 11211}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1001,
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        },
    });
    let deployment = json!({
        "metadata": {
            "name": name,
            "namespace": memcached.namespace(),
            "labels": labels,
            "ownerReferences": memcached.controller_owner_ref(&()).map(|owner| vec![owner]),
        },
        "spec": {
            "replicas": memcached.spec.size,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    serde_json::from_value(deployment).expect("a Deployment is written as the API has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_memcached(size: i32, nodes: Option<&[&str]>) -> Memcached {
        serde_json::from_value(json!({
            "apiVersion": "cache.example.com/v1alpha1", "kind": "Memcached",
            "metadata": {"name": "sample", "namespace": "default", "uid": "m"},
            "spec": {"size": size},
            "status": nodes.map(|nodes| json!({"nodes": nodes})),
        }))
        .unwrap()
    }

    fn mk_pod(name: &str, deleted: bool) -> Pod {
        let time = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": name, "deletionTimestamp": time}})).unwrap()
    }

    #[test]
    fn a_new_one_gets_a_deployment_that_it_owns() {
        let memcached = mk_memcached(3, Some(&[]));
        let [Action::Create(made)] = &decide(&memcached, None, &[]).unwrap()[..] else {
            panic!("one action")
        };
        assert_eq!((made.name_any(), made.namespace()), ("sample".to_owned(), Some("default".to_owned())));
        assert_eq!(made.spec.as_ref().unwrap().replicas, Some(3));
        assert!(is_owned(made, &memcached));
    }

    #[test]
    fn another_size_is_followed_from_either_side() {
        let deployment = wanted(&mk_memcached(1, None));
        let decided = decide(&mk_memcached(3, Some(&[])), Some(&deployment), &[]);
        assert_eq!(decided, Ok(vec![Action::Resize { from: 1, to: 3 }]));
        let decided = decide(&mk_memcached(0, Some(&[])), Some(&deployment), &[]);
        assert_eq!(decided, Ok(vec![Action::Resize { from: 1, to: 0 }]));
    }

    #[test]
    fn the_status_names_the_pods_that_stay_and_is_written_only_when_they_change() {
        let deployment = wanted(&mk_memcached(2, None));
        let pods = [mk_pod("b", false), mk_pod("a", false), mk_pod("old", true)];
        let decided = decide(&mk_memcached(2, None), Some(&deployment), &pods);
        assert_eq!(decided, Ok(vec![Action::Report(vec!["a".into(), "b".into()])]));
        assert_eq!(decide(&mk_memcached(2, Some(&["a", "b"])), Some(&deployment), &pods), Ok(vec![]));
    }

    #[test]
    fn a_deployment_of_somebody_else_is_left_alone() {
        let mut deployment = wanted(&mk_memcached(1, None));
        deployment.metadata.owner_references = None;
        let decided = decide(&mk_memcached(3, None), Some(&deployment), &[]);
        assert_eq!(decided, Err(DecideError::NotOurs("sample".into())));
    }

    #[test]
    fn one_that_is_being_deleted_is_left_to_the_cluster() {
        let mut memcached = mk_memcached(3, None);
        memcached.metadata.deletion_timestamp = mk_pod("x", true).metadata.deletion_timestamp;
        assert_eq!(decide(&memcached, None, &[]), Ok(vec![]));
    }
}
