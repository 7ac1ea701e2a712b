//! One task a probe, each at its own pace.

use std::collections::BTreeMap;

use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::plan::{ProbeKind, ProbePlan};
use super::verdict::Streak;
use crate::act::Runtime;
use crate::act::carry_out::try_out;
use crate::act::runtime::Answer;
use crate::decide::action::{Note, Severity};
use crate::decide::core::ProbeVerdict;
use crate::observe::listing::PodIdentity;

/// What a probe has to say.
#[derive(Debug)]
pub enum Said {
    /// A verdict that differs from the last.
    Verdict(ProbeVerdict),
    /// A failure, for an event.
    Failure(PodIdentity, Note),
}

/// The probes that run now.
pub struct Prober<R> {
    runtime: R,
    said: mpsc::Sender<Said>,
    running: BTreeMap<String, Vec<(ProbePlan, AbortHandle)>>,
}

// === impl Prober ===

impl<R: Runtime> Prober<R> {
    /// None runs yet; what they say goes to `said`.
    pub fn new(runtime: R, said: mpsc::Sender<Said>) -> Self {
        Prober { runtime, said, running: BTreeMap::new() }
    }

    /// From now on these probes run for a pod; those that run already go on undisturbed.
    pub fn set(&mut self, uid: &str, plans: Vec<ProbePlan>) {
        let mut before = self.running.remove(uid).unwrap_or_default();
        let mut now = Vec::new();
        for plan in plans {
            let known = before.iter().position(|(known, _)| *known == plan);
            now.push(match known {
                Some(at) => before.swap_remove(at),
                None => {
                    let task = tokio::spawn(probe(self.runtime.clone(), plan.clone(), self.said.clone()));
                    (plan, task.abort_handle())
                }
            });
        }
        for (_, task) in before {
            task.abort();
        }
        if !now.is_empty() {
            self.running.insert(uid.to_owned(), now);
        }
    }
}

impl<R> Drop for Prober<R> {
    fn drop(&mut self) {
        for (_, task) in self.running.values().flatten() {
            task.abort();
        }
    }
}

async fn probe<R: Runtime>(runtime: R, plan: ProbePlan, said: mpsc::Sender<Said>) {
    let mut streak = Streak::new(plan.success_threshold, plan.failure_threshold);
    let mut next = Instant::now() + plan.initial_delay;
    if plan.kind != ProbeKind::Startup && plan.initial_delay.is_zero() {
        // After a restart of the agent the probes of all pods do not begin together.
        next += plan.period.mul_f64(rand::rng().random_range(0.0..0.1));
    }
    loop {
        sleep_until(next).await;
        next = Instant::now() + plan.period;
        let answer = match &plan.check {
            Some(check) => try_out(&runtime, &plan.instance, check, plan.timeout).await,
            None => Answer::failed("the probe names a port that the container does not have"),
        };
        if !answer.passed && said.send(failure(&plan, &answer)).await.is_err() {
            return;
        }
        if let Some(passed) = streak.add(answer.passed) {
            let verdict = ProbeVerdict {
                uid: plan.pod.uid.clone(),
                container: plan.container.clone(),
                instance: plan.instance.clone(),
                kind: plan.kind,
                passed,
            };
            if said.send(Said::Verdict(verdict)).await.is_err() {
                return;
            }
        }
    }
}

fn failure(plan: &ProbePlan, answer: &Answer) -> Said {
    let mut kind = plan.kind.as_str().to_owned();
    kind[..1].make_ascii_uppercase();
    let message = format!("{kind} probe failed: {}", answer.output);
    Said::Failure(
        plan.pod.clone(),
        Note::container(plan.field_path.clone(), Severity::Warning, "Unhealthy", message),
    )
}
