//! Every object as the log has it, and how it was just before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Key, Revision};
use serde_json::Value;
use store::Change;

/// The objects at one place in the log.
#[derive(Default)]
pub struct View {
    objects: BTreeMap<String, (Revision, Arc<Value>)>,
    /// Where this is.
    pub revision: Revision,
}

/// One change.
pub struct Step {
    /// Virtual time.
    pub now: Duration,
    /// Of this object.
    pub key: Key,
    /// Its place in the log.
    pub revision: Revision,
    /// The revision that the object had.
    pub replaced: Option<Revision>,
    /// As it was.
    pub before: Option<Arc<Value>>,
    /// As it is.
    pub after: Option<Arc<Value>>,
}

// === impl View ===

impl View {
    /// Takes in a change.
    pub fn take(&mut self, change: &Change, now: Duration) -> Step {
        let (key, revision, after) = match change {
            Change::Put { item, .. } => {
                let value: Value = serde_json::from_slice(&item.value).unwrap_or_default();
                (item.key.clone(), item.revision, Some(Arc::new(value)))
            }
            Change::Delete { key, revision, .. } => (key.clone(), *revision, None),
        };
        let old = match &after {
            Some(value) => self.objects.insert(key.as_str().to_owned(), (revision, value.clone())),
            None => self.objects.remove(key.as_str()),
        };
        self.revision = self.revision.max(revision);
        let (replaced, before) = old.unzip();
        Step { now, key, revision, replaced, before, after }
    }

    /// Everything, by key.
    pub fn all(&self) -> impl Iterator<Item = (&str, Revision, &Value)> {
        self.objects.iter().map(|(key, (revision, value))| (key.as_str(), *revision, &**value))
    }

    /// Objects whose key begins with `prefix`, as `apps/deployments/`.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let from = self.objects.range(prefix.to_owned()..);
        from.take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (_, value))| (key.as_str(), &**value))
    }

    /// One object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.objects.get(key).map(|(_, value)| &**value)
    }

    /// What the object with this uid owns as its controller, of one collection in its namespace.
    pub fn owned<'a>(&'a self, collection: &str, owner: &Value) -> Vec<(&'a str, &'a Value)> {
        let prefix = format!("{collection}/{}/", text(owner, &["metadata", "namespace"]));
        let uid = text(owner, &["metadata", "uid"]).to_owned();
        let from = self.objects.range(prefix.clone()..);
        from.take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, (_, value))| (key.as_str(), &**value))
            .filter(|(_, value)| controller(value).is_some_and(|one| one["uid"] == *uid))
            .collect()
    }
}

// === impl Step ===

impl Step {
    /// Whether it is about an object of this collection, as `core/pods`.
    pub fn is_of(&self, collection: &str) -> bool {
        self.key.as_str().strip_prefix(collection).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The object that came to be, if this is how.
    pub fn created(&self) -> Option<&Value> {
        let is_new = match (&self.before, &self.after) {
            (None, _) => true,
            (Some(before), Some(after)) => uid(before) != uid(after),
            _ => false,
        };
        self.after.as_deref().filter(|_| is_new)
    }

    /// The object that somebody asked to go with this step, as it was before; also if it went at once.
    pub fn condemned(&self) -> Option<&Value> {
        let before = self.before.as_deref().filter(|before| !is_going(before))?;
        self.after.as_deref().is_none_or(is_going).then_some(before)
    }
}

/// Text somewhere in an object; empty if there is none.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// A number somewhere in an object.
pub fn number(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, step| value.get(step))
}

/// `metadata.uid`
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `metadata.name`
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// Whether somebody asked it to go.
pub fn is_going(object: &Value) -> bool {
    !text(object, &["metadata", "deletionTimestamp"]).is_empty()
}

/// The owner that controls it.
pub fn controller(object: &Value) -> Option<&Value> {
    owners(object).find(|owner| owner["controller"] == true)
}

/// Every owner.
pub fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    at(object, &["metadata", "ownerReferences"]).and_then(Value::as_array).into_iter().flatten()
}

/// Whether a pod has ended.
pub fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Whether a pod counts: neither ended nor going.
pub fn is_active(pod: &Value) -> bool {
    !has_ended(pod) && !is_going(pod)
}

/// Whether a condition is `True`.
pub fn has_condition(object: &Value, type_: &str) -> bool {
    let conditions = at(object, &["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == type_ && one["status"] == "True")
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Value) -> bool {
    is_active(pod) && has_condition(pod, "Ready")
}

/// Whether a node drives pods away.
pub fn drives_away(node: &Value) -> bool {
    let taints = at(node, &["spec", "taints"]).and_then(Value::as_array);
    taints.into_iter().flatten().any(|taint| taint["effect"] == "NoExecute")
}

/// What matters of an object, for who reads a trace.
pub fn gist(object: &Value) -> String {
    let count = |path: &[&str]| number(object, path).map_or("-".to_owned(), |count| count.to_string());
    let mut gist = match text(object, &["kind"]) {
        "Pod" => {
            let ready = if has_condition(object, "Ready") { " ready" } else { "" };
            format!(
                "{}{ready} on {:?} {}",
                text(object, &["status", "phase"]),
                text(object, &["spec", "nodeName"]),
                uid(object)
            )
        }
        "Node" => {
            let ready = if has_condition(object, "Ready") { "ready" } else { "not ready" };
            format!("{ready}, taints {}", at(object, &["spec", "taints"]).unwrap_or(&Value::Null))
        }
        "Deployment" | "ReplicaSet" | "StatefulSet" => format!(
            "wants {} generation {} observed {} replicas {} ready {} available {}{}",
            count(&["spec", "replicas"]),
            count(&["metadata", "generation"]),
            count(&["status", "observedGeneration"]),
            count(&["status", "replicas"]),
            count(&["status", "readyReplicas"]),
            count(&["status", "availableReplicas"]),
            if object["spec"]["paused"] == true { " paused" } else { "" },
        ),
        "Job" => object["status"].to_string(),
        _ => String::new(),
    };
    if is_going(object) {
        gist.push_str(" going");
    }
    gist
}
