//! What holds when nobody has wanted anything else for a while and nothing fails any more.

use std::collections::{BTreeMap, BTreeSet};

use node_agent::observe::listing::PodIdentity;
use serde_json::Value;

use super::view::{
    View, has_condition, has_ended, is_active, is_going, is_ready, name, number, owners, text, uid,
};

/// The first thing that is not as it is wanted, if there is one.
pub fn why_not(view: &View, running: &BTreeMap<String, BTreeSet<PodIdentity>>) -> Option<String> {
    nodes(view)
        .or_else(|| deployments(view))
        .or_else(|| sets(view))
        .or_else(|| jobs(view))
        .or_else(|| pods(view))
        .or_else(|| machines(view, running))
        .or_else(|| namespaces(view))
        .or_else(|| orphans(view))
}

fn nodes(view: &View) -> Option<String> {
    let mut nodes = view.under("core/nodes/");
    let (key, _) =
        nodes.find(|(_, node)| !has_condition(node, "Ready") || node["spec"]["taints"].is_array())?;
    Some(format!("{key} is not ready"))
}

/// Every number of a Deployment's status is its size, and its pods are of its template.
fn deployments(view: &View) -> Option<String> {
    view.under("apps/deployments/").find_map(|(key, deployment)| {
        let wanted = number(deployment, &["spec", "replicas"]).unwrap_or(1);
        let status = |field: &str| number(deployment, &["status", field]).unwrap_or_default();
        let generation = number(deployment, &["metadata", "generation"]).unwrap_or_default();
        if is_going(deployment) {
            return Some(format!("{key} is still going"));
        }
        if status("observedGeneration") != generation {
            return Some(format!(
                "{key} at generation {generation} is observed at {}",
                status("observedGeneration")
            ));
        }
        let numbers = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
        if let Some(field) = numbers.into_iter().find(|field| status(field) != wanted) {
            return Some(format!("{key} wants {wanted}, and {field} is {}", status(field)));
        }
        let sets = view.owned("apps/replicasets", deployment);
        let pods =
            sets.iter().flat_map(|(_, set)| view.owned("core/pods", set)).filter(|(_, pod)| is_active(pod));
        let (count, ready) =
            pods.fold((0, 0), |(all, ready), (_, pod)| (all + 1, ready + i64::from(is_ready(pod))));
        ((count, ready) != (wanted, wanted))
            .then(|| format!("{key} wants {wanted} and has {count} pods, {ready} ready"))
    })
}

fn sets(view: &View) -> Option<String> {
    view.under("apps/statefulsets/").find_map(|(key, set)| {
        let wanted = number(set, &["spec", "replicas"]).unwrap_or(1);
        let status = |field: &str| number(set, &["status", field]).unwrap_or_default();
        let generation = number(set, &["metadata", "generation"]).unwrap_or_default();
        if is_going(set) || status("observedGeneration") != generation {
            return Some(format!(
                "{key} at generation {generation} is observed at {}",
                status("observedGeneration")
            ));
        }
        if let Some(field) = ["replicas", "readyReplicas"].into_iter().find(|field| status(field) != wanted) {
            return Some(format!("{key} wants {wanted}, and {field} is {}", status(field)));
        }
        let partition = number(set, &["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0);
        let newest = text(set, &["status", "updateRevision"]);
        let pods = view.owned("core/pods", set);
        let first = number(set, &["spec", "ordinals", "start"]).unwrap_or(0);
        (first..first + wanted).find_map(|ordinal| {
            let full = format!("{}-{ordinal}", name(set));
            let Some((_, pod)) = pods.iter().find(|(_, pod)| name(pod) == full) else {
                return Some(format!("{key} has no pod {ordinal}"));
            };
            let is_old = ordinal >= partition
                && text(pod, &["metadata", "labels", "controller-revision-hash"]) != newest;
            (is_old || !is_ready(pod)).then(|| format!("{key}: pod {ordinal} is old or not ready"))
        })
    })
}

fn jobs(view: &View) -> Option<String> {
    view.under("batch/jobs/").find_map(|(key, job)| {
        let is_over = has_condition(job, "Complete") || has_condition(job, "Failed");
        let active = number(job, &["status", "active"]).unwrap_or_default();
        (!is_over || active != 0 || is_going(job)).then(|| format!("{key} is not over: {}", job["status"]))
    })
}

fn pods(view: &View) -> Option<String> {
    view.under("core/pods/").find_map(|(key, pod)| {
        let is_settled = !is_going(pod) && (has_ended(pod) || is_ready(pod));
        (!is_settled).then(|| {
            format!(
                "{key} is {} on {:?}{}",
                text(pod, &["status", "phase"]),
                text(pod, &["spec", "nodeName"]),
                if is_going(pod) { ", and going" } else { "" }
            )
        })
    })
}

/// What runs is what the log says should run.
fn machines(view: &View, running: &BTreeMap<String, BTreeSet<PodIdentity>>) -> Option<String> {
    let wanted: BTreeSet<(String, String)> = view
        .under("core/pods/")
        .filter(|(_, pod)| !has_ended(pod))
        .map(|(_, pod)| (text(pod, &["spec", "nodeName"]).to_owned(), uid(pod).to_owned()))
        .collect();
    let found: BTreeSet<(String, String)> = running
        .iter()
        .flat_map(|(node, pods)| pods.iter().map(move |pod| (node.clone(), pod.uid.clone())))
        .collect();
    let odd = wanted.symmetric_difference(&found).next()?;
    Some(format!(
        "{odd:?} is {}",
        if found.contains(odd) { "running and not wanted" } else { "wanted and not running" }
    ))
}

fn namespaces(view: &View) -> Option<String> {
    let alive: BTreeSet<&str> = view.under("core/namespaces/").map(|(_, one)| name(one)).collect();
    if let Some((key, _)) = view.under("core/namespaces/").find(|(_, one)| is_going(one)) {
        return Some(format!("{key} is still going"));
    }
    view.all().find_map(|(key, _, object)| {
        let namespace = text(object, &["metadata", "namespace"]);
        (!namespace.is_empty() && !alive.contains(namespace))
            .then(|| format!("{key} has outlived its namespace"))
    })
}

/// Nothing is left of an owner that is gone.
fn orphans(view: &View) -> Option<String> {
    let uids: BTreeSet<&str> = view.all().map(|(_, _, object)| uid(object)).collect();
    view.all().find_map(|(key, _, object)| {
        let mut owners = owners(object).peekable();
        owners.peek()?;
        let has_one = owners.any(|owner: &Value| uids.contains(text(owner, &["uid"])));
        (!has_one).then(|| format!("{key} has outlived its owners"))
    })
}
