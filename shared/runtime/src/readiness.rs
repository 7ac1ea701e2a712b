//! What a service waits for, as `/readyz` tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Ready when every condition is. Clones share the conditions.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

/// One thing that must hold. Not ready until somebody says so.
#[derive(Clone, Debug)]
pub struct Condition {
    readiness: Readiness,
    name: String,
}

// === impl Readiness ===

impl Readiness {
    /// Without conditions, and so ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, which is not met yet.
    pub fn condition(&self, name: &str) -> Condition {
        self.set(name, Some("starting".to_owned()));
        Condition { readiness: self.clone(), name: name.to_owned() }
    }

    /// Every condition by name, with what it waits for unless it is met.
    pub fn report(&self) -> BTreeMap<String, Option<String>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every condition is met.
    pub fn is_ready(&self) -> bool {
        self.report().values().all(Option::is_none)
    }

    fn set(&self, name: &str, why: Option<String>) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), why);
    }
}

// === impl Condition ===

impl Condition {
    /// It is met.
    pub fn set_ready(&self) {
        self.readiness.set(&self.name, None);
    }

    /// It is not met, and why.
    pub fn set_waiting(&self, why: impl Into<String>) {
        self.readiness.set(&self.name, Some(why.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_condition_is_met() {
        let readiness = Readiness::new();
        let (bus, store) = (readiness.condition("bus"), readiness.condition("store"));
        assert!(!readiness.is_ready());
        bus.set_ready();
        store.set_ready();
        assert!(readiness.is_ready());
        bus.set_waiting("connection refused");
        assert_eq!(readiness.report()["bus"].as_deref(), Some("connection refused"));
        assert!(!readiness.is_ready());
    }
}
