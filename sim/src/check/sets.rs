//! StatefulSets: one pod of each identity, made and removed in order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::deployments::{drives, owner};
use super::view::{Step, View, is_going, is_ready, name, number, text, uid};

/// When each pod of an ordered set was last ready.
#[derive(Default)]
pub struct Sets {
    ready: BTreeMap<String, Duration>,
    /// Every size that a set has had since the one that its controller last observed.
    sizes: BTreeMap<String, Vec<(i64, i64)>>,
}

/// For so long after a pod was ready its controller may still think that it is.
const MEMORY: Duration = Duration::from_secs(60);

// === impl Sets ===

impl Sets {
    pub(super) fn step(&mut self, view: &View, step: &Step, broken: &mut Vec<String>) {
        if step.is_of("apps/statefulsets") {
            if let Some(set) = &step.after {
                let generation = number(set, &["metadata", "generation"]).unwrap_or_default();
                self.sizes.entry(uid(set).to_owned()).or_default().push((generation, size(set)));
            }
            return;
        }
        if !step.is_of("core/pods") {
            return;
        }
        for pod in [&step.before, &step.after].into_iter().flatten().filter(|pod| is_ready(pod)) {
            self.ready.insert(step.key.as_str().to_owned(), step.now);
            let _ = pod;
        }
        if let Some(pod) = step.created() {
            self.judge_birth(view, step, pod, broken);
        }
        if let Some(pod) = step.condemned() {
            self.judge_end(view, step, pod, broken);
        }
    }

    /// The pods before it are there and ready.
    fn judge_birth(&self, view: &View, step: &Step, pod: &Value, broken: &mut Vec<String>) {
        let Some((set, ordinal)) = ordered(view, pod) else { return };
        for earlier in first(set)..ordinal {
            let key = format!("core/pods/{}/{}-{earlier}", step.key.namespace(), name(set));
            let is_fine = view.get(&key).is_some_and(is_ready)
                || self.ready.get(&key).is_some_and(|at| step.now < *at + MEMORY);
            if !is_fine {
                broken.push(format!("{} was made before {key} was ready", step.key));
            }
        }
    }

    /// It is the last of those that are to go, and no other is on its way out.
    fn judge_end(&self, view: &View, step: &Step, pod: &Value, broken: &mut Vec<String>) {
        let Some((set, ordinal)) = ordered(view, pod) else { return };
        // Evicted, or ended by itself: not its controller's choice.
        if is_going(set) || drives(view, pod) || !is_ready(pod) || is_leaving(view, pod) {
            return;
        }
        let others = view.owned("core/pods", set);
        let observed = number(set, &["status", "observedGeneration"]).unwrap_or_default();
        let sizes = self.sizes.get(uid(set)).map(Vec::as_slice).unwrap_or_default();
        let mut sizes = sizes.iter().filter(|(generation, _)| *generation >= observed);
        let is_too_many = sizes.all(|(_, size)| ordinal >= first(set) + size);
        let hinders = |key: &str, other: &Value| match is_too_many {
            // Whatever becomes of the pods before it, those after it have gone.
            true => ordinal_in(set, other).unwrap_or(-1) > ordinal,
            false => {
                let was_ready = self.ready.get(key).is_some_and(|at| step.now < *at + MEMORY);
                uid(other) != uid(pod) && is_going(other) && !drives(view, other) && was_ready
            }
        };
        if let Some((key, _)) = others.iter().find(|(key, other)| hinders(key, other)) {
            broken.push(format!("{} was asked to go before {key} had gone", step.key));
        }
    }
}

/// Whether a pod's namespace goes.
fn is_leaving(view: &View, pod: &Value) -> bool {
    let namespace = text(pod, &["metadata", "namespace"]);
    view.under("core/namespaces/").any(|(_, one)| name(one) == namespace && is_going(one))
}

fn size(set: &Value) -> i64 {
    number(set, &["spec", "replicas"]).unwrap_or(1)
}

fn first(set: &Value) -> i64 {
    number(set, &["spec", "ordinals", "start"]).unwrap_or(0)
}

/// The ordered set that a pod is of, and its place there.
fn ordered<'a>(view: &'a View, pod: &Value) -> Option<(&'a Value, i64)> {
    let set = owner(view, pod, "StatefulSet", "apps/statefulsets")?;
    let is_ordered = text(set, &["spec", "podManagementPolicy"]) != "Parallel";
    Some((set, ordinal_in(set, pod)?)).filter(|_| is_ordered)
}

fn ordinal_in(set: &Value, pod: &Value) -> Option<i64> {
    name(pod).strip_prefix(name(set))?.strip_prefix('-')?.parse().ok()
}
