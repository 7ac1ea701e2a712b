//! What controllers of pods tell of what they tried, and what they remember of what went wrong.

use std::collections::HashMap;

use bus::command::Reply;
use client::{Note, NoteKind};
use model::{Key, Reason, Status};
use serde_json::Value;

/// What a write is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// A pod is to come.
    Create,
    /// This pod is to go.
    Delete(String),
    /// Something about which nobody is told.
    Quiet,
}

/// What went wrong when pods were made or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// In the API server's words.
    pub message: String,
}

/// Of each owner of pods the writes of its last decision, and the trouble that it had.
#[derive(Debug, Default)]
pub struct Attempts {
    /// What the writes were for, in their order.
    intents: HashMap<Key, Vec<Intent>>,
    trouble: HashMap<Key, Trouble>,
}

/// What to tell of an attempt, of whomever it was.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// Good or bad.
    pub severity: NoteKind,
    /// One word.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
}

// === impl Attempts ===

impl Attempts {
    /// What went wrong for an owner the last time.
    pub fn trouble(&self, key: &Key) -> Option<&Trouble> {
        self.trouble.get(key)
    }

    /// These writes are under way now.
    pub fn begin(&mut self, key: &Key, intents: Vec<Intent>) {
        match intents.is_empty() {
            true => self.intents.remove(key),
            false => self.intents.insert(key.clone(), intents),
        };
    }

    /// Nothing is wanting any more.
    pub fn settle(&mut self, key: &Key) {
        self.trouble.remove(key);
    }

    /// The owner is gone.
    pub fn forget(&mut self, key: &Key) {
        self.trouble.remove(key);
        self.intents.remove(key);
    }

    /// The view starts again: what was under way is of no interest, but trouble remains trouble.
    pub fn reset(&mut self) {
        self.intents.clear();
    }

    /// Takes in what became of a write; returns what there is to tell of it.
    pub fn acted(&mut self, key: &Key, index: usize, reply: &Reply) -> Option<Told> {
        let intents = self.intents.get(key)?;
        let intent = intents.get(index)?.clone();
        let alone = intents.iter().filter(|intent| **intent == Intent::Create).count() == 1;
        match (intent, reply) {
            (Intent::Create, Ok(stored)) => {
                self.trouble.remove(key);
                Told::good("SuccessfulCreate", format!("Created pod: {}", name(&stored.object)))
            }
            (Intent::Delete(pod), Ok(_)) => {
                self.trouble.remove(key);
                Told::good("SuccessfulDelete", format!("Deleted pod: {pod}"))
            }
            (Intent::Create, Err(status)) if !is_no_trouble(status) => {
                let known = self.fail(key, "FailedCreate", status);
                // The first refusal of a batch tells for all of it; a single attempt is told each time.
                let silent = known && !alone;
                Told::bad("FailedCreate", format!("Error creating: {}", status.message)).filter(|_| !silent)
            }
            (Intent::Delete(_), Err(status)) if status.reason != Reason::NotFound => {
                self.fail(key, "FailedDelete", status);
                Told::bad("FailedDelete", format!("Error deleting: {}", status.message))
            }
            _ => None,
        }
    }

    /// Whether there was trouble before.
    fn fail(&mut self, key: &Key, reason: &'static str, status: &Status) -> bool {
        let trouble = Trouble { reason, message: status.message.clone() };
        self.trouble.insert(key.clone(), trouble).is_some()
    }
}

// === impl Told ===

impl Told {
    fn good(reason: &'static str, message: String) -> Option<Told> {
        Some(Told { severity: NoteKind::Normal, reason, message })
    }

    fn bad(reason: &'static str, message: String) -> Option<Told> {
        Some(Told { severity: NoteKind::Warning, reason, message })
    }

    /// The note about an object of `api_version` and `kind`.
    pub fn about(self, (api_version, kind): (&str, &str), key: &Key, uid: &str) -> Note {
        Note {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            uid: uid.to_owned(),
            severity: self.severity,
            reason: self.reason.to_owned(),
            message: self.message,
        }
    }
}

/// In a namespace that ends, nothing can be made and nobody wants to hear of it.
fn is_no_trouble(status: &Status) -> bool {
    status.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// The name in an object's JSON.
fn name(json: &[u8]) -> String {
    let object: Value = serde_json::from_slice(json).unwrap_or_default();
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}
