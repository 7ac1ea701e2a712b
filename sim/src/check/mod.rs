//! What must hold after every step of the log, and at the end.
//!
//! ```text
//!  log ──change──> View ──Step──> ledger        what clients were told
//!                                 pods          bound once, no node overcommitted
//!                                 deployments   maxSurge, maxUnavailable
//!                                 sets          one of each identity, in order
//!                                 jobs          each end counted once
//!                  View, at rest ──> rest       everything is as it is wanted, and nothing is left over
//! ```
//! A rule is a plain function of the view and the step: it says what is broken in words.

pub mod deployments;
pub mod jobs;
pub mod ledger;
pub mod pods;
pub mod rest;
pub mod sets;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use store::Change;

use ledger::Ledger;
use view::{Step, View};

/// Every rule, and what they have found.
pub struct Checker {
    /// The objects as the log has them.
    pub view: View,
    ledger: Arc<Mutex<Ledger>>,
    pods: pods::Pods,
    deployments: deployments::Deployments,
    sets: sets::Sets,
    jobs: jobs::Jobs,
    broken: Vec<String>,
}

// === impl Checker ===

impl Checker {
    /// A checker of a log in which nothing has happened yet.
    pub fn new(ledger: Arc<Mutex<Ledger>>) -> Checker {
        Checker {
            view: View::default(),
            ledger,
            pods: pods::Pods::default(),
            deployments: deployments::Deployments::default(),
            sets: sets::Sets::default(),
            jobs: jobs::Jobs::default(),
            broken: Vec::new(),
        }
    }

    /// Takes in a change and checks everything.
    pub fn step(&mut self, change: &Change, now: Duration) -> Step {
        let reached = self.view.revision;
        let step = self.view.take(change, now);
        let (view, broken) = (&self.view, &mut self.broken);
        if step.revision <= reached {
            broken.push(format!("{} changed at {}, which is not after {reached}", step.key, step.revision));
        }
        self.ledger.lock().step(&step, broken);
        self.pods.step(view, &step, broken);
        self.deployments.step(view, &step, broken);
        self.sets.step(view, &step, broken);
        self.jobs.step(view, &step, broken);
        step
    }

    /// Checks what only the end can tell.
    pub fn close(&mut self) {
        self.ledger.lock().close(self.view.revision, &mut self.broken);
    }

    /// Notes something that others have found.
    pub fn found(&mut self, what: String) {
        self.broken.push(what);
    }

    /// What is broken.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// How many acknowledged writes were found in the log.
    pub fn writes(&self) -> u64 {
        self.ledger.lock().checked
    }
}
