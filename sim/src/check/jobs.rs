//! Jobs count each pod's end once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::view::{Step, View, controller, has_condition, number, text, uid};

/// The pods of each Job that have succeeded.
#[derive(Default)]
pub struct Jobs {
    succeeded: BTreeMap<String, BTreeSet<String>>,
}

// === impl Jobs ===

impl Jobs {
    pub(super) fn step(&mut self, view: &View, step: &Step, broken: &mut Vec<String>) {
        if step.is_of("core/pods") {
            self.note(view, step);
        }
        let Some(job) = step.after.as_deref().filter(|_| step.is_of("batch/jobs")) else { return };
        let seen = self.succeeded.get(uid(job)).map_or(0, BTreeSet::len) as i64;
        let counted = number(job, &["status", "succeeded"]).unwrap_or_default();
        if counted > seen {
            broken.push(format!("{} counts {counted} pods as succeeded, and {seen} were seen to", step.key));
        }
        let before = step.before.as_deref();
        let was = before.and_then(|job| number(job, &["status", "succeeded"])).unwrap_or_default();
        if before.is_some_and(|before| uid(before) == uid(job)) && counted < was {
            broken.push(format!("{} counted {was} pods as succeeded, and now {counted}", step.key));
        }
        if let Some(before) = before
            && has_condition(before, "Complete")
            && uid(before) == uid(job)
            && !has_condition(job, "Complete")
        {
            broken.push(format!("{} was complete and is no longer", step.key));
        }
        let wanted = number(job, &["spec", "completions"]).unwrap_or(1);
        if has_condition(job, "Complete") && counted < wanted {
            broken.push(format!("{} is complete with {counted} of {wanted} pods", step.key));
        }
    }

    fn note(&mut self, _view: &View, step: &Step) {
        for pod in [&step.before, &step.after].into_iter().flatten() {
            let job = controller(pod).filter(|owner| owner["kind"] == "Job");
            if let Some(job) = job.filter(|_| has_succeeded(pod)) {
                self.succeeded.entry(text(job, &["uid"]).to_owned()).or_default().insert(uid(pod).to_owned());
            }
        }
    }
}

fn has_succeeded(pod: &Value) -> bool {
    text(pod, &["status", "phase"]) == "Succeeded"
}
