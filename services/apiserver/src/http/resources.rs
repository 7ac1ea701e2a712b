//! Requests for objects: from path, method, query and body to a verb, and from its result to a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use kinds::{Column, Kind, Subresource, Verb};
use model::{Reason, Status};
use rand::Rng;

use super::body::Body;
use super::codec::{self, Expected};
use super::list_body::{Items, ListChunks};
use super::metrics::{Gauged, Labels};
use super::negotiate::{Format, Output, View};
use super::query::Query;
use super::request_info::{Action, ResourcePath};
use super::state::State;
use super::watch_body::{self, Shown};
use super::{options, respond};
use crate::discovery::table::{self, Rows};
use crate::registry::Registry;
use crate::streams;
use crate::verbs::{self, Context, DeleteOptions, Deleted, ListResult, Stored, Target};

/// A request for objects, as far as it is understood without its body.
#[derive(Debug)]
pub struct Asked {
    /// Which objects.
    pub path: ResourcePath,
    /// What to do with them.
    pub action: Action,
    /// The parameters.
    pub query: Query,
    /// The form of the answer.
    pub output: Output,
}

/// A watch longer than this is cut, whatever the client asks.
const WATCH_MAX: Duration = Duration::from_secs(24 * 3600);

/// Serves a request that was authorized.
pub async fn serve(
    state: &Arc<State>,
    registry: &Arc<Registry>,
    context: &Context,
    asked: &Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let kind = registry.find_kind(&asked.path.group, &asked.path.version, &asked.path.resource).await?;
    let response = answer(state, registry, context, asked, request).await?;
    let deprecation = kind.as_ref().and_then(|kind| kind.custom.as_ref()?.deprecation());
    Ok(respond::with_warnings(response, &Vec::from_iter(deprecation.map(str::to_owned))))
}

async fn answer(
    state: &Arc<State>,
    registry: &Arc<Registry>,
    context: &Context,
    asked: &Asked,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let target = target(registry, asked)?;
    if asked.path.is_stream() {
        let streams = state.streams().ok_or_else(no_streams)?;
        let Target { namespace, name, subresource, .. } = &target;
        return streams::handle(registry, streams, request, namespace, name, subresource).await;
    }
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let shows = Shows { target: &target, context, output: asked.output };
    match asked.action {
        Action::Get => {
            let stored = verbs::get(registry, context, &target, &options::get(&asked.query)).await?;
            Ok(shows.stored(stored))
        }
        Action::List => {
            let list = verbs::list(registry, context, &target, &options::list(&asked.query)?).await?;
            Ok(shows.list(list))
        }
        Action::Watch => watch(state, registry, context, asked, &target).await,
        Action::Create => {
            let options = options::write(&asked.query, headers, "CreateOptions")?;
            let body = object(registry, &target, headers, body).await?;
            Ok(shows.stored(verbs::create(registry, context, &target, body, &options).await?))
        }
        Action::Update => {
            let options = options::write(&asked.query, headers, "UpdateOptions")?;
            let body = object(registry, &target, headers, body).await?;
            Ok(shows.stored(verbs::update(registry, context, &target, body, &options).await?))
        }
        Action::Patch => {
            let patch = codec::patch(headers, codec::read(headers, body).await?)?;
            let options = options::patch(&asked.query, headers, patch.kind)?;
            Ok(shows.stored(verbs::patch(registry, context, &target, &patch, &options).await?))
        }
        Action::Delete => {
            let options = delete_options(registry, &asked.query, headers, body).await?;
            Ok(match verbs::delete(registry, context, &target, &options).await? {
                Deleted::Object(bytes) => shows.stored(Stored { object: bytes, ..Stored::default() }),
                Deleted::Status(bytes) => shows.verbatim(StatusCode::OK, bytes),
            })
        }
        Action::DeleteCollection => {
            let selection = options::list(&asked.query)?;
            let options = delete_options(registry, &asked.query, headers, body).await?;
            let deleted = verbs::delete_collection(registry, context, &target, &selection, &options).await?;
            Ok(shows.list(deleted))
        }
    }
}

