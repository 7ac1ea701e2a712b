//! Jobs.

mod decide;
mod pods;
mod status;
#[cfg(test)]
mod tests;

use client::{Controller, Decision, Observed};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use model::Key;

use crate::owned::Family;

/// The controller of Jobs.
#[derive(Debug)]
pub struct Jobs {
    family: Family<Job, Pod>,
}

impl Default for Jobs {
    fn default() -> Self {
        Jobs { family: Family::new("jobs") }
    }
}

impl Controller for Jobs {
    type Key = Key;
    const NAME: &'static str = "job-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("batch", "jobs"), ("", "pods")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        self.family.observe(observed)
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        let mut decision = match self.family.owner(key) {
            Some(job) => decide::decide(job, &self.family.owned(job), now),
            None => Decision { reason: "the job is gone", ..Decision::default() },
        };
        // Nobody counts their ends any more.
        let held = self.family.left_behind(key).filter(|pod| pods::is_held(pod));
        decision.writes.extend(held.map(pods::release));
        decision
    }
}
