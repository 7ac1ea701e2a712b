//! May they: the one place that every request passes.

use std::sync::Arc;

use http::Method;
use model::{FieldSelector, Status};

use super::request_info::Action;
use super::resources::Asked;
use super::routes::starting;
use crate::authorization::{Attributes, On, Resource, is_master};
use crate::registry::Registry;
use crate::verbs::Identity;

/// What everybody may read, known or not, whatever the roles say: else nobody could see why nothing works.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Whether nobody in particular may ask for this path.
pub fn is_public(path: &str) -> bool {
    let below =
        |place: &&str| path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    PUBLIC.iter().any(below)
}

/// 403 with the reason unless `identity` may do that.
pub async fn authorize(
    registry: Option<&Arc<Registry>>,
    identity: &Identity,
    wanted: &Attributes<'_>,
) -> Result<(), Status> {
    match (wanted.on, registry) {
        _ if is_master(identity) => Ok(()),
        (On::Path(path), _) if wanted.verb == "get" && is_public(path) => Ok(()),
        (_, Some(registry)) => registry.authorizer().authorize(identity, wanted).await,
        // Nobody else has any rights before there are roles to read.
        (_, None) => Err(starting()),
    }
}

/// The same for a request about a path.
pub async fn path(
    registry: Option<&Arc<Registry>>,
    identity: &Identity,
    method: &Method,
    path: &str,
) -> Result<(), Status> {
    let verb = match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "other",
    };
    authorize(registry, identity, &Attributes::path(verb, path)).await
}

/// The same for a request about objects.
pub async fn objects(
    registry: Option<&Arc<Registry>>,
    identity: &Identity,
    asked: &Asked,
) -> Result<(), Status> {
    let name = named_by_selector(asked);
    let resource = resource(asked, name.as_deref());
    authorize(registry, identity, &Attributes::resource(asked.action.as_str(), resource)).await?;
    if asked.action == Action::Get && matches!(resource.subresource, "exec" | "attach" | "portforward") {
        // A WebSocket begins with a GET, and does no less than the POST that was there before it.
        authorize(registry, identity, &Attributes::resource("create", resource)).await?;
    }
    Ok(())
}

fn resource<'a>(asked: &'a Asked, selected: Option<&'a str>) -> Resource<'a> {
    let path = &asked.path;
    // A namespace is in itself, so that its own roles can speak of it.
    let is_namespace = path.group.is_empty() && path.resource == "namespaces";
    Resource {
        group: &path.group,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: if is_namespace { &path.name } else { &path.namespace },
        name: selected.unwrap_or(&path.name),
    }
}

/// A list or watch of the one object that the selector names is about that object.
fn named_by_selector(asked: &Asked) -> Option<String> {
    let is_of_many = matches!(asked.action, Action::List | Action::Watch | Action::DeleteCollection);
    let text = asked.query.first("fieldSelector").filter(|_| is_of_many && asked.path.name.is_empty())?;
    FieldSelector::parse(text).ok()?.exact("metadata.name").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::negotiate::PLAIN;
    use super::super::query::Query;
    use super::super::request_info::ResourcePath;
    use super::*;
    use crate::http::authenticate::anonymous;

    fn asked(method: &Method, path: &str, query: &str) -> Asked {
        let (path, query) = (ResourcePath::parse(path).unwrap(), Query::parse(Some(query)));
        Asked { action: path.action(method, &query).unwrap(), path, query, output: PLAIN }
    }

    #[tokio::test]
    async fn only_health_and_version_are_for_everybody() {
        for (path, expected) in [
            ("/healthz", true),
            ("/readyz/ping", true),
            ("/version", true),
            ("/versions", false),
            ("/apis", false),
            ("/metrics", false),
        ] {
            assert_eq!(is_public(path), expected, "{path}");
        }
        let nobody = anonymous();
        let ask = async |method: Method, wanted: &str| path(None, &nobody, &method, wanted).await;
        assert_eq!(ask(Method::GET, "/livez").await, Ok(()));
        assert_eq!(ask(Method::GET, "/apis").await.unwrap_err().code(), 503);
        assert_eq!(ask(Method::POST, "/livez").await.unwrap_err().code(), 503);
    }

    #[test]
    fn a_selector_by_name_is_about_that_object_and_a_namespace_is_in_itself() {
        let named = |method: &Method, path: &str, query: &str| {
            let asked = asked(method, path, query);
            let selected = named_by_selector(&asked);
            let found = resource(&asked, selected.as_deref());
            (found.namespace.to_owned(), found.name.to_owned())
        };
        let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let pods = "/api/v1/namespaces/a/pods";
        assert_eq!(named(&Method::GET, pods, "fieldSelector=metadata.name%3Dx"), pair("a", "x"));
        assert_eq!(named(&Method::GET, pods, "fieldSelector=spec.nodeName%3Dx"), pair("a", ""));
        assert_eq!(named(&Method::GET, "/api/v1/namespaces/a/pods/b", ""), pair("a", "b"));
        assert_eq!(named(&Method::GET, "/api/v1/namespaces/a", ""), pair("a", "a"));
        assert_eq!(named(&Method::GET, "/api/v1/namespaces", ""), pair("", ""));
    }
}
