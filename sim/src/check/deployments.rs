//! Rollouts stay within `maxSurge` and `maxUnavailable`.
//!
//! What a Deployment's controller decides are the sizes of its ReplicaSets; so each change of a size is judged, by the
//! state of the log in which it took place. The controller may not have seen the newest spec yet: any spec since the one
//! that it last said it had observed excuses what it does.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::view::{Step, View, controller, is_active, is_going, is_ready, number, text, uid};

/// What a spec allows.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    generation: i64,
    most: i64,
    least: i64,
}

/// Every spec that each Deployment had, and its troubles.
#[derive(Default)]
pub struct Deployments {
    bounds: BTreeMap<String, Vec<Bounds>>,
    /// When a pod of a Deployment last ceased to be ready although nobody had asked it to go.
    troubled: BTreeMap<String, Duration>,
}

/// For so long after a pod has failed by itself a Deployment may have fewer pods than it promises: its controller knows
/// of that only later, and what it has begun it goes on with.
const TROUBLE: Duration = Duration::from_secs(60);

// === impl Deployments ===

impl Deployments {
    pub(super) fn step(&mut self, view: &View, step: &Step, broken: &mut Vec<String>) {
        if step.is_of("apps/deployments") {
            if let Some(deployment) = &step.after {
                self.learn(deployment);
            }
        } else if step.is_of("apps/replicasets") {
            self.judge(view, step, broken);
        } else if step.is_of("core/pods") {
            self.note_trouble(view, step);
        }
    }

    fn learn(&mut self, deployment: &Value) {
        let generation = number(deployment, &["metadata", "generation"]).unwrap_or_default();
        let known = self.bounds.entry(uid(deployment).to_owned()).or_default();
        if known.last().is_none_or(|last| last.generation < generation) {
            known.push(bounds(deployment, generation));
        }
    }

    fn judge(&self, view: &View, step: &Step, broken: &mut Vec<String>) {
        let Some(set) = &step.after else { return };
        let size = |set: &Value| number(set, &["spec", "replicas"]).unwrap_or(1);
        let (before, now) = (step.before.as_deref().map_or(0, size), size(set));
        let Some(deployment) = deployment_of(view, set) else { return };
        if before == now || is_going(deployment) {
            return;
        }
        let allowed = self.allowed(deployment);
        let sets = view.owned("apps/replicasets", deployment);
        let total: i64 = sets.iter().map(|(_, set)| size(set)).sum();
        let most = allowed.iter().map(|bounds| bounds.most).max().unwrap_or(i64::MAX);
        if now > before && total > most {
            broken.push(format!(
                "{} grew from {before} to {now}, all sets together to {total}, and {most} are allowed",
                step.key
            ));
        }
        let least = allowed.iter().map(|bounds| bounds.least).min().unwrap_or(0);
        let left: i64 = sets.iter().map(|(_, set)| size(set).min(ready(view, set))).sum();
        let is_troubled = self.troubled.get(uid(deployment)).is_some_and(|at| step.now < *at + TROUBLE);
        // Pods that are not ready do no harm in going, and where fewer are wanted each set gives its share, ready or not.
        let takes_ready = now < ready(view, set);
        let is_scaled = step.before.as_deref().is_some_and(|before| wanted(before) != wanted(set));
        if now < before && left < least && takes_ready && !is_scaled && !is_troubled {
            broken.push(format!(
                "{} shrank from {before} to {now}: {left} ready pods are left of at least {least}",
                step.key
            ));
        }
    }

    fn allowed(&self, deployment: &Value) -> Vec<Bounds> {
        let observed = number(deployment, &["status", "observedGeneration"]).unwrap_or_default();
        let known = self.bounds.get(uid(deployment)).map(Vec::as_slice).unwrap_or_default();
        let newest = known.last().map_or(0, |bounds| bounds.generation);
        known.iter().filter(|bounds| bounds.generation >= observed.min(newest)).copied().collect()
    }

    fn note_trouble(&mut self, view: &View, step: &Step) {
        let Some(before) = step.before.as_deref().filter(|pod| is_ready(pod)) else { return };
        let was_asked = step.after.as_deref().is_some_and(is_going);
        let is_fine = step.after.as_deref().is_some_and(is_ready);
        let set = set_of(view, before);
        let evicted = was_asked && drives(view, before);
        if let Some(deployment) = set.and_then(|set| deployment_of(view, set))
            && !is_fine
            && (!was_asked || evicted)
        {
            self.troubled.insert(uid(deployment).to_owned(), step.now);
        }
    }
}

/// Whether its node drives a pod away.
pub(super) fn drives(view: &View, pod: &Value) -> bool {
    let node = text(pod, &["spec", "nodeName"]);
    view.under("core/nodes/").any(|(_, one)| super::view::name(one) == node && super::view::drives_away(one))
}

fn ready(view: &View, set: &Value) -> i64 {
    view.owned("core/pods", set).iter().filter(|(_, pod)| is_active(pod) && is_ready(pod)).count() as i64
}

/// The size of the Deployment that a set was last fitted to.
fn wanted(set: &Value) -> &str {
    text(set, &["metadata", "annotations", "deployment.kubernetes.io/desired-replicas"])
}

fn set_of<'a>(view: &'a View, pod: &Value) -> Option<&'a Value> {
    owner(view, pod, "ReplicaSet", "apps/replicasets")
}

fn deployment_of<'a>(view: &'a View, set: &Value) -> Option<&'a Value> {
    owner(view, set, "Deployment", "apps/deployments")
}

/// The object that controls another, if it is of this kind and there.
pub(super) fn owner<'a>(view: &'a View, object: &Value, kind: &str, collection: &str) -> Option<&'a Value> {
    let reference = controller(object).filter(|owner| owner["kind"] == kind)?;
    let namespace = text(object, &["metadata", "namespace"]);
    let found = view.get(&format!("{collection}/{namespace}/{}", text(reference, &["name"])))?;
    (uid(found) == text(reference, &["uid"])).then_some(found)
}

fn bounds(deployment: &Value, generation: i64) -> Bounds {
    let replicas = number(deployment, &["spec", "replicas"]).unwrap_or(1);
    let strategy = &deployment["spec"]["strategy"];
    if strategy["type"] == "Recreate" {
        return Bounds { generation, most: replicas, least: 0 };
    }
    let rolling = &strategy["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], replicas, true);
    let mut unavailable = share(&rolling["maxUnavailable"], replicas, false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds { generation, most: replicas + surge, least: replicas - unavailable }
}

/// A number, or a percentage of `whole`.
fn share(value: &Value, whole: i64, up: bool) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match (value.as_i64(), percent) {
        (Some(number), _) => number,
        (None, Some(percent)) if up => (whole * percent + 99) / 100,
        (None, Some(percent)) => whole * percent / 100,
        (None, None) => 0,
    }
}
