//! CronJobs: a Job each time that the schedule says so.

mod decide;
pub mod schedule;

use client::{Controller, Decision, Observed};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::jiff::Timestamp;
use model::Key;

use crate::owned::Family;

/// The controller of CronJobs.
#[derive(Debug)]
pub struct CronJobs {
    family: Family<CronJob, Job>,
}

impl Default for CronJobs {
    fn default() -> Self {
        CronJobs { family: Family::new("cronjobs") }
    }
}

impl Controller for CronJobs {
    type Key = Key;
    const NAME: &'static str = "cronjob-controller";
    const COLLECTIONS: &'static [(&'static str, &'static str)] = &[("batch", "cronjobs"), ("batch", "jobs")];

    fn observe(&mut self, observed: &Observed) -> Vec<Key> {
        self.family.observe(observed)
    }

    fn decide(&mut self, key: &Key, now: Timestamp) -> Decision {
        match self.family.owner(key) {
            Some(cron) => decide::decide(cron, &self.family.owned(cron), now),
            None => Decision { reason: "the cron job is gone", ..Decision::default() },
        }
    }
}
