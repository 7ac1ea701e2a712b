//! What somebody wants to do.

use model::{Reason, Status};

/// A verb and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, …, also `bind`, `escalate`, `impersonate`; for a path the HTTP method in small letters.
    pub verb: &'a str,
    /// About what.
    pub on: On<'a>,
}

/// What a verb is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On<'a> {
    /// Objects.
    Resource(Resource<'a>),
    /// Anything else that has a path.
    Path(&'a str),
}

/// An object, a collection, or a part of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster scope and for all namespaces.
    pub namespace: &'a str,
    /// Empty for the collection.
    pub name: &'a str,
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// A verb on objects.
    pub fn resource(verb: &'a str, resource: Resource<'a>) -> Self {
        Attributes { verb, on: On::Resource(resource) }
    }

    /// A verb on a path.
    pub fn path(verb: &'a str, path: &'a str) -> Self {
        Attributes { verb, on: On::Path(path) }
    }

    /// The namespace, empty for everything that is in none.
    pub fn namespace(&self) -> &'a str {
        match self.on {
            On::Resource(resource) => resource.namespace,
            On::Path(_) => "",
        }
    }

    /// 403 in upstream's words; `reason` may be empty.
    pub fn refused(&self, user: &str, reason: &str) -> Status {
        let verb = self.verb;
        let mut status = match &self.on {
            On::Path(path) => Status::new(
                Reason::Forbidden,
                format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
            ),
            On::Resource(Resource { group, resource, subresource, namespace, name }) => {
                let shown = match *subresource {
                    "" => (*resource).to_owned(),
                    subresource => format!("{resource}/{subresource}"),
                };
                let place = match *namespace {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                let why =
                    format!("User {user:?} cannot {verb} resource {shown:?} in API group {group:?} {place}");
                Status::forbidden(group, resource, name, &why)
            }
        };
        if !reason.is_empty() {
            status.message = format!("{}: {reason}", status.message);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_upstream_words_it() {
        let pods = Resource { resource: "pods", namespace: "default", ..Resource::default() };
        let logs = Resource { subresource: "log", name: "a", ..pods };
        let deployments = Resource { group: "apps", resource: "deployments", ..Resource::default() };
        let cases = [
            (
                Attributes::resource("list", pods),
                "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
            ),
            (
                Attributes::resource("get", logs),
                "pods \"a\" is forbidden: User \"jane\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\"",
            ),
            (
                Attributes::resource("list", deployments),
                "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope",
            ),
            (Attributes::path("get", "/metrics"), "forbidden: User \"jane\" cannot get path \"/metrics\""),
        ];
        for (wanted, expected) in cases {
            assert_eq!(wanted.refused("jane", "").message, expected);
        }
        let why = "RBAC: role.rbac.authorization.k8s.io \"r\" not found";
        let refused = Attributes::path("get", "/x").refused("jane", why);
        assert_eq!(refused.message, format!("forbidden: User \"jane\" cannot get path \"/x\": {why}"));
    }
}
