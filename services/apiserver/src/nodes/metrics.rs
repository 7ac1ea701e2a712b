//! How many agents this API server serves.

use std::sync::LazyLock;

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, register_int_counter, register_int_counter_vec, register_int_gauge,
};

/// Agents that are attached here.
pub static SESSIONS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("sampan_apiserver_node_sessions", "Node agents that this API server serves.")
        .expect("the metric is registered once")
});

/// Snapshots that were sent: many, where few nodes are new, mean that sessions break.
pub static ATTACHMENTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "sampan_apiserver_node_attachments_total",
        "Attachments of node agents that were answered."
    )
    .expect("the metric is registered once")
});

/// Machines that asked to join, by whether they were let: many refusals are somebody's guesses.
pub static JOINS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "sampan_apiserver_joins_total",
        "Machines that asked to become nodes, by outcome.",
        &["outcome"]
    )
    .expect("the metric is registered once")
});
