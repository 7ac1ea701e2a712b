//! What the proxy counts.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounter, IntGauge, exponential_buckets, histogram_opts, register_histogram,
    register_int_counter, register_int_gauge,
};

/// How long the kernel takes for a change.
pub static SYNC_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    const BUCKETS: usize = 12;
    let buckets = exponential_buckets(0.002, 2.0, BUCKETS).expect("the buckets grow");
    let options =
        histogram_opts!("sampan_proxy_sync_seconds", "How long a change of Services takes", buckets);
    register_histogram!(options).expect("registered once")
});

/// Changes that were not taken.
pub static FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("sampan_proxy_failures_total", "Changes of Services that the kernel did not take")
        .expect("registered once")
});

/// Services that the kernel has.
pub static SERVICES: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("sampan_proxy_services", "Services that the node carries out")
        .expect("registered once")
});

/// Elements that the kernel has.
pub static ELEMENTS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("sampan_proxy_elements", "Elements in the kernel's maps").expect("registered once")
});