/// 404 for a path that leads nowhere.
pub fn not_found() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

/// 405 for a method that the path does not have.
pub fn method_not_allowed() -> Status {
    Status::new(Reason::MethodNotAllowed, "the server does not allow this method on the requested resource")
}

/// 503 for a server that was started without a bus.
fn no_streams() -> Status {
    Status::unavailable("this server has no way to the nodes")
}

/// The row and the place that a request is about; refuses what the row does not have.
fn target(registry: &Registry, asked: &Asked) -> Result<Target, Status> {
    let path = &asked.path;
    let kind = registry.kind(&path.group, &path.version, &path.resource).ok_or_else(not_found)?;
    let subresource = match path.subresource.as_str() {
        "" => None,
        name => Some(kind.subresource(name).ok_or_else(not_found)?),
    };
    let allowed = subresource.map_or(kind.verbs, |subresource| subresource.verbs);
    if !is_place(&kind, path, asked.action) {
        return Err(not_found());
    }
    if !allowed.contains(verb(asked.action)) || !has_method(&kind, path, asked.action) {
        return Err(method_not_allowed());
    }
    // The deprecated way to watch one object names it in the path; it is a watch of the collection.
    let name = if asked.action == Action::Watch { "" } else { &path.name };
    Ok(Target::object(kind, &path.namespace, name).at(&path.subresource))
}

/// Whether the row's objects can be at such a path: a namespace where it has one, and none where not.
fn is_place(kind: &Kind, path: &ResourcePath, action: Action) -> bool {
    match (kind.namespaced, path.namespace.is_empty()) {
        (false, in_no_namespace) => in_no_namespace,
        (true, false) => true,
        (true, true) => path.name.is_empty() || action == Action::Watch,
    }
}

/// What a collection and an object can do: objects are made in a collection, and only in one namespace.
fn has_method(kind: &Kind, path: &ResourcePath, action: Action) -> bool {
    let everywhere = kind.namespaced && path.namespace.is_empty();
    match action {
        Action::Create => !everywhere && path.name.is_empty() == path.subresource.is_empty(),
        Action::DeleteCollection => !everywhere,
        Action::Update | Action::Patch => !path.name.is_empty(),
        Action::Get | Action::List | Action::Watch | Action::Delete => true,
    }
}

fn verb(action: Action) -> Verb {
    match action {
        Action::Get => Verb::Get,
        Action::List => Verb::List,
        Action::Watch => Verb::Watch,
        Action::Create => Verb::Create,
        Action::Update => Verb::Update,
        Action::Patch => Verb::Patch,
        Action::Delete => Verb::Delete,
        Action::DeleteCollection => Verb::DeleteCollection,
    }
}

async fn watch(
    state: &Arc<State>,
    registry: &Arc<Registry>,
    context: &Context,
    asked: &Asked,
    target: &Target,
) -> Result<Response<Body>, Status> {
    if asked.output.format == Format::Yaml {
        return Err(super::negotiate::not_acceptable("application/json"));
    }
    let timeout = timeout(&asked.query)?;
    let options = options::watch(&asked.query, &asked.path.name);
    let events = match verbs::watch(registry, context, target, &options).await {
        Ok(events) => events,
        // Clients of watches look for this one among the events.
        Err(expired) if expired.reason == Reason::Expired => {
            return Ok(respond::stream(watch_body::failed(&expired)));
        }
        Err(refused) => return Err(refused),
    };
    let shown = match asked.output.view {
        View::Whole => Shown::Whole,
        View::Metadata { version } => Shown::Metadata(version),
        View::Table { version, include } => {
            Shown::Rows(Box::new(Rows::of(&target.kind, context.now, version, include)))
        }
    };
    let counted = Gauged::new(&labels(asked, Some(registry)));
    Ok(respond::stream(watch_body::events(events, shown, timeout, state.shutdown.clone(), counted)))
}

