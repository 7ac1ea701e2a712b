//! What is told: Events about pods, why a pod has no node, as its condition, and which node claims wait for.

use std::collections::{HashMap, VecDeque};

use bus::command::{PatchFormat, Resource, Write};
use client::events::Recorder;
use client::{Note, NoteKind};
use k8s_openapi::jiff::Timestamp;
use model::Key;
use serde_json::json;

/// Events that wait to be written. Nobody waits for them; beyond it the oldest are dropped.
const NOTES_MAX: usize = 10_000;
/// Writes in one request.
const BATCH_MAX: usize = 500;

/// What is to be told, in order; conditions before Events.
#[derive(Debug)]
pub struct Outbox {
    recorder: Recorder,
    conditions: HashMap<Key, Write>,
    condition_order: VecDeque<Key>,
    /// Claims that are told their node, before everything else: pods wait for them.
    selections: VecDeque<Write>,
    notes: VecDeque<Note>,
    dropped: u64,
}

/// Something that was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The condition of this pod.
    Condition(Key),
    /// The Event of this name, if it is one that is counted on.
    Event(String),
    /// The node of a claim.
    Selection,
}

// === impl Outbox ===

impl Outbox {
    /// An outbox of the scheduler that calls itself `name`.
    pub fn new(name: &str) -> Self {
        Outbox {
            recorder: Recorder::new(name, ""),
            conditions: HashMap::new(),
            condition_order: VecDeque::new(),
            selections: VecDeque::new(),
            notes: VecDeque::new(),
            dropped: 0,
        }
    }

    /// A pod has got its node.
    pub fn scheduled(&mut self, key: &Key, uid: &str, node: &str) {
        let message = format!("Successfully assigned {}/{} to {node}", key.namespace(), key.name());
        self.note(key, uid, NoteKind::Normal, "Scheduled", message);
    }

    /// A pod has got no node.
    pub fn failed(&mut self, key: &Key, uid: &str, message: &str) {
        self.note(key, uid, NoteKind::Warning, "FailedScheduling", message.to_owned());
    }

    /// Why a pod has no node, in its status. `first` says whether it is told for the first time.
    pub fn condition(&mut self, key: &Key, message: &str, first: bool, now: Timestamp) {
        let mut condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        });
        if first {
            condition["lastTransitionTime"] = json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        let write = Write::Patch {
            resource: Resource::new("", "v1", "pods"),
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            subresource: "status".to_owned(),
            format: PatchFormat::Strategic,
            patch: json!({"status": {"conditions": [condition]}}).to_string().into(),
        };
        // The newest message takes the place of one that was not sent yet.
        if self.conditions.insert(key.clone(), write).is_none() {
            self.condition_order.push_back(key.clone());
        }
    }

    /// A claim is to be told its node.
    pub fn select(&mut self, write: Write) {
        self.selections.push_back(write);
    }

    /// What is to be told about a pod is of no interest any more.
    pub fn forget(&mut self, key: &Key) {
        self.conditions.remove(key);
    }

    /// The Event is gone: the next one like it starts anew.
    pub fn forget_event(&mut self, name: &str) {
        self.recorder.forget(name);
    }

    /// The next writes, and what each tells.
    pub fn take_batch(&mut self, now: Timestamp) -> (Vec<Write>, Vec<Told>) {
        let count = self.selections.len().min(BATCH_MAX);
        let mut writes: Vec<Write> = self.selections.drain(..count).collect();
        let mut told = vec![Told::Selection; writes.len()];
        while writes.len() < BATCH_MAX {
            let Some(key) = self.condition_order.pop_front() else { break };
            if let Some(write) = self.conditions.remove(&key) {
                writes.push(write);
                told.push(Told::Condition(key));
            }
        }
        while writes.len() < BATCH_MAX {
            let Some(note) = self.notes.pop_front() else { break };
            let write = self.recorder.record(note, now);
            told.push(Told::Event(match &write {
                Write::Patch { name, .. } => name.clone(),
                _ => String::new(),
            }));
            writes.push(write);
        }
        (writes, told)
    }

    /// Events that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn note(&mut self, key: &Key, uid: &str, severity: NoteKind, reason: &str, message: String) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.pop_front();
            self.dropped += 1;
        }
        self.notes.push_back(Note {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            uid: uid.to_owned(),
            severity,
            reason: reason.to_owned(),
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::object("", "pods", "default", name)
    }

    #[test]
    fn the_newest_reason_is_told_once_and_before_events() {
        let mut outbox = Outbox::new("default-scheduler");
        let now = Timestamp::UNIX_EPOCH;
        outbox.failed(&key("a"), "u", "old");
        outbox.condition(&key("a"), "old", true, now);
        outbox.condition(&key("a"), "new", false, now);
        outbox.condition(&key("gone"), "old", true, now);
        outbox.forget(&key("gone"));
        let (writes, told) = outbox.take_batch(now);
        assert_eq!(told, [Told::Condition(key("a")), Told::Event(String::new())]);
        let Write::Patch { patch, subresource, .. } = &writes[0] else { panic!("a condition is a patch") };
        assert_eq!(subresource, "status");
        assert!(String::from_utf8_lossy(patch).contains("\"message\":\"new\""), "{patch:?}");
    }

    #[test]
    fn events_beyond_the_bound_are_dropped_oldest_first() {
        let mut outbox = Outbox::new("default-scheduler");
        for index in 0..=NOTES_MAX {
            outbox.scheduled(&key(&index.to_string()), "u", "n");
        }
        assert_eq!(outbox.dropped(), 1);
        let (writes, _) = outbox.take_batch(Timestamp::UNIX_EPOCH);
        let Write::Create { object, .. } = &writes[0] else { panic!("a new event is created") };
        let event = String::from_utf8_lossy(object);
        assert!(event.contains("Successfully assigned default/1 to n"), "{event}");
    }
}
