//! What a request is about, from its method, path and query alone.
//!
//! ```text
//!  /api/v1                             /pods
//!  /apis/apps/v1 /namespaces/default   /deployments /web /scale
//!  └ group, version ┘└ namespace ┘      resource     name subresource
//! ```

use http::Method;

use super::query::{self, Query};

/// A request for objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// Empty for the core group.
    pub group: String,
    /// As `v1`.
    pub version: String,
    /// Empty for cluster scope and for all namespaces.
    pub namespace: String,
    /// Plural.
    pub resource: String,
    /// Empty for the collection.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// What follows the subresource, as `proxy` has it.
    pub rest: String,
    /// The deprecated way to ask for a watch: `/api/v1/watch/…`.
    pub watch_prefix: bool,
}

/// What is to be done with objects: the verbs of authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// GET of an object or subresource.
    Get,
    /// GET of a collection.
    List,
    /// GET of a collection with `watch`.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of an object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
}

/// Subresources of a namespace; any other third segment is a collection in the namespace.
const OF_NAMESPACES: [&str; 2] = ["status", "finalize"];

// === impl ResourcePath ===

impl ResourcePath {
    /// Takes a path apart; `None` when it names no collection or object: discovery, health, unknown places.
    pub fn parse(path: &str) -> Option<ResourcePath> {
        let segments: Vec<String> =
            path.trim_matches('/').split('/').map(|segment| query::decode(segment, false)).collect();
        let mut segments = segments.iter().map(String::as_str).peekable();
        let mut found = ResourcePath::default();
        match segments.next()? {
            "api" => {}
            "apis" => found.group = segments.next()?.to_owned(),
            _ => return None,
        }
        found.version = segments.next()?.to_owned();
        if segments.next_if_eq(&"watch").is_some() {
            found.watch_prefix = true;
        }
        let rest: Vec<&str> = segments.collect();
        let rest = match rest.as_slice() {
            ["namespaces", namespace, third, ..] if !OF_NAMESPACES.contains(third) => {
                found.namespace = (*namespace).to_owned();
                &rest[2..]
            }
            _ => rest.as_slice(),
        };
        let (resource, rest) = rest.split_first()?;
        found.resource = (*resource).to_owned();
        if let Some((name, rest)) = rest.split_first() {
            found.name = (*name).to_owned();
            if let Some((subresource, rest)) = rest.split_first() {
                found.subresource = (*subresource).to_owned();
                found.rest = rest.join("/");
            }
        }
        // An empty segment names nothing: `//`.
        let named = !found.version.is_empty() && !found.resource.is_empty();
        (named && (path.starts_with("/api/") || !found.group.is_empty())).then_some(found)
    }

    /// Whether it is a part of a pod that is a stream, with forms of its own.
    pub fn is_stream(&self) -> bool {
        let of_pods = self.group.is_empty() && self.resource == "pods";
        of_pods && matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "log")
    }

    /// The verb; `None` for a method that no resource has.
    pub fn action(&self, method: &Method, query: &Query) -> Option<Action> {
        let watches = self.watch_prefix || query.flag("watch").unwrap_or(false);
        Some(match *method {
            Method::GET | Method::HEAD if self.watch_prefix => Action::Watch,
            Method::GET | Method::HEAD if !self.name.is_empty() => Action::Get,
            Method::GET | Method::HEAD if watches => Action::Watch,
            Method::GET | Method::HEAD => Action::List,
            Method::POST => Action::Create,
            Method::PUT => Action::Update,
            Method::PATCH => Action::Patch,
            Method::DELETE if self.name.is_empty() => Action::DeleteCollection,
            Method::DELETE => Action::Delete,
            _ => return None,
        })
    }
}

// === impl Action ===

