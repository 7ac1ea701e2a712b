//! Logs by `tracing`, and traces by OTLP when an endpoint is configured.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The standard variable that names the collector, as `http://host:4318`.
const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The standard variable that names the service, instead of the name that it has here.
const OTLP_SERVICE: &str = "OTEL_SERVICE_NAME";

/// What traces go out by.
static EXPORTER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether traces go out. Without it nobody need make a span.
pub fn exports_traces() -> bool {
    EXPORTER.get().is_some()
}

/// Sends what is left of traces. Not from within a runtime: it waits for the collector.
pub fn end_traces() {
    if let Some(Err(error)) = EXPORTER.get().map(SdkTracerProvider::shutdown) {
        tracing::debug!("the last spans are lost: {error}");
    }
}

/// Starts logging to standard error: text on a terminal, a line of JSON each with `SAMPAN_LOG_FORMAT=json`.
/// `SAMPAN_LOG` holds a filter as `info,scheduler=debug`; `default` is used without it.
///
/// Traces go out, as those of `service`, only when `OTEL_EXPORTER_OTLP_ENDPOINT` is set: a span costs about a
/// microsecond.
pub fn init_logging(service: &str, default: &str) -> Result<()> {
    let filter = match std::env::var("SAMPAN_LOG") {
        Ok(text) => EnvFilter::try_new(text).context("SAMPAN_LOG is no filter")?,
        Err(_) => EnvFilter::try_new(default).context("the default filter is valid")?,
    };
    let json = std::env::var("SAMPAN_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_target(true).with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    let traces = match std::env::var_os(OTLP_ENDPOINT) {
        Some(_) => Some(tracing_opentelemetry::layer().with_tracer(exporter(service)?.tracer("sampan"))),
        None => None,
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(traces)
        .with(lines)
        .try_init()
        .context("logging was started before")
}

fn exporter(service: &str) -> Result<SdkTracerProvider> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
        .with_context(|| format!("{OTLP_ENDPOINT} cannot be used"))?;
    let resource = match std::env::var_os(OTLP_SERVICE) {
        Some(_) => Resource::builder(),
        None => Resource::builder().with_service_name(service.to_owned()),
    };
    let provider =
        SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    Ok(EXPORTER.get_or_init(|| provider).clone())
}
