//! PURE: the templates that a set has had, kept as ControllerRevisions for `kubectl rollout history` and `undo`.
//!
//! ```text
//!  template ──means the same as──> a revision ──> nothing, or a new number when others came after it
//!      └───────as none───────────> a new revision, under the first name that nobody has
//! ```

use std::collections::BTreeMap;

use bus::command::{PatchFormat, Resource, Write};
use k8s_openapi::api::apps::v1::ControllerRevision;
use model::{Key, template};
use serde_json::{Value, json};

use crate::ownership::controller_reference;

/// Revisions that are kept beyond those in use, unless the set says otherwise: upstream's default.
const LIMIT_DEFAULT: usize = 10;
/// More revisions than this with names that another set's have taken would not be chance.
const COLLISIONS_MAX: i32 = 100;

/// What has a template, as far as its revisions need it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Its kind, of `apps/v1`.
    pub kind: &'static str,
    /// `metadata.uid`
    pub uid: &'a str,
    /// `metadata.annotations`: what a revision was made for is told by them.
    pub annotations: &'a BTreeMap<String, String>,
    /// `spec.template`
    pub template: &'a Value,
    /// `status.collisionCount`
    pub collisions: Option<i32>,
    /// The label in which a revision keeps its hash.
    pub hash_label: &'static str,
}

/// The revision of a set's present template.
#[derive(Debug)]
pub struct Present<'a> {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// The stored revisions that mean this template: more than one if somebody made a copy.
    pub same: Vec<&'a ControllerRevision>,
    /// What makes it the newest one, if it is not.
    pub write: Option<Write>,
    /// `status.collisionCount` that the name was made with.
    pub collisions: Option<i32>,
}

// === impl Subject ===

impl Subject<'_> {
    /// Finds the template's revision among those that are `known`, or makes one under a name that is not `taken`.
    pub fn present<'r>(&self, known: &[&'r ControllerRevision], taken: &dyn Fn(&str) -> bool) -> Present<'r> {
        let data = self.data();
        let newest = known.iter().map(|revision| revision.revision).max().unwrap_or(0);
        let means_it = |one: &&&ControllerRevision| {
            one.data.as_ref().is_some_and(|stored| template::same(&stored.0, &data))
        };
        let same: Vec<&ControllerRevision> = known.iter().filter(means_it).copied().collect();
        if let Some(found) = same.iter().max_by_key(|revision| revision.revision) {
            let write = (found.revision < newest).then(|| renumber(found, newest + 1));
            let hash = hash(found, self.hash_label).to_owned();
            return Present { name: name(found).to_owned(), hash, write, collisions: self.collisions, same };
        }
        let (name, hash, collisions) = self.free_name(taken);
        let write = Some(self.create(&name, &hash, &data, newest + 1));
        Present { name, hash, same, write, collisions }
    }

    fn free_name(&self, taken: &dyn Fn(&str) -> bool) -> (String, String, Option<i32>) {
        let mut collisions = self.collisions;
        loop {
            let hash = template::hash(self.template, collisions);
            let name = format!("{}-{hash}", self.key.name());
            if !taken(&name) || collisions >= Some(COLLISIONS_MAX) {
                return (name, hash, collisions);
            }
            collisions = Some(collisions.unwrap_or(0) + 1);
        }
    }

    /// What a revision keeps: a patch that puts the template back, as `kubectl rollout undo` applies it.
    fn data(&self) -> Value {
        let mut template = self.template.clone();
        template["$patch"] = json!("replace");
        json!({"spec": {"template": template}})
    }

    fn create(&self, name: &str, hash: &str, data: &Value, number: i64) -> Write {
        let mut labels = self.template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        labels[self.hash_label] = json!(hash);
        let object = json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {
                "name": name, "namespace": self.key.namespace(), "labels": labels,
                "annotations": self.annotations,
                "ownerReferences": [controller_reference("apps/v1", self.kind, self.key.name(), self.uid)],
            },
            "data": data, "revision": number,
        });
        Write::Create {
            resource: resource(),
            namespace: self.key.namespace().to_owned(),
            object: object.to_string().into(),
        }
    }
}

/// The revisions that nothing needs any longer: those beyond the history limit, the oldest first. `known` is in the
/// order of their numbers.
pub fn superfluous<'a>(
    known: &[&'a ControllerRevision],
    needed: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Vec<&'a ControllerRevision> {
    let history: Vec<&ControllerRevision> = known.iter().copied().filter(|one| !needed(one)).collect();
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT_DEFAULT);
    history[..history.len().saturating_sub(limit)].to_vec()
}

/// The template that a revision keeps.
pub fn template_of(revision: &ControllerRevision) -> Option<Value> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

