//! May they: the one place that every request passes. Who may do what beyond the administrators is the business of
//! role-based access control, which takes its place here.

use model::{Reason, Status};

use super::authenticate::UNAUTHENTICATED;
use super::kubeconfig::MASTERS;
use super::request_info::{Action, ResourcePath};
use crate::verbs::Identity;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Attributes<'a> {
    /// Something with objects.
    Resource(Action, &'a ResourcePath),
    /// Something else, as a verb and a path.
    Path(&'a str, &'a str),
}

/// What everybody may read, known or not.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// What everybody whom we know may read: what the API is, not what is in it.
const DISCOVERY: [&str; 3] = ["/api", "/apis", "/openapi"];

/// Whether nobody in particular may ask for this path.
pub fn is_public(path: &str) -> bool {
    within(&PUBLIC, path)
}

/// 403 with the reason unless `identity` may do that.
pub fn authorize(identity: &Identity, wanted: Attributes<'_>) -> Result<(), Status> {
    let is_in = |group: &str| identity.groups.iter().any(|one| one == group);
    let allowed = match wanted {
        _ if is_in(MASTERS) => true,
        Attributes::Path("get", path) if is_public(path) => true,
        Attributes::Path("get", path) => !is_in(UNAUTHENTICATED) && within(&DISCOVERY, path),
        Attributes::Path(..) | Attributes::Resource(..) => false,
    };
    if allowed { Ok(()) } else { Err(refusal(&identity.user, wanted)) }
}

fn within(places: &[&str], path: &str) -> bool {
    let below =
        |place: &&str| path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    places.iter().any(below)
}

fn refusal(user: &str, wanted: Attributes<'_>) -> Status {
    match wanted {
        Attributes::Path(verb, path) => {
            Status::new(Reason::Forbidden, format!("forbidden: User {user:?} cannot {verb} path {path:?}"))
        }
        Attributes::Resource(action, path) => {
            let resource = match path.subresource.as_str() {
                "" => path.resource.clone(),
                subresource => format!("{}/{subresource}", path.resource),
            };
            let place = match path.namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let (verb, group) = (action.as_str(), &path.group);
            let why =
                format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
            Status::forbidden(&path.group, &path.resource, &path.name, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::authenticate::{AUTHENTICATED, anonymous};

    fn user(group: &str) -> Identity {
        Identity { user: "jane".to_owned(), groups: vec![group.to_owned()], ..Identity::default() }
    }

    #[test]
    fn administrators_may_do_everything_and_others_only_look_at_what_the_api_is() {
        let pods = ResourcePath::parse("/api/v1/namespaces/default/pods/a/log").unwrap();
        let cases = [
            (user(MASTERS), Attributes::Resource(Action::Delete, &pods), true),
            (user(MASTERS), Attributes::Path("get", "/metrics"), true),
            (user(AUTHENTICATED), Attributes::Path("get", "/openapi/v3/api/v1"), true),
            (user(AUTHENTICATED), Attributes::Path("get", "/apis"), true),
            (user(AUTHENTICATED), Attributes::Path("get", "/apisx"), false),
            (user(AUTHENTICATED), Attributes::Path("get", "/metrics"), false),
            (user(AUTHENTICATED), Attributes::Resource(Action::Get, &pods), false),
            (anonymous(), Attributes::Path("get", "/readyz/ping"), true),
            (anonymous(), Attributes::Path("get", "/apis"), false),
        ];
        for (identity, wanted, expected) in cases {
            assert_eq!(authorize(&identity, wanted).is_ok(), expected, "{} {wanted:?}", identity.user);
        }
    }

    #[test]
    fn a_refusal_reads_as_upstream_words_it() {
        let log = ResourcePath::parse("/api/v1/namespaces/default/pods/a/log").unwrap();
        let refused = authorize(&user("dev"), Attributes::Resource(Action::Get, &log)).unwrap_err();
        assert_eq!(
            refused.message,
            "pods \"a\" is forbidden: User \"jane\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"default\""
        );
        let roles = ResourcePath::parse("/apis/apps/v1/deployments").unwrap();
        let refused = authorize(&user("dev"), Attributes::Resource(Action::List, &roles)).unwrap_err();
        assert_eq!(
            refused.message,
            "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope"
        );
    }
}
