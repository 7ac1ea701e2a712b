//! What clients were told, against what the log says.
//!
//! Every write of a client carries a token of its own in an annotation. One that was acknowledged must be in the log at
//! the very place that the client was told; one that was refused must never turn up; of one without an answer either is
//! right.

use std::collections::{BTreeMap, BTreeSet};

use model::Revision;

use super::view::{Step, text};

/// The annotation with the token.
pub const TOKEN: &str = "sim/token";

/// What was told and what was seen.
#[derive(Default)]
pub struct Ledger {
    given: u64,
    /// Where each token was seen first, and what the object was at before.
    seen: BTreeMap<String, (String, Revision, Option<Revision>)>,
    /// Acknowledged writes that the checker has not come to yet.
    told: Vec<Told>,
    refused: BTreeSet<String>,
    /// Acknowledged deletions.
    deleted: Vec<(String, Revision)>,
    /// Everything that has changed.
    changes: BTreeSet<(String, Revision)>,
    pub(super) checked: u64,
}

/// An acknowledged write.
struct Told {
    token: String,
    key: String,
    revision: Revision,
    /// The version that the client had said it replaces.
    replaces: Option<Revision>,
}

// === impl Ledger ===

impl Ledger {
    /// A token for a new write.
    pub fn token(&mut self) -> String {
        self.given += 1;
        format!("t{}", self.given)
    }

    /// The client was told that the write happened.
    pub fn acknowledge(&mut self, token: &str, key: &str, revision: Revision, replaces: Option<Revision>) {
        self.told.push(Told { token: token.to_owned(), key: key.to_owned(), revision, replaces });
    }

    /// The client was told that the write did not happen.
    pub fn refuse(&mut self, token: &str) {
        self.refused.insert(token.to_owned());
    }

    /// The client was told that the deletion happened.
    pub fn acknowledge_deletion(&mut self, key: &str, revision: Revision) {
        self.deleted.push((key.to_owned(), revision));
    }

    pub(super) fn step(&mut self, step: &Step, broken: &mut Vec<String>) {
        let token = |object: &serde_json::Value| text(object, &["metadata", "annotations", TOKEN]).to_owned();
        if let Some(after) = &step.after {
            let now = token(after);
            if !now.is_empty() {
                let key = step.key.as_str().to_owned();
                self.seen.entry(now).or_insert((key, step.revision, step.replaced));
            }
        }
        self.changes.insert((step.key.as_str().to_owned(), step.revision));
        self.settle(step.revision, broken);
    }

    /// Checks what the view has come to.
    pub(super) fn settle(&mut self, reached: Revision, broken: &mut Vec<String>) {
        for told in self.told.extract_if(.., |told| told.revision <= reached) {
            self.checked += 1;
            let Told { token, key, revision, replaces } = told;
            match self.seen.get(&token) {
                Some((seen, at, before)) if *seen == key && *at == revision => {
                    if replaces.is_some() && replaces != *before {
                        broken.push(format!("write {token} of {key} at {revision} replaced {before:?}, not {replaces:?} as it said"));
                    }
                }
                seen => broken.push(format!(
                    "write {token} of {key} was acknowledged at {revision}; the log has {seen:?}"
                )),
            }
        }
        if let Some(token) = self.refused.iter().find(|token| self.seen.contains_key(*token)) {
            let token = token.clone();
            broken.push(format!("write {token} was refused; the log has {:?}", self.seen.get(&token)));
            self.refused.remove(&token);
        }
    }

    /// At the end, nothing is left open.
    pub(super) fn close(&mut self, reached: Revision, broken: &mut Vec<String>) {
        self.settle(reached, broken);
        for told in &self.told {
            broken.push(format!(
                "write {} of {} was acknowledged at {}, which the log never came to",
                told.token, told.key, told.revision
            ));
        }
        for (key, at) in self.deleted.iter().filter(|deletion| !self.changes.contains(*deletion)) {
            broken.push(format!("the deletion of {key} was acknowledged at {at}; the log has nothing there"));
        }
    }
}