impl Action {
    /// As authorization, audit and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::List => "list",
            Action::Watch => "watch",
            Action::Create => "create",
            Action::Update => "update",
            Action::Patch => "patch",
            Action::Delete => "delete",
            Action::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes anything.
    pub const fn mutates(self) -> bool {
        !matches!(self, Action::Get | Action::List | Action::Watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        // path → group, version, namespace, resource, name, subresource, rest, watch
        let cases = [
            ("/api/v1/pods", "/v1//pods///"),
            ("/api/v1/pods/", "/v1//pods///"),
            ("/api/v1/namespaces", "/v1//namespaces///"),
            ("/api/v1/namespaces/a", "/v1//namespaces/a//"),
            ("/api/v1/namespaces/a/status", "/v1//namespaces/a/status/"),
            ("/api/v1/namespaces/a/finalize", "/v1//namespaces/a/finalize/"),
            ("/api/v1/namespaces/a/pods", "/v1/a/pods///"),
            ("/api/v1/namespaces/a/pods/b", "/v1/a/pods/b//"),
            ("/api/v1/namespaces/a/pods/b/exec", "/v1/a/pods/b/exec/"),
            ("/api/v1/namespaces/a/services/b/proxy/c/d", "/v1/a/services/b/proxy/c/d"),
            ("/api/v1/nodes/n.example", "/v1//nodes/n.example//"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "apps/v1/a/deployments/b/scale/"),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin",
                "rbac.authorization.k8s.io/v1//clusterroles/system:admin//",
            ),
            ("/api/v1/watch/pods", "/v1//pods/// watch"),
            ("/api/v1/watch/namespaces/a/pods/b", "/v1/a/pods/b// watch"),
        ];
        for (path, expected) in cases {
            let p = ResourcePath::parse(path).unwrap_or_else(|| panic!("{path}"));
            let parts =
                [p.group, p.version, p.namespace, p.resource, p.name, p.subresource, p.rest].join("/");
            assert_eq!(format!("{parts}{}", if p.watch_prefix { " watch" } else { "" }), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_name_no_resource() {
        for path in [
            "/",
            "",
            "/api",
            "/api/",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/version",
            "/healthz/ping",
            "/api//pods",
            "/apis//v1/pods",
            "/openapi/v3/apis/apps/v1",
        ] {
            assert_eq!(ResourcePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn the_verb_follows_from_method_path_and_query() {
        let cases = [
            ("GET", "/api/v1/pods", "", Some(Action::List)),
            ("GET", "/api/v1/pods", "watch=1", Some(Action::Watch)),
            ("GET", "/api/v1/pods", "watch=false", Some(Action::List)),
            ("GET", "/api/v1/watch/pods", "", Some(Action::Watch)),
            ("GET", "/api/v1/watch/namespaces/a/pods/b", "", Some(Action::Watch)),
            ("GET", "/api/v1/namespaces/a/pods/b", "", Some(Action::Get)),
            ("GET", "/api/v1/namespaces/a/pods/b", "watch=true", Some(Action::Get)),
            ("HEAD", "/api/v1/namespaces/a/pods/b", "", Some(Action::Get)),
            ("POST", "/api/v1/namespaces/a/pods", "", Some(Action::Create)),
            ("PUT", "/api/v1/namespaces/a/pods/b", "", Some(Action::Update)),
            ("PATCH", "/api/v1/namespaces/a/pods/b", "", Some(Action::Patch)),
            ("DELETE", "/api/v1/namespaces/a/pods/b", "", Some(Action::Delete)),
            ("DELETE", "/api/v1/namespaces/a/pods", "", Some(Action::DeleteCollection)),
            ("TRACE", "/api/v1/namespaces/a/pods", "", None),
        ];
        for (method, path, query, expected) in cases {
            let found = ResourcePath::parse(path).unwrap();
            let method: Method = method.parse().unwrap();
            assert_eq!(
                found.action(&method, &Query::parse(Some(query))),
                expected,
                "{method} {path}?{query}"
            );
        }
    }
}