/// A revision's name.
pub fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// The hash in a revision's label.
pub fn hash<'a>(revision: &'a ControllerRevision, label: &str) -> &'a str {
    revision.metadata.labels.as_ref().and_then(|labels| labels.get(label)).map_or("", String::as_str)
}

/// The write that deletes a revision.
pub fn delete(revision: &ControllerRevision) -> Write {
    Write::Delete {
        resource: resource(),
        namespace: revision.metadata.namespace.clone().unwrap_or_default(),
        name: name(revision).to_owned(),
        options: json!({"preconditions": {"uid": revision.metadata.uid}}).to_string().into(),
    }
}

/// The write that changes a revision.
pub fn patch(revision: &ControllerRevision, format: PatchFormat, patch: &Value) -> Write {
    Write::Patch {
        resource: resource(),
        namespace: revision.metadata.namespace.clone().unwrap_or_default(),
        name: name(revision).to_owned(),
        subresource: String::new(),
        format,
        patch: patch.to_string().into(),
    }
}

fn renumber(revision: &ControllerRevision, number: i64) -> Write {
    patch(
        revision,
        PatchFormat::Merge,
        &json!({"metadata": {"uid": revision.metadata.uid}, "revision": number}),
    )
}

fn resource() -> Resource {
    Resource::new("apps", "v1", "controllerrevisions")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: &str = "controller-revision-hash";

    fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
    }

    fn present<'r>(
        image: &str,
        known: &'r [ControllerRevision],
        taken: &dyn Fn(&str) -> bool,
    ) -> Present<'r> {
        let key = Key::object("apps", "daemonsets", "default", "agent");
        let annotations = BTreeMap::from([("kubernetes.io/change-cause".to_owned(), image.to_owned())]);
        let subject = Subject {
            key: &key,
            kind: "DaemonSet",
            uid: "u",
            annotations: &annotations,
            template: &template(image),
            collisions: None,
            hash_label: LABEL,
        };
        subject.present(&known.iter().collect::<Vec<_>>(), taken)
    }

    fn stored(write: Option<Write>) -> ControllerRevision {
        let Some(Write::Create { object, .. }) = write else { panic!("it is made: {write:?}") };
        serde_json::from_slice(&object).expect("a revision")
    }

    fn numbered(image: &str, number: i64) -> ControllerRevision {
        ControllerRevision { revision: number, ..stored(present(image, &[], &|_| false).write) }
    }

    #[test]
    fn a_new_template_is_kept_with_what_it_was_made_for() {
        let revision = stored(present("v1", &[], &|_| false).write);
        assert_eq!(revision.revision, 1);
        assert_eq!(name(&revision), format!("agent-{}", hash(&revision, LABEL)));
        assert_eq!(template_of(&revision), Some(template("v1")));
        let metadata = &revision.metadata;
        assert_eq!(
            metadata.annotations.as_ref().and_then(|all| all.get("kubernetes.io/change-cause")),
            Some(&"v1".to_owned())
        );
        assert_eq!(metadata.labels.as_ref().and_then(|labels| labels.get("app")), Some(&"a".to_owned()));
    }

    #[test]
    fn a_template_that_comes_back_is_the_newest_again_and_keeps_its_name() {
        let known = [numbered("v1", 1), numbered("v2", 2)];
        let present = present("v1", &known, &|_| false);
        assert_eq!(present.name, name(&known[0]));
        let Some(Write::Patch { name: patched, patch, .. }) = present.write else { panic!("renumbered") };
        assert_eq!(patched, name(&known[0]));
        assert!(String::from_utf8_lossy(&patch).contains(r#""revision":3"#), "{patch:?}");
        assert!(self::present("v2", &known, &|_| false).write.is_none(), "the newest needs nothing");
    }

    #[test]
    fn a_name_that_another_has_is_passed_over_and_counted() {
        let first = present("v1", &[], &|_| false);
        let second = present("v1", &[], &|name| name == first.name);
        assert_ne!(second.name, first.name);
        assert_eq!((first.collisions, second.collisions), (None, Some(1)));
    }

    #[test]
    fn history_beyond_the_limit_goes_but_nothing_that_is_needed() {
        let known: Vec<_> = (1..=5).map(|number| numbered(&format!("v{number}"), number)).collect();
        let known: Vec<_> = known.iter().collect();
        let gone = superfluous(&known, |one| [1, 5].contains(&one.revision), Some(2));
        assert_eq!(gone.iter().map(|one| one.revision).collect::<Vec<_>>(), [2]);
        assert!(superfluous(&known, |_| false, None).is_empty());
    }
}
