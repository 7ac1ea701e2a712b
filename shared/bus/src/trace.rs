//! `traceparent` in message headers, so that one trace spans kubectl's request and the container's start.

use async_nats::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector};
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