/// When a watch ends: when the client says, else at random, so that not all come back at once.
fn timeout(query: &Query) -> Result<Duration, Status> {
    let seconds = query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(match seconds.filter(|seconds| *seconds > 0) {
        Some(seconds) => Duration::from_secs(seconds).min(WATCH_MAX),
        None => watch_body::TIMEOUT_LEAST.mul_f64(rand::rng().random_range(1.0..2.0)),
    })
}

async fn object(
    registry: &Registry,
    target: &Target,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<verbs::Body, Status> {
    let media = codec::media(headers)?;
    let bytes = codec::read(headers, body).await?;
    codec::object(registry.schemas(), media, bytes, expected(target)).await
}

/// The kind of a body: the subresource's own where it has one.
fn expected(target: &Target) -> Expected {
    match target.kind.subresource(&target.subresource) {
        Some(Subresource { group, version, kind, .. }) => Expected::new(group, version, kind),
        None => Expected::new(&target.kind.group, &target.kind.version, &target.kind.kind),
    }
}

async fn delete_options(
    registry: &Registry,
    query: &Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<DeleteOptions, Status> {
    let bytes = codec::read(headers, body).await?;
    if bytes.is_empty() {
        return options::delete(query);
    }
    match codec::delete_options(registry.schemas(), codec::media(headers)?, &bytes)? {
        Some(object) => DeleteOptions::from_object(&object),
        None => options::delete(query),
    }
}

/// What a request is about, for metrics. What there is not is left out: whoever asks must not be able to make
/// metrics without end.
pub fn labels(asked: &Asked, registry: Option<&Arc<Registry>>) -> Labels {
    let path = &asked.path;
    let verb = match asked.action {
        _ if path.is_stream() => "CONNECT".to_owned(),
        Action::Create => "POST".to_owned(),
        Action::Update => "PUT".to_owned(),
        other => other.as_str().to_ascii_uppercase(),
    };
    let kind = registry.and_then(|registry| registry.kind(&path.group, &path.version, &path.resource));
    let is_known =
        kind.is_some_and(|kind| path.subresource.is_empty() || kind.subresource(&path.subresource).is_some());
    if !is_known {
        return Labels { verb, ..Labels::default() };
    }
    let scope = match (path.name.is_empty(), path.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    };
    Labels {
        verb,
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.resource.clone(),
        subresource: path.subresource.clone(),
        scope,
    }
}

/// Turns results into responses in the form that was asked for.
struct Shows<'a> {
    target: &'a Target,
    context: &'a Context,
    output: Output,
}

// === impl Shows ===

impl Shows<'_> {
    fn stored(&self, stored: Stored) -> Response<Body> {
        let code = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
        let bytes = match self.output.view {
            View::Whole => stored.object,
            // Bindings and evictions are answered with a Status, which has no other view.
            _ if is_status(&stored.object) => stored.object,
            View::Metadata { version } => table::metadata_only(&stored.object, version),
            View::Table { version, include } => {
                self.rows(|kind, now| Rows::of(kind, now, version, include)).single(&stored.object, true)
            }
        };
        respond::with_warnings(self.verbatim(code, bytes), &stored.warnings)
    }

    fn list(&self, list: ListResult) -> Response<Body> {
        let items = match self.output.view {
            View::Whole => Items::Whole {
                kind: self.target.kind.list_kind(),
                api_version: self.target.kind.api_version(),
            },
            View::Metadata { version } => Items::Metadata(version),
            View::Table { version, include } => {
                Items::Rows(Box::new(self.rows(|kind, now| Rows::of(kind, now, version, include))))
            }
        };
        respond::list(ListChunks::new(list, items), self.output)
    }

    fn verbatim(&self, code: StatusCode, bytes: Bytes) -> Response<Body> {
        respond::json(code, bytes, self.output)
    }

    /// The kind's own columns; a subresource with a kind of its own (`scale`) has only name and age to show.
    fn rows(&self, of: impl FnOnce(&Kind, jiff::Timestamp) -> Rows) -> Rows {
        let kind = &self.target.kind;
        match kind.subresource(&self.target.subresource) {
            Some(own) if own.kind != kind.kind => {
                let plain = Kind { columns: vec![Column::name(), Column::age()], ..kind.as_ref().clone() };
                of(&plain, self.context.now)
            }
            _ => of(kind, self.context.now),
        }
    }
}

