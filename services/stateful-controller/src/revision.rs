//! PURE: the templates that a set has had, as ControllerRevisions.

use std::collections::BTreeMap;

use bus::command::Write;
use client::revisions::{self, Present, Subject};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use model::Key;
use serde_json::json;

/// Label of a revision with its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// Which templates a set's pods have and are to get.
#[derive(Debug)]
pub struct Revisions<'a> {
    /// Name of the revision that pods below the partition keep.
    pub current: String,
    /// Its template, when it is another than the new one.
    pub current_template: Option<PodTemplateSpec>,
    /// Name of the revision of the set's present template.
    pub update: String,
    /// What makes it the newest one, if it is not.
    pub write: Option<Write>,
    /// Revisions that nothing needs any longer, the oldest first.
    pub superfluous: Vec<&'a ControllerRevision>,
}

/// Reads the revisions of a set, given the names that its pods carry.
pub fn revisions<'a>(set: &StatefulSet, known: &[&'a ControllerRevision], used: &[&str]) -> Revisions<'a> {
    let template = set.spec.as_ref().map(|spec| json!(spec.template)).unwrap_or_default();
    let metadata = &set.metadata;
    let nothing = BTreeMap::new();
    let subject = Subject {
        key: &Key::object(
            "apps",
            "statefulsets",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        ),
        kind: "StatefulSet",
        uid: metadata.uid.as_deref().unwrap_or_default(),
        annotations: metadata.annotations.as_ref().unwrap_or(&nothing),
        template: &template,
        collisions: None,
        hash_label: HASH_LABEL,
    };
    let Present { name: update, write, .. } = subject.present(known, &|_| false);
    let said = set.status.as_ref().and_then(|status| status.current_revision.clone());
    let current = said.filter(|name| !name.is_empty()).unwrap_or_else(|| update.clone());
    let by_name = |name: &str| known.iter().find(|revision| revisions::name(revision) == name);
    let current_template = by_name(&current)
        .filter(|_| current != update)
        .and_then(|revision| serde_json::from_value(revisions::template_of(revision)?).ok());
    let needed = |revision: &ControllerRevision| {
        let name = revisions::name(revision);
        name == current || name == update || used.contains(&name)
    };
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let superfluous = revisions::superfluous(known, needed, limit);
    Revisions { current, current_template, update, write, superfluous }
}
