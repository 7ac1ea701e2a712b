//! The traces that pods came to the node in, so that what is done about them goes on with those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::Trace;
use tokio::time::Instant;

/// A container's start that comes so much later than the change that asked for it (after a slow pull, as a rule) is
/// still part of that trace; a restart next week is not.
const LASTS: Duration = Duration::from_secs(300);

/// Traces by the pod's key. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Traces(Arc<Mutex<HashMap<String, (Trace, Instant)>>>);

// === impl Traces ===

impl Traces {
    /// Takes note of the traces of changes that have just come.
    pub fn note(&self, traces: &[(String, Trace)]) {
        if traces.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, since)| *since + LASTS > now);
        known.extend(traces.iter().map(|(key, trace)| (key.clone(), (*trace, now))));
    }

    /// The trace that a pod's newest change belongs to.
    pub fn of_pod(&self, namespace: &str, name: &str) -> Option<Trace> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        let key = model::Key::object("", "pods", namespace, name);
        let (trace, since) = known.get(key.as_str())?;
        (since.elapsed() < LASTS).then_some(*trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pod_goes_on_in_its_trace_for_a_while() {
        let traces = Traces::default();
        let trace = Trace { trace: 1, span: 2 };
        traces.note(&[("core/pods/d/a".to_owned(), trace)]);
        assert_eq!((traces.of_pod("d", "a"), traces.of_pod("d", "b")), (Some(trace), None));
        tokio::time::advance(LASTS).await;
        assert_eq!(traces.of_pod("d", "a"), None);
    }
}