fn is_status(object: &Bytes) -> bool {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Head<'_>>(object).is_ok_and(|head| head.kind == "Status")
}

#[cfg(test)]
mod tests {
    use kinds::Subresource;

    use super::*;

    fn pods() -> Kind {
        Kind::namespaced("", "v1", "Pod", "pods").with_status().with_subresource(Subresource::new(
            "binding",
            "",
            "v1",
            "Binding",
            &[Verb::Create],
        ))
    }

    /// What becomes of a method at a path: allowed, 404 or 405.
    fn judged(kind: &Kind, action: Action, path: &str) -> u16 {
        let path = ResourcePath::parse(path).unwrap();
        if !is_place(kind, &path, action) {
            return 404;
        }
        if has_method(kind, &path, action) { 200 } else { 405 }
    }

    #[test]
    fn objects_are_made_and_kept_in_one_namespace() {
        let (pods, nodes) = (pods(), Kind::cluster("", "v1", "Node", "nodes"));
        let cases = [
            (&pods, Action::List, "/api/v1/pods", 200),
            (&pods, Action::Watch, "/api/v1/pods", 200),
            (&pods, Action::Create, "/api/v1/pods", 405),
            (&pods, Action::DeleteCollection, "/api/v1/pods", 405),
            (&pods, Action::Get, "/api/v1/pods/a", 404),
            (&pods, Action::Create, "/api/v1/namespaces/n/pods", 200),
            (&pods, Action::Create, "/api/v1/namespaces/n/pods/a", 405),
            (&pods, Action::Create, "/api/v1/namespaces/n/pods/a/binding", 200),
            (&pods, Action::Update, "/api/v1/namespaces/n/pods", 405),
            (&pods, Action::Patch, "/api/v1/namespaces/n/pods", 405),
            (&pods, Action::Delete, "/api/v1/namespaces/n/pods/a", 200),
            (&nodes, Action::Create, "/api/v1/nodes", 200),
            (&nodes, Action::Get, "/api/v1/nodes/a", 200),
            (&nodes, Action::Get, "/api/v1/namespaces/n/nodes/a", 404),
            (&nodes, Action::DeleteCollection, "/api/v1/nodes", 200),
        ];
        for (kind, action, path, expected) in cases {
            assert_eq!(judged(kind, action, path), expected, "{action:?} {path}");
        }
    }

    #[test]
    fn a_body_is_of_the_subresources_kind() {
        let target = Target::object(Arc::new(pods()), "n", "a");
        assert_eq!(expected(&target), Expected::new("", "v1", "Pod"));
        assert_eq!(expected(&target.at("binding")), Expected::new("", "v1", "Binding"));
    }

    #[test]
    fn a_watch_ends_when_the_client_says_or_between_half_an_hour_and_an_hour() {
        assert_eq!(timeout(&Query::parse(Some("timeoutSeconds=5"))), Ok(Duration::from_secs(5)));
        let own = timeout(&Query::default()).unwrap();
        assert!((Duration::from_secs(1800)..Duration::from_secs(3600)).contains(&own), "{own:?}");
        assert!(timeout(&Query::parse(Some("timeoutSeconds=x"))).is_err());
    }
}
