//! What is counted of requests, under upstream's names.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, register_histogram_vec,
    register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// What a request was about, as labels.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// As `LIST`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// As `v1`.
    pub version: String,
    /// Plural, empty when it was about none.
    pub resource: String,
    /// As `status`.
    pub subresource: String,
    /// `namespace`, `cluster`, `resource` or empty.
    pub scope: &'static str,
}

/// A long-running request that is counted while this lives.
#[derive(Debug)]
pub struct Gauged {
    open: IntGauge,
    events: IntCounter,
}

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "apiserver_request_total",
        "Requests by verb, group, version, resource, scope and HTTP response code.",
        &["verb", "group", "version", "resource", "subresource", "scope", "component", "code"]
    )
    .expect("registered once")
});

static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "apiserver_request_duration_seconds",
        "How long requests take, those that go on by themselves left out.",
        &["verb", "group", "version", "resource", "subresource", "scope", "component"],
        vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0]
    )
    .expect("registered once")
});

static IN_FLIGHT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "apiserver_current_inflight_requests",
        "Requests being served now, by whether they change anything.",
        &["request_kind"]
    )
    .expect("registered once")
});

static LONG_RUNNING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "apiserver_longrunning_requests",
        "Watches and streams that are open now.",
        &["verb", "group", "version", "resource", "subresource", "scope", "component"]
    )
    .expect("registered once")
});

static WATCH_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "apiserver_watch_events_total",
        "Events sent to watches.",
        &["group", "version", "resource"]
    )
    .expect("registered once")
});

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "apiserver_dropped_requests_total",
        "Requests refused because too many were being served.",
        &["request_kind"]
    )
    .expect("registered once")
});

static CONNECTIONS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("apiserver_open_connections", "Client connections that are open now.")
        .expect("registered once")
});

const COMPONENT: &str = "apiserver";

/// Counts a request that was answered.
pub fn answered(labels: &Labels, code: u16, took: Duration, long_running: bool) {
    let Labels { verb, group, version, resource, subresource, scope } = labels;
    let code = code.to_string();
    REQUESTS
        .with_label_values(&[verb, group, version, resource, subresource, *scope, COMPONENT, &code])
        .inc();
    if !long_running {
        DURATIONS
            .with_label_values(&[verb, group, version, resource, subresource, *scope, COMPONENT])
            .observe(took.as_secs_f64());
    }
}

/// The gauge of requests being served, by whether they change anything.
pub fn in_flight(mutating: bool) -> IntGauge {
    IN_FLIGHT.with_label_values(&[request_kind(mutating)])
}

/// Counts a request that was refused because too many were being served.
pub fn refused(mutating: bool) {
    REFUSED.with_label_values(&[request_kind(mutating)]).inc();
}

/// The gauge of open connections.
pub fn connections() -> &'static IntGauge {
    &CONNECTIONS
}

fn request_kind(mutating: bool) -> &'static str {
    if mutating { "mutating" } else { "readOnly" }
}

// === impl Gauged ===

impl Gauged {
    /// Counts a long-running request from now on.
    pub fn new(labels: &Labels) -> Gauged {
        let Labels { verb, group, version, resource, subresource, scope } = labels;
        let open =
            LONG_RUNNING.with_label_values(&[verb, group, version, resource, subresource, *scope, COMPONENT]);
        open.inc();
        Gauged { open, events: WATCH_EVENTS.with_label_values(&[group, version, resource]) }
    }

    /// Counts an event that is sent.
    pub fn event(&self) {
        self.events.inc();
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.open.dec();
    }
}
