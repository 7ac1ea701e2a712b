//! The span of a request: made only for a trace that somebody collects.

use http::HeaderMap;
use tracing::{Span, info_span};

const TRACEPARENT: &str = "traceparent";

/// The span of a request that arrived with these headers. A client that traces decides for its requests; of the
/// others the writes are traced, since what they set in motion goes on in other services.
pub fn span(headers: &HeaderMap, method: &str, path: &str, mutates: bool) -> Span {
    if !runtime::log::exports_traces() {
        return Span::none();
    }
    let parent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let wanted = parent.map_or(mutates, is_sampled);
    if !wanted {
        return Span::none();
    }
    let span = info_span!("request", method, path);
    if let Some(parent) = parent {
        bus::trace::adopt_traceparent(&span, parent);
    }
    span
}

/// The last bit of the last field: `00-<trace>-<span>-01`.
fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.rsplit('-').next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_decides_for_its_own_traces() {
        assert!(is_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(!is_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
        assert!(!is_sampled("rubbish"));
    }
}
