//! `traceparent` in message headers, so that one trace spans kubectl's request and the container's start.

use async_nats::HeaderMap;
use model::Trace;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The W3C header that names a trace and the span in it.
pub const TRACEPARENT: &str = "traceparent";

struct Headers<'a>(&'a mut HeaderMap);

struct Seen<'a>(&'a HeaderMap);

/// Puts the current span into `headers`; nothing when no trace is sampled.
pub fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Headers(headers));
    });
}

/// The current span, if somebody collects its trace: what goes into the log, for those whom the write wakes.
pub fn current() -> Option<Trace> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    (span.is_valid() && span.is_sampled()).then(|| Trace {
        trace: u128::from_be_bytes(span.trace_id().to_bytes()),
        span: u64::from_be_bytes(span.span_id().to_bytes()),
    })
}

/// Makes `span` a child of the one that wrote what is now acted upon.
pub fn join(span: &Span, trace: Trace) {
    let parent =
        SpanContext::new(trace.trace.into(), trace.span.into(), TraceFlags::SAMPLED, true, TraceState::NONE);
    // Without a tracing layer that knows OpenTelemetry there is nobody to tell.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
}

/// Makes `span` a child of the one that the sender was in.
pub fn adopt(span: &Span, headers: Option<&HeaderMap>) {
    let Some(headers) = headers.filter(|headers| headers.get(TRACEPARENT).is_some()) else { return };
    let context =
        opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Seen(headers)));
    // Without a tracing layer that knows OpenTelemetry there is nobody to tell.
    let _ = span.set_parent(context);
}

/// Makes `span` a child of the one that a `traceparent` header of another protocol names.
pub fn adopt_traceparent(span: &Span, traceparent: &str) {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, traceparent);
    adopt(span, Some(&headers));
}

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty `tracestate` as well, which says nothing.
        if !value.is_empty() {
            self.0.insert(key, value);
        }
    }
}

impl Extractor for Seen<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(async_nats::HeaderValue::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_ref()).collect()
    }
}
