//! PURE: the claims of a set's pods: made before the pod, found again by its next one, and gone with it if the set
//! says so.

use std::collections::BTreeMap;

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::pods;

/// A claim, as far as its set needs to know it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Claim {
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

/// The claims of a namespace by name.
pub type Claims<'a> = BTreeMap<&'a str, &'a Claim>;

/// The names of the claims that pods of an ordinal have, each with its template.
pub fn of(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = (String, Value)> {
    let templates = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.clone());
    let pod = pods::name(set, ordinal);
    templates.into_iter().flatten().map(move |template| {
        let template = json!(template);
        // The same for every pod that ever has this ordinal.
        let name = format!("{}-{pod}", template["metadata"]["name"].as_str().unwrap_or_default());
        (name, template)
    })
}

/// The sets that a claim may be of, by its name: `<template>-<set>-<ordinal>`, and any of them may have dashes.
pub fn sets_of(claim: &str) -> impl Iterator<Item = &str> {
    let base = claim.rsplit_once('-').filter(|(_, ordinal)| ordinal.parse::<u32>().is_ok());
    let base = base.map_or("", |(base, _)| base);
    base.match_indices('-').map(move |(at, _)| &base[at + 1..])
}

/// The claims of an ordinal that are not there, with the writes that make them.
pub fn missing(set: &StatefulSet, ordinal: i32, present: &Claims<'_>) -> Vec<(String, Write)> {
    let absent = of(set, ordinal).filter(|(name, _)| !present.contains_key(name.as_str()));
    absent.map(|(name, template)| (name.clone(), create(set, &name, &template))).collect()
}

/// Whether a claim of an ordinal still goes with a pod that had it before.
pub fn are_going(set: &StatefulSet, ordinal: i32, present: &Claims<'_>) -> bool {
    let pod = pods::name(set, ordinal);
    let goes = |claim: &&Claim| owners(claim).any(|owner| owner.kind == "Pod" && owner.name == pod);
    of(set, ordinal).any(|(name, _)| present.get(name.as_str()).is_some_and(goes))
}

/// The writes by which the claims of a pod get the owners that they are to go with. `condemned` says whether the pod
/// is one too many.
pub fn retained(set: &StatefulSet, pod: &Pod, condemned: bool, present: &Claims<'_>) -> Vec<Write> {
    let Some(ordinal) = pods::ordinal(pod) else { return Vec::new() };
    let (of_set, of_pod) = match (deletes(set, "whenDeleted"), deletes(set, "whenScaled")) {
        (false, false) => (false, false),
        (true, false) => (true, false),
        (false, true) => (false, condemned),
        (true, true) => (!condemned, condemned),
    };
    let claims = of(set, ordinal).filter_map(|(name, _)| present.get(name.as_str()).copied());
    let fixed = claims.filter_map(|claim| {
        let wanted = wanted_owners(claim, set, pod, (of_set, of_pod));
        (wanted != json!(owners(claim).collect::<Vec<_>>())).then(|| own(claim, wanted))
    });
    fixed.collect()
}

/// The owners that a claim has with those of the set and its pod as they should be, and others as they are.
fn wanted_owners(claim: &Claim, set: &StatefulSet, pod: &Pod, (of_set, of_pod): (bool, bool)) -> Value {
    let uid = |metadata: &ObjectMeta| metadata.uid.clone().unwrap_or_default();
    let (set_uid, pod_uid, pod_name) = (uid(&set.metadata), uid(&pod.metadata), pod.metadata.name.as_deref());
    let is_ours = |owner: &&OwnerReference| {
        owner.uid == set_uid || owner.kind == "Pod" && Some(owner.name.as_str()) == pod_name
    };
    let is_right = |owner: &&OwnerReference| {
        !is_ours(owner) || of_set && owner.uid == set_uid || of_pod && owner.uid == pod_uid
    };
    let mut wanted: Vec<Value> = owners(claim).filter(is_right).map(|owner| json!(owner)).collect();
    if of_set && !owners(claim).any(|owner| owner.uid == set_uid) {
        wanted.push(pods::owner_reference(set));
    }
    if of_pod && !owners(claim).any(|owner| owner.uid == pod_uid) {
        wanted.push(json!({"apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": pod_uid}));
    }
    json!(wanted)
}

fn owners(claim: &Claim) -> impl Iterator<Item = &OwnerReference> {
    claim.metadata.owner_references.iter().flatten()
}

/// Whether the set wants claims deleted in this case.
fn deletes(set: &StatefulSet, case: &str) -> bool {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let says = policy.and_then(|policy| match case {
        "whenDeleted" => policy.when_deleted.as_deref(),
        _ => policy.when_scaled.as_deref(),
    });
    says == Some("Delete")
}

