//! Events: what a service tells people about an object. Repetitions are counted, not written anew.

use std::collections::HashMap;

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::jiff::Timestamp;
use model::Object;
use serde_json::json;

/// Different events that are remembered so as to count them; the oldest half is forgotten beyond it.
const REMEMBERED: usize = 4_096;

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoteKind {
    /// As it should be.
    Normal,
    /// Something is wrong.
    Warning,
}

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, empty for cluster scope.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Good or bad.
    pub severity: NoteKind,
    /// One word, as `ScalingReplicaSet`.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// Turns notes into writes of `v1` Events.
#[derive(Debug)]
pub struct Recorder {
    component: String,
    host: String,
    seen: HashMap<Note, Told>,
    counter: u64,
}

#[derive(Debug)]
struct Told {
    event: String,
    count: u64,
    at: u64,
}

// === impl Note ===

impl Note {
    /// A note about an object by its JSON form.
    pub fn about(object: &Object, severity: NoteKind, reason: &str, message: impl Into<String>) -> Note {
        Note {
            api_version: object.str_at(&["apiVersion"]).to_owned(),
            kind: object.str_at(&["kind"]).to_owned(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

// === impl Recorder ===

impl Recorder {
    /// The recorder of a component, as `deployment-controller`; `host` is empty but for node agents.
    pub fn new(component: &str, host: &str) -> Self {
        Recorder { component: component.to_owned(), host: host.to_owned(), seen: HashMap::new(), counter: 0 }
    }

    /// The write that tells `note`: a new Event, or one more for the count of an Event told before.
    pub fn record(&mut self, note: Note, now: Timestamp) -> Write {
        self.counter += 1;
        let at = self.counter;
        let namespace = if note.namespace.is_empty() { "default" } else { &note.namespace }.to_owned();
        let resource = Resource::new("", "v1", "events");
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if let Some(told) = self.seen.get_mut(&note) {
            told.count += 1;
            told.at = at;
            let patch = json!({"count": told.count, "lastTimestamp": time});
            return Write::Patch {
                resource,
                namespace,
                name: told.event.clone(),
                subresource: String::new(),
                format: PatchFormat::Merge,
                patch: patch.to_string().into(),
            };
        }
        let event = self.event(&note, &namespace, &time, now);
        let name = event["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.forget_old();
        self.seen.insert(note, Told { event: name, count: 1, at });
        Write::Create { resource, namespace, object: event.to_string().into() }
    }

    /// The Event is gone (they live an hour): the next note of this kind starts a new one.
    pub fn forget(&mut self, event: &str) {
        self.seen.retain(|_, told| told.event != event);
    }

    fn event(&self, note: &Note, namespace: &str, time: &str, now: Timestamp) -> serde_json::Value {
        let unique = (now.as_nanosecond() as u64).wrapping_add(self.counter);
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{}.{unique:x}", note.name), "namespace": namespace},
            "involvedObject": {
                "apiVersion": note.api_version, "kind": note.kind, "namespace": note.namespace,
                "name": note.name, "uid": note.uid,
            },
            "type": match note.severity { NoteKind::Normal => "Normal", NoteKind::Warning => "Warning" },
            "reason": note.reason, "message": note.message, "count": 1,
            "firstTimestamp": time, "lastTimestamp": time,
            "source": {"component": self.component, "host": self.host},
            "reportingComponent": self.component, "reportingInstance": self.host,
        })
    }

    fn forget_old(&mut self) {
        if self.seen.len() >= REMEMBERED {
            let oldest = self.counter.saturating_sub(REMEMBERED as u64 / 2);
            self.seen.retain(|_, told| told.at > oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_told_twice_is_one_event_with_a_count_of_two() {
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default", "uid": "u"}
        }))
        .expect("an object");
        let note = Note::about(&pod, NoteKind::Warning, "FailedScheduling", "0/1 nodes are available");
        let mut recorder = Recorder::new("default-scheduler", "");
        let now = Timestamp::UNIX_EPOCH;
        let Write::Create { object, namespace, .. } = recorder.record(note.clone(), now) else {
            panic!("the first makes an event")
        };
        let event: serde_json::Value = serde_json::from_slice(&object).expect("JSON");
        assert_eq!((namespace.as_str(), &event["involvedObject"]["uid"]), ("default", &json!("u")));
        let Write::Patch { name, patch, .. } = recorder.record(note, now) else {
            panic!("the second counts")
        };
        assert_eq!(event["metadata"]["name"], json!(name));
        assert_eq!(&patch[..], br#"{"count":2,"lastTimestamp":"1970-01-01T00:00:00Z"}"#);
    }
}
