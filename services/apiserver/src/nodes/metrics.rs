//! How many agents this API server serves.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntGauge, register_int_counter, register_int_gauge};

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
