//! Notes as Event objects; what happens again is counted instead of told again. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use crate::decide::action::{Note, Severity};
use crate::decide::status::seconds;
use crate::observe::listing::PodIdentity;

/// Who tells, in the words that users filter by.
const COMPONENT: &str = "kubelet";
/// Notes that are remembered to be counted; more than 110 pods have at a time.
const REMEMBERED: usize = 2048;
/// What did not happen for this long counts as new.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);

/// Makes events of notes.
#[derive(Debug)]
pub struct Events {
    node: String,
    known: HashMap<(PodIdentity, Note), Known>,
    told: u64,
}

#[derive(Debug)]
struct Known {
    name: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

// === impl Events ===

impl Events {
    /// Of a node.
    pub fn new(node: &str) -> Self {
        Events { node: node.to_owned(), known: HashMap::new(), told: 0 }
    }

    /// The event for a note about a pod: a new one, or a known one with its count.
    pub fn event(&mut self, pod: &PodIdentity, note: &Note, now: Timestamp) -> Event {
        self.told += 1;
        let told = self.told;
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| now.duration_since(known.last) < FORGOTTEN);
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let known = self.known.entry((pod.clone(), note.clone())).or_insert_with(|| Known {
            // Names of events must differ; two of one pod in the same nanosecond are told apart by the count.
            name: format!("{}.{:x}", pod.name, now.as_nanosecond() + i128::from(told % 1000)),
            count: 0,
            first: now,
            last: now,
        });
        known.count += 1;
        known.last = now;
        Event {
            metadata: ObjectMeta {
                name: Some(known.name.clone()),
                namespace: Some(pod.namespace.clone()),
                ..Default::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name.clone()),
                uid: Some(pod.uid.clone()),
                field_path: Some(note.field_path.clone()).filter(|path| !path.is_empty()),
                resource_version: None,
            },
            type_: Some(
                match note.severity {
                    Severity::Normal => "Normal",
                    Severity::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(note.reason.to_owned()),
            message: Some(cut(&note.message)),
            count: Some(known.count),
            first_timestamp: Some(seconds(known.first)),
            last_timestamp: Some(seconds(known.last)),
            event_time: None::<MicroTime>,
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node.clone()),
            ..Default::default()
        }
    }
}

/// The API takes messages of up to a kilobyte.
fn cut(message: &str) -> String {
    const MAX: usize = 1024;
    let mut end = message.len().min(MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_again_is_counted() {
        let mut events = Events::new("node-1");
        let pod = PodIdentity { namespace: "default".into(), name: "web".into(), uid: "u1".into() };
        let note = Note::container("spec.containers{main}".to_owned(), Severity::Warning, "BackOff", "again");
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = events.event(&pod, &note, at(10));
        let second = events.event(&pod, &note, at(20));
        assert_eq!(first.metadata.name, second.metadata.name);
        assert_eq!((first.count, second.count), (Some(1), Some(2)));
        assert_eq!(second.first_timestamp, first.first_timestamp);
        assert_eq!(second.last_timestamp, Some(seconds(at(20))));
        let other = Note { message: "else".to_owned(), ..note };
        assert_ne!(events.event(&pod, &other, at(20)).metadata.name, first.metadata.name);
    }

    #[test]
    fn memory_is_bounded_and_messages_are_cut() {
        let mut events = Events::new("node-1");
        for number in 0..3 * REMEMBERED {
            let pod = PodIdentity { uid: number.to_string(), ..Default::default() };
            let note = Note::pod(Severity::Normal, "Started", "é".repeat(1000));
            let event = events.event(&pod, &note, Timestamp::UNIX_EPOCH);
            assert!(event.message.unwrap().len() <= 1024);
        }
        assert!(events.known.len() <= REMEMBERED);
    }
}
