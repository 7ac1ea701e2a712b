//! Names of stored things. The only place that formats or takes apart a key.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of one stored object: `<group>/<resource>/<namespace>/<name>`.
///
/// The core group is spelled `core`; the namespace of a cluster-scoped object is empty
/// (`core/nodes//node-1`). Kubernetes names contain no slash, so the parts are unambiguous.
/// Keys sort by collection, then namespace, then name, which is the order of a list.
/// A fence key is `fence/<role>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

/// The part of the log that a key's writes go to; a reader may follow some classes and not others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Pods: most of all writes.
    Pods,
    /// Nodes.
    Nodes,
    /// Secrets: nobody follows them who need not.
    Secrets,
    /// Every other object.
    Rest,
    /// Events: a log of their own with an age limit.
    Events,
}

// === impl Key ===

impl Key {
    /// The key of an object. `group` is empty for the core group, `namespace` for cluster scope.
    pub fn object(group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        let group = if group.is_empty() { "core" } else { group };
        Key(format!("{group}/{resource}/{namespace}/{name}").into())
    }

    /// The key that a leader of `role` holds: `fence/<role>`. A fence guards transactions of one class and lives in it:
    /// the role of one that guards pods is spelled `pods/<role>` (`Key::fence("pods/binder")`).
    pub fn fence(role: &str) -> Self {
        Key(format!("fence/{role}").into())
    }

    /// The prefix of every key of a collection: `core/pods/`, or `core/pods/default/` with a namespace.
    pub fn prefix(group: &str, resource: &str, namespace: Option<&str>) -> String {
        let group = if group.is_empty() { "core" } else { group };
        match namespace {
            Some(namespace) => format!("{group}/{resource}/{namespace}/"),
            None => format!("{group}/{resource}/"),
        }
    }

    /// A key as it was read from the log.
    pub fn from_raw(raw: &str) -> Self {
        Key(raw.into())
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        match self.part(0) {
            "core" => "",
            group => group,
        }
    }

    /// The plural resource name (`pods`), or a fence's role.
    pub fn resource(&self) -> &str {
        self.part(1)
    }

    /// The namespace, empty for cluster scope.
    pub fn namespace(&self) -> &str {
        self.part(2)
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.part(3)
    }

    /// `<group>/<resource>/`, the collection that the key is in.
    pub fn collection(&self) -> &str {
        let slash = self.0.match_indices('/').nth(1).map_or(self.0.len(), |(at, _)| at + 1);
        &self.0[..slash]
    }

    fn part(&self, index: usize) -> &str {
        self.0.splitn(4, '/').nth(index).unwrap_or("")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

// === impl Class ===

impl Class {
    /// Every class of the stream STATE (events have their own stream).
    pub const STATE: [Class; 4] = [Class::Pods, Class::Nodes, Class::Secrets, Class::Rest];

    /// The subject token: `state.<token>`.
    pub const fn token(self) -> &'static str {
        match self {
            Class::Pods => "pods",
            Class::Nodes => "nodes",
            Class::Secrets => "secrets",
            Class::Rest => "rest",
            Class::Events => "events",
        }
    }

    /// The class of that token.
    pub fn from_token(token: &str) -> Option<Class> {
        [Class::Pods, Class::Nodes, Class::Secrets, Class::Rest, Class::Events]
            .into_iter()
            .find(|class| class.token() == token)
    }

    /// The class that objects of a collection are written to. Both event groups share a class.
    pub fn of(group: &str, resource: &str) -> Class {
        match (group, resource) {
            ("" | "core", "pods") => Class::Pods,
            ("" | "core", "nodes") => Class::Nodes,
            ("" | "core", "secrets") => Class::Secrets,
            ("" | "core" | "events.k8s.io", "events") => Class::Events,
            _ => Class::Rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_its_parts() {
        let pod = Key::object("", "pods", "default", "redis");
        assert_eq!(pod.as_str(), "core/pods/default/redis");
        assert_eq!(
            (pod.group(), pod.resource(), pod.namespace(), pod.name()),
            ("", "pods", "default", "redis")
        );
        assert_eq!(pod.collection(), "core/pods/");
        let node = Key::object("", "nodes", "", "node-1.example");
        assert_eq!((node.namespace(), node.name()), ("", "node-1.example"));
        assert!(node.as_str().starts_with(&Key::prefix("", "nodes", Some(""))));
    }
}
