//! How often writers get into each other's way.

use std::sync::LazyLock;

use prometheus::{IntCounter, register_int_counter};

/// Attempts of a write that another writer was ahead of.
pub static CONFLICTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "sampan_apiserver_write_conflicts_total",
        "Attempts of a write that another writer to the same object was ahead of."
    )
    .expect("the metric is registered once")
});
