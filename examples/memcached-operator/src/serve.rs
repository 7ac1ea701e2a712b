//! `/metrics` on one port, `/healthz` and `/readyz` on another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry, TextEncoder};
use tokio::net::TcpListener;
use tracing::info;

/// What is told of the operator. Clones share it.
#[derive(Clone)]
pub struct State {
    registry: Registry,
    reconciled: IntCounterVec,
    seconds: Histogram,
    ready: Arc<AtomicBool>,
}

// === impl State ===

impl State {
    /// Nothing was done yet. The names are those that dashboards of operators know.
    pub fn new() -> Result<Self> {
        let total = Opts::new("controller_runtime_reconcile_total", "Reconciliations by result.");
        let reconciled = IntCounterVec::new(total.const_label("controller", "memcached"), &["result"])?;
        let time = HistogramOpts::new("controller_runtime_reconcile_time_seconds", "How long one took.");
        let seconds = Histogram::with_opts(time.const_label("controller", "memcached"))?;
        let registry = Registry::new();
        registry.register(Box::new(reconciled.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(State { registry, reconciled, seconds, ready: Arc::default() })
    }

    /// One object was looked at.
    pub fn reconciled(&self, took: Duration, well: bool) {
        self.seconds.observe(took.as_secs_f64());
        self.reconciled.with_label_values(&[if well { "success" } else { "error" }]).inc();
    }

    /// The kind is there and can be read.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    fn readiness(&self) -> StatusCode {
        if self.ready.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// Listens at both addresses; returns once it does.
pub async fn start(metrics: SocketAddr, health: SocketAddr, state: &State) -> Result<()> {
    let told = state.clone();
    serve(metrics, Router::new().route("/metrics", get(async move || told.metrics()))).await?;
    let told = state.clone();
    let health_routes = Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(async move || told.readiness()));
    serve(health, health_routes).await
}

async fn serve(address: SocketAddr, router: Router) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    info!(%address, "Serving");
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
