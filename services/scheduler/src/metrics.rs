//! Metrics, under upstream's names where it has one.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, exponential_buckets,
    register_histogram, register_histogram_vec, register_int_counter, register_int_counter_vec,
    register_int_gauge, register_int_gauge_vec,
};

use crate::bind::Outcome;
use crate::observe::View;
use crate::queue::Lengths;

/// Every metric of the scheduler.
pub struct Metrics {
    /// Attempts by result and profile.
    pub attempts: IntCounterVec,
    /// Pods that wait, by queue.
    pub pending: IntGaugeVec,
    /// From the decision to the answer of the bind.
    pub attempt_seconds: HistogramVec,
    /// The decision alone.
    pub algorithm_seconds: Histogram,
    /// From when a pod could be scheduled until it had its node.
    pub sli_seconds: HistogramVec,
    /// Attempts that pods needed.
    pub pod_attempts: Histogram,
    /// Nodes, pods and assumed pods.
    pub cache_size: IntGaugeVec,
    /// Binds in one request.
    pub batch_size: Histogram,
    /// Proposals and binds that were refused, by who refused.
    pub refusals: IntCounterVec,
    /// What became of binds that were sent, to the API servers or to the replica that binds.
    pub proposals: IntCounterVec,
    /// Replicas among which pods are divided.
    pub replicas: IntGauge,
    /// Events that nobody will read.
    pub dropped_events: IntCounter,
}

/// The metrics.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(register);

fn register() -> Metrics {
    let once = "the names are registered once";
    let times = || exponential_buckets(0.000_01, 2.0, 24).expect("the buckets are valid");
    let long_times = || exponential_buckets(0.001, 2.0, 20).expect("the buckets are valid");
    let counts = || exponential_buckets(1.0, 2.0, 12).expect("the buckets are valid");
    Metrics {
        attempts: register_int_counter_vec!(
            "scheduler_schedule_attempts_total",
            "Attempts to schedule pods, by result.",
            &["result", "profile"]
        )
        .expect(once),
        pending: register_int_gauge_vec!("scheduler_pending_pods", "Pods that wait, by queue.", &["queue"])
            .expect(once),
        attempt_seconds: register_histogram_vec!(
            "scheduler_scheduling_attempt_duration_seconds",
            "From the decision to the answer of the bind.",
            &["result", "profile"],
            times()
        )
        .expect(once),
        algorithm_seconds: register_histogram!(
            "scheduler_scheduling_algorithm_duration_seconds",
            "The decision alone.",
            times()
        )
        .expect(once),
        sli_seconds: register_histogram_vec!(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From when a pod could be scheduled until it had its node.",
            &["attempts"],
            long_times()
        )
        .expect(once),
        pod_attempts: register_histogram!(
            "scheduler_pod_scheduling_attempts",
            "Attempts that pods needed.",
            counts()
        )
        .expect(once),
        cache_size: register_int_gauge_vec!(
            "scheduler_cache_size",
            "Nodes, pods and assumed pods in the view.",
            &["type"]
        )
        .expect(once),
        batch_size: register_histogram!(
            "sampan_scheduler_bind_batch_size",
            "Binds in one request.",
            counts()
        )
        .expect(once),
        refusals: register_int_counter_vec!(
            "sampan_scheduler_refusals_total",
            "Choices that did not hold, by who refused them.",
            &["by"]
        )
        .expect(once),
        proposals: register_int_counter_vec!(
            "sampan_scheduler_proposals_total",
            "Nodes proposed for pods, by what became of them.",
            &["result"]
        )
        .expect(once),
        replicas: register_int_gauge!(
            "sampan_scheduler_replicas",
            "Schedulers among which pods are divided, as this one knows them."
        )
        .expect(once),
        dropped_events: register_int_counter!(
            "sampan_scheduler_dropped_events_total",
            "Events that were not written because too many waited."
        )
        .expect(once),
    }
}

// === impl Metrics ===

impl Metrics {
    /// Counts what became of a bind.
    pub fn outcome(&self, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Done => "bound",
            Outcome::Refused(_) => "refused",
            Outcome::Unknown(_) => "unknown",
        };
        self.proposals.with_label_values(&[result]).inc();
    }

    /// Sets what shows the state of this moment.
    pub fn show(&self, lengths: Lengths, view: &View) {
        let queues = [
            ("active", lengths.active),
            ("backoff", lengths.backoff),
            ("unschedulable", lengths.blocked),
            ("gated", lengths.gated),
        ];
        for (queue, length) in queues {
            self.pending.with_label_values(&[queue]).set(length as i64);
        }
        let sizes =
            [("nodes", view.nodes().count()), ("pods", view.pods()), ("assumed_pods", view.assumed())];
        for (kind, size) in sizes {
            self.cache_size.with_label_values(&[kind]).set(size as i64);
        }
    }
}
