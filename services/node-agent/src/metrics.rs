//! What the agent counts, under the names that dashboards for Kubernetes nodes know.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramVec, IntCounterVec, IntGauge, register_histogram, register_histogram_vec,
    register_int_counter_vec, register_int_gauge,
};

/// Pods that have a sandbox.
pub static RUNNING_PODS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("kubelet_running_pods", "Pods that have a running sandbox").expect("registered once")
});

/// Containers that run.
pub static RUNNING_CONTAINERS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("kubelet_running_containers", "Containers that run").expect("registered once")
});

/// Actions by what they do.
pub static OPERATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("kubelet_runtime_operations_total", "Actions begun", &["operation_type"])
        .expect("registered once")
});

/// Those that failed.
pub static OPERATION_ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "kubelet_runtime_operations_errors_total",
        "Actions that failed",
        &["operation_type"]
    )
    .expect("registered once")
});

/// How long they take.
pub static OPERATION_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "kubelet_runtime_operations_duration_seconds",
        "How long actions take",
        &["operation_type"]
    )
    .expect("registered once")
});

/// From when the agent first saw a pod until all its containers had started.
pub static POD_START_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "kubelet_pod_start_duration_seconds",
        "From when the agent first saw a pod until its containers had started"
    )
    .expect("registered once")
});

/// Streams into pods that API servers asked for, by what for and whether they were opened.
pub static STREAMS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "sampan_agent_streams_total",
        "Streams into pods that were asked for, by what for and whether they were opened",
        &["kind", "result"]
    )
    .expect("registered once")
});

/// Those that are open.
pub static STREAMS_OPEN: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("sampan_agent_open_streams", "Streams into pods that are open")
        .expect("registered once")
});
