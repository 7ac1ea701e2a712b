//! PURE: the templates that a set has had, as ControllerRevisions.

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use model::spelling::{self, Fnv};
use serde_json::{Value, json};

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

const LIMIT_DEFAULT: usize = 10;

/// Reads the revisions of a set, given the names that its pods carry.
pub fn revisions<'a>(set: &StatefulSet, known: &[&'a ControllerRevision], used: &[&str]) -> Revisions<'a> {
    let data = data(set);
    let newest = known.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let found = known.iter().find(|revision| revision.data.as_ref().is_some_and(|raw| raw.0 == data));
    let (update, write) = match found {
        Some(revision) => {
            let name = revision.metadata.name.clone().unwrap_or_default();
            let write = (revision.revision < newest).then(|| renumber(revision, newest + 1));
            (name, write)
        }
        None => {
            let name = format!(
                "{}-{}",
                set.metadata.name.as_deref().unwrap_or_default(),
                spelling::letters(Fnv::of(data.to_string()), 10)
            );
            let write = create(set, &name, &data, newest + 1);
            (name, Some(write))
        }
    };
    let said = set.status.as_ref().and_then(|status| status.current_revision.clone());
    let current = said.filter(|name| !name.is_empty()).unwrap_or_else(|| update.clone());
    let by_name = |name: &str| known.iter().find(|revision| revision.metadata.name.as_deref() == Some(name));
    let current_template =
        by_name(&current).filter(|_| current != update).and_then(|revision| template(revision));
    let needed = |revision: &ControllerRevision| {
        let name = revision.metadata.name.as_deref().unwrap_or_default();
        name == current || name == update || used.contains(&name)
    };
    let history: Vec<&'a ControllerRevision> = known.iter().copied().filter(|one| !needed(one)).collect();
    let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT_DEFAULT);
    let superfluous = history[..history.len().saturating_sub(limit)].to_vec();
    Revisions { current, current_template, update, write, superfluous }
}

/// What a revision keeps: a patch that puts the template back, as `kubectl rollout undo` applies it.
fn data(set: &StatefulSet) -> Value {
    let template = set.spec.as_ref().map(|spec| json!(spec.template)).unwrap_or_default();
    let mut template = template;
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

fn create(set: &StatefulSet, name: &str, data: &Value, number: i64) -> Write {
    let labels = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.metadata.as_ref())
        .and_then(|meta| meta.labels.clone());
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": set.metadata.namespace, "labels": labels,
            "ownerReferences": [crate::pods::owner_reference(set)],
        },
        "data": data, "revision": number,
    });
    Write::Create {
        resource: Resource::new("apps", "v1", "controllerrevisions"),
        namespace: set.metadata.namespace.clone().unwrap_or_default(),
        object: object.to_string().into(),
    }
}

fn renumber(revision: &ControllerRevision, number: i64) -> Write {
    Write::Patch {
        resource: Resource::new("apps", "v1", "controllerrevisions"),
        namespace: revision.metadata.namespace.clone().unwrap_or_default(),
        name: revision.metadata.name.clone().unwrap_or_default(),
        subresource: String::new(),
        format: PatchFormat::Merge,
        patch: json!({"revision": number}).to_string().into(),
    }
}
