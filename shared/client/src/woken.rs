//! Which trace each key was woken by, so that the decision about it goes on with that trace.
//!
//! ```text
//!  write in a trace ──log──> change ──> key ──> decide ──> act ──command──> write in the same trace ──log──> …
//! ```
//! A decision is a child of the change that woke it, not merely linked to it: one trace then leads from a request to
//! all that it set in motion. Where several changes woke a key before it was decided, it is the newest one's child.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use model::Trace;
use tracing::{Span, info_span};

/// Traces by key; empty while nobody collects any.
#[derive(Debug)]
pub(crate) struct Woken<K>(HashMap<K, Trace>);

// === impl Woken ===

impl<K: Clone + Eq + Hash + Display> Woken<K> {
    /// A change of this trace woke the key.
    pub fn note(&mut self, key: &K, trace: Option<Trace>) {
        if let Some(trace) = trace.filter(|_| runtime::log::exports_traces()) {
            self.0.insert(key.clone(), trace);
        }
    }

    /// A key whose work is done again goes on in its trace, unless a newer one has come.
    pub fn put_back(&mut self, key: &K, trace: Option<Trace>) {
        if let Some(trace) = trace {
            self.0.entry(key.clone()).or_insert(trace);
        }
    }

    /// The trace that is to be gone on with; the next decision about the key is none of it.
    pub fn take(&mut self, key: &K) -> Option<Trace> {
        self.0.remove(key)
    }

    /// Forgets every key.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K> Default for Woken<K> {
    fn default() -> Self {
        Woken(HashMap::new())
    }
}

/// The span of a decision and what it leads to; none where there is no trace.
pub(crate) fn span(controller: &'static str, key: &impl Display, trace: Option<Trace>) -> Span {
    let Some(trace) = trace else { return Span::none() };
    let span = info_span!("decide", controller, %key, writes = tracing::field::Empty, reason = tracing::field::Empty);
    bus::trace::join(&span, trace);
    span
}
