//! What is counted.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};

/// Answers by whose name was asked for, and how it went.
pub static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("sampan_dns_requests_total", "Questions that were answered", &["names", "code"])
        .expect("registered once")
});

/// How long an answer took.
pub static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = vec![0.0001, 0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0];
    register_histogram_vec!("sampan_dns_seconds", "How long an answer took", &["names"], buckets)
        .expect("registered once")
});
