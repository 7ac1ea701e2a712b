//! How often somebody was allowed something, and how often not.

use std::sync::LazyLock;

use prometheus::{IntCounter, register_int_counter_vec};

/// Allowed, and refused.
static DECISIONS: LazyLock<[IntCounter; 2]> = LazyLock::new(|| {
    let decisions = register_int_counter_vec!(
        "apiserver_authorization_decisions_total",
        "Decisions about requests and commands, by what they were.",
        &["decision"]
    )
    .expect("the metric is registered once");
    ["allowed", "denied"].map(|decision| decisions.with_label_values(&[decision]))
});

/// Counts a decision.
pub fn count(allowed: bool) {
    DECISIONS[usize::from(!allowed)].inc();
}
