//! How many tokens were shown, and made.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, register_int_counter, register_int_counter_vec};

/// Tokens that were shown.
static SHOWN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "sampan_apiserver_tokens_shown_total",
        "Tokens that bearers showed, by whether they were good.",
        &["result"]
    )
    .expect("the metric is registered once")
});

/// Tokens of service accounts that were signed.
pub static SIGNED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "sampan_apiserver_tokens_signed_total",
        "Tokens of service accounts that were made."
    )
    .expect("the metric is registered once")
});

/// Counts a token that was shown.
pub fn count_shown(is_good: bool) {
    SHOWN.with_label_values(&[if is_good { "good" } else { "refused" }]).inc();
}
