//! The traces that pods were created in: their binds go on with them.
//!
//! Every replica follows the log and knows the traces from there, so the one that binds knows those of pods that
//! others have proposed as well.

use std::collections::HashMap;

use bus::command::{Reply, Write};
use client::{Observed, Writer};
use futures::future::join_all;
use model::{Key, Trace};
use tracing::{Instrument, info_span};

/// Pods that wait for a node and whose traces are known. With more of them than this, as when nobody binds, the
/// earlier traces end here.
const KNOWN_MAX: usize = 10_000;

/// Traces by pod; empty while nobody collects any.
#[derive(Debug, Default)]
pub struct Traces(HashMap<Key, Trace>);

// === impl Traces ===

impl Traces {
    /// Takes note of the pods that a change of this trace has created.
    pub fn note(&mut self, told: &[Observed], trace: Option<Trace>) {
        let Some(trace) = trace.filter(|_| runtime::log::exports_traces()) else { return };
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        let created = told.iter().filter_map(|one| match one {
            Observed::Put(item) if item.created == item.revision => Some(item),
            _ => None,
        });
        let pods = created.filter(|item| item.key.resource() == "pods");
        self.0.extend(pods.map(|item| (item.key.clone(), trace)));
    }

    /// The traces of pods that are being bound, in their order; nothing when none of them has one.
    pub fn take(&mut self, keys: &[Key]) -> Vec<Option<Trace>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        keys.iter().map(|key| self.0.remove(key)).collect()
    }
}

/// Writes; whatever is traced goes by itself, for a message belongs to one trace.
pub async fn write(writer: &Writer, writes: Vec<Write>, traces: Vec<Option<Trace>>) -> Vec<Reply> {
    if traces.iter().all(Option::is_none) {
        return writer.write(writes).await;
    }
    let one = async |(write, trace): (Write, Option<Trace>)| match trace {
        None => writer.one(write).await,
        Some(trace) => {
            let span = info_span!("bind");
            bus::trace::join(&span, trace);
            writer.one(write).instrument(span).await
        }
    };
    join_all(writes.into_iter().zip(traces).map(one)).await
}