fn create(set: &StatefulSet, name: &str, template: &Value) -> Write {
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(selector.into_iter().flatten().map(|(label, value)| (label, json!(value))));
    let mut metadata = json!({"name": name, "namespace": set.metadata.namespace, "labels": labels});
    if let Some(annotations) = template["metadata"].get("annotations") {
        metadata["annotations"] = annotations.clone();
    }
    if deletes(set, "whenDeleted") {
        metadata["ownerReferences"] = json!([pods::owner_reference(set)]);
    }
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"],
    });
    Write::Create {
        resource: Resource::new("", "v1", "persistentvolumeclaims"),
        namespace: set.metadata.namespace.clone().unwrap_or_default(),
        object: claim.to_string().into(),
    }
}

fn own(claim: &Claim, owners: Value) -> Write {
    let metadata = &claim.metadata;
    let patch = json!({"metadata": {
        "uid": metadata.uid, "resourceVersion": metadata.resource_version, "ownerReferences": owners,
    }});
    Write::Patch {
        resource: Resource::new("", "v1", "persistentvolumeclaims"),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: patch.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(policy: Value) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "d", "uid": "s"},
            "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": {},
                "persistentVolumeClaimRetentionPolicy": policy,
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}
        }))
        .expect("a set")
    }

    fn pod() -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "db-1", "uid": "p"}})).expect("a pod")
    }

    fn claim(owners: &[(&str, &str, &str)]) -> Claim {
        let owner = |(kind, name, uid): &(&str, &str, &str)| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        serde_json::from_value(json!({"metadata": {"name": "data-db-1", "ownerReferences": owners}}))
            .expect("a claim")
    }

    /// The uids of the owners that a claim is given; `None` when it has them already.
    fn owners_after(policy: Value, condemned: bool, claim: &Claim) -> Option<Vec<String>> {
        let present = Claims::from([("data-db-1", claim)]);
        let writes = retained(&set(policy), &pod(), condemned, &present);
        let Write::Patch { patch, .. } = writes.first()? else { panic!("a patch") };
        let patch: Value = serde_json::from_slice(patch).expect("JSON");
        let owners = patch["metadata"]["ownerReferences"].as_array().expect("a list");
        Some(owners.iter().map(|owner| owner["uid"].as_str().expect("a uid").to_owned()).collect())
    }

    #[test]
    fn a_claim_goes_with_whom_the_policy_names() {
        let policy = |deleted: &str, scaled: &str| json!({"whenDeleted": deleted, "whenScaled": scaled});
        let plain = claim(&[("X", "x", "other")]);
        let uids = |uids: &[&str]| Some(uids.iter().map(|uid| (*uid).to_owned()).collect::<Vec<_>>());
        for (deleted, scaled, condemned, expected) in [
            ("Retain", "Retain", true, None),
            ("Delete", "Retain", true, uids(&["other", "s"])),
            ("Retain", "Delete", false, None),
            ("Retain", "Delete", true, uids(&["other", "p"])),
            ("Delete", "Delete", false, uids(&["other", "s"])),
            ("Delete", "Delete", true, uids(&["other", "p"])),
        ] {
            assert_eq!(
                owners_after(policy(deleted, scaled), condemned, &plain),
                expected,
                "{deleted} {scaled} {condemned}"
            );
        }
        let both = claim(&[("StatefulSet", "db", "s"), ("Pod", "db-1", "p")]);
        assert_eq!(
            owners_after(policy("Retain", "Retain"), false, &both),
            Some(vec![]),
            "the policy changed"
        );
    }

    #[test]
    fn claims_are_named_after_the_pod_and_carry_the_sets_labels() {
        let [(name, Write::Create { object, .. })] = &missing(&set(json!({})), 1, &Claims::new())[..] else {
            panic!("one claim")
        };
        let claim: Value = serde_json::from_slice(object).expect("JSON");
        assert_eq!((name.as_str(), &claim["metadata"]["labels"]), ("data-db-1", &json!({"app": "db"})));
        assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
        let there = Claim::default();
        assert!(missing(&set(json!({})), 1, &Claims::from([("data-db-1", &there)])).is_empty());
        let going = claim_of_an_older_pod();
        assert!(are_going(&set(json!({})), 1, &Claims::from([("data-db-1", &going)])));
    }

    fn claim_of_an_older_pod() -> Claim {
        claim(&[("Pod", "db-1", "older")])
    }

    #[test]
    fn a_claims_name_says_which_sets_it_may_be_of() {
        assert_eq!(sets_of("my-data-db-1").collect::<Vec<_>>(), ["data-db", "db"]);
        assert_eq!(sets_of("data").count() + sets_of("data-db-x").count(), 0);
    }
}
