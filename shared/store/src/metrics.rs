//! What the store counts, in the default Prometheus registry.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, exponential_buckets, register_histogram,
    register_int_counter, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// Defines a metric that registers itself when it is first used.
macro_rules! metric {
    ($name:ident: $kind:ty = $make:expr) => {
        pub(crate) static $name: LazyLock<$kind> =
            LazyLock::new(|| $make.expect("the name is registered once and well-formed"));
    };
}

metric!(COMMIT_SECONDS: Histogram = register_histogram!(
    "sampan_store_commit_seconds",
    "Time from asking for a transaction to knowing its outcome.",
    exponential_buckets(0.000_25, 2.0, 16).expect("positive start, factor above one")
));
metric!(BATCH: Histogram = register_histogram!(
    "sampan_store_batch_transactions",
    "Transactions packed into one message.",
    exponential_buckets(1.0, 2.0, 11).expect("positive start, factor above one")
));
metric!(APPENDED: IntCounter = register_int_counter!(
    "sampan_store_appended_messages_total",
    "Messages appended to the log and acknowledged."
));
metric!(RESENT: IntCounter = register_int_counter!(
    "sampan_store_resent_messages_total",
    "Messages sent again because the acknowledgement did not come."
));
metric!(APPLIED: IntCounterVec = register_int_counter_vec!(
    "sampan_store_applied_messages_total",
    "Messages of the log that passed this reader, by what became of them.",
    &["stream", "verdict"]
));
metric!(CORRUPT: IntCounter = register_int_counter!(
    "sampan_store_corrupt_messages_total",
    "Messages of the log that could not be read and count as no-ops."
));
metric!(FOLLOWED: IntCounterVec = register_int_counter_vec!(
    "sampan_store_feed_starts_total",
    "Times that the feed of a stream was started, the first time included.",
    &["stream"]
));
metric!(SEQUENCE: IntGaugeVec = register_int_gauge_vec!(
    "sampan_store_sequence",
    "The newest message of the log that this reader has applied; the largest of all readers is where the log ends.",
    &["stream"]
));
metric!(LOG_BYTES: IntGaugeVec = register_int_gauge_vec!(
    "sampan_store_log_bytes",
    "Bytes of the log on the server, as those who keep it short last saw them.",
    &["stream"]
));
metric!(WATCHES: IntGauge = register_int_gauge!("sampan_store_watches", "Watches that are open."));
metric!(OBJECTS: IntGauge = register_int_gauge!("sampan_store_objects", "Objects in the state."));
metric!(CHECKPOINT_SECONDS: Histogram = register_histogram!(
    "sampan_store_checkpoint_seconds",
    "Time to write a checkpoint.",
    exponential_buckets(0.01, 2.0, 14).expect("positive start, factor above one")
));

/// Shows every metric from the start, so that nothing happened is told from nobody counts.
pub(crate) fn register() {
    for histogram in [&COMMIT_SECONDS, &BATCH, &CHECKPOINT_SECONDS] {
        LazyLock::force(histogram);
    }
    for counter in [&APPENDED, &RESENT, &CORRUPT] {
        LazyLock::force(counter);
    }
    for gauge in [&WATCHES, &OBJECTS] {
        LazyLock::force(gauge);
    }
}
