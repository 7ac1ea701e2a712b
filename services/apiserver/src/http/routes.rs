//! The one router: every request takes these steps, in this order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ETAG, HOST, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use kinds::Table;
use model::{Reason, Status};
use serde_json::Value;
use tracing::{Instrument, debug};

use super::authenticate::{self, anonymous, unauthorized};
use super::authorize::{self, authorize};
use super::body::Body;
use super::metrics::{self, Labels};
use super::negotiate::{self, Output, PLAIN};
use super::query::Query;
use super::request_info::{Action, ResourcePath};
use super::resources::{self, Asked, method_not_allowed, not_found};
use super::state::State;
use super::{health, history, impersonate, respond, trace};
use crate::discovery::aggregated::DiscoveryVersion;
use crate::discovery::documents::Name;
use crate::discovery::{groups, openapi_v2, version};
use crate::identity::issuer;
use crate::verbs::{Context, Identity};

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user that the client certificate names.
    pub identity: Option<Identity>,
    /// From where.
    pub address: SocketAddr,
}

/// A request, as far as it is understood without its body.
enum Wanted {
    /// Objects.
    Objects(Box<Asked>),
    /// Health, discovery, metrics.
    Other { path: String, query: Query },
}

/// A request that does not go on by itself is given up after this long, as upstream does.
const PATIENCE: Duration = Duration::from_secs(60);

const AGGREGATED_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Answers a request, counts it and says so.
pub async fn handle(state: Arc<State>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let method = request.method().clone();
    let uri = request.uri().clone();
    let query = Query::parse(uri.query());
    let output = negotiate::output(request.headers(), &query);
    let form = refusal_form(output.as_ref().ok());
    let wanted = Wanted::of(&method, uri.path(), query, output);
    let (labels, mutates, long_running) = match &wanted {
        Ok(wanted) => (wanted.labels(&state, &method), wanted.mutates(), wanted.is_long_running()),
        Err(_) => (Labels::default(), false, false),
    };
    let span = trace::span(request.headers(), method.as_str(), uri.path(), mutates);
    let mut response = match answer(&state, &peer, wanted, request).instrument(span).await {
        Ok(response) => response,
        Err(status) => respond::status(&status, form),
    };
    let audit_id = uuid::Uuid::new_v4().to_string();
    if let Ok(value) = HeaderValue::from_str(&audit_id) {
        response.headers_mut().insert("audit-id", value);
    }
    let code = response.status().as_u16();
    metrics::answered(&labels, code, started.elapsed(), long_running);
    debug!(%method, %uri, code, took = ?started.elapsed(), peer = %peer.address, audit_id, "answered");
    response
}

/// The steps of every request.
async fn answer(
    state: &Arc<State>,
    peer: &Peer,
    wanted: Result<Wanted, Status>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let identity = authenticate(state, peer, request.uri().path(), request.headers()).await?;
    let wanted = wanted?;
    wanted.authorize(state, &identity, request.method()).await?;
    if wanted.is_long_running() {
        return dispatch(state, identity, wanted, request).await;
    }
    let _leave = state.limits.enter(wanted.mutates())?;
    let answered = tokio::time::timeout(PATIENCE, dispatch(state, identity, wanted, request));
    answered.await.unwrap_or_else(|_| {
        let message = "Timeout: request did not complete within the allotted timeout";
        Err(Status::new(Reason::Timeout, message))
    })
}

/// Who asks, or whom they may speak for. Without a certificate or a token only what is public is answered.
async fn authenticate(
    state: &State,
    peer: &Peer,
    path: &str,
    headers: &HeaderMap,
) -> Result<Identity, Status> {
    let registry = state.registry();
    let identity = match (&peer.identity, authenticate::bearer_token(headers)) {
        (Some(identity), _) => identity.clone(),
        (None, Some(token)) => {
            authenticate::from_token(registry.ok_or_else(starting)?, &token, Timestamp::now()).await?
        }
        (None, None) if authorize::is_public(path) => anonymous(),
        (None, None) => return Err(unauthorized()),
    };
    let Some(wished) = impersonate::wished(headers)? else { return Ok(identity) };
    for needed in impersonate::needed(&wished) {
        authorize(registry, &identity, &needed).await?;
    }
    Ok(impersonate::become_of(wished))
}

async fn dispatch(
    state: &Arc<State>,
    identity: Identity,
    wanted: Wanted,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    match wanted {
        Wanted::Objects(asked) => {
            let registry = state.registry().ok_or_else(starting)?;
            let context = Context { identity, now: Timestamp::now(), guard: None };
            resources::serve(state, registry, &context, &asked, request).await
        }
        Wanted::Other { path, query } if path == history::PATH && *request.method() == Method::GET => {
            let registry = state.registry().ok_or_else(starting)?;
            let keys: Vec<&str> = query.all("key").collect();
            let history = history::of(registry, &identity, &keys).await?;
            let media = HeaderValue::from_static("application/json");
            Ok(respond::document(StatusCode::OK, history.into(), media, false))
        }
        Wanted::Other { path, query } => {
            other(state, &path, &query, request.method(), request.headers()).await
        }
    }
}

/// Everything that is no object.
async fn other(
    state: &State,
    path: &str,
    query: &Query,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(method_not_allowed());
    }
    if let Some(health) = health::answer(state, path, query) {
        return Ok(health);
    }
    match path {
        "/version" => return document(&version::document(), headers, query),
        issuer::DISCOVERY_PATH => return document(&issuer::discovery(), headers, query),
        issuer::JWKS_PATH => return jwks(state),
        "/metrics" => return Ok(respond::text(StatusCode::OK, runtime::admin::metrics_text())),
        _ => {}
    }
    let table = state.registry().ok_or_else(starting)?.table();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        [""] => document(&paths(&table), headers, query),
        ["openapi", rest @ ..] => open_api(state, table, rest, query, headers).await,
        ["api"] => match aggregated(headers) {
            Some(version) => aggregated_document(state, table, Name::Core(version), version, headers).await,
            None => document(&groups::core_versions(&table, host(headers)), headers, query),
        },
        ["apis"] => match aggregated(headers) {
            Some(version) => aggregated_document(state, table, Name::Others(version), version, headers).await,
            None => document(&groups::group_list(&table), headers, query),
        },
        ["api", version] => found(groups::resource_list(&table, "", version), headers, query),
        ["apis", group] => found(groups::group(&table, group), headers, query),
        ["apis", group, version] if !group.is_empty() => {
            found(groups::resource_list(&table, group, version), headers, query)
        }
        _ => Err(not_found()),
    }
}

/// The keys that tokens are signed with.
fn jwks(state: &State) -> Result<Response<Body>, Status> {
    let tokens = state.registry().ok_or_else(starting)?.tokens().ok_or_else(not_found)?;
    let media = HeaderValue::from_static("application/jwk-set+json");
    Ok(respond::document(StatusCode::OK, tokens.issuer().jwks().to_string().into(), media, false))
}

/// `/`: every path that there is something at.
fn paths(table: &Table) -> Value {
    let mut paths: Vec<String> = [
        issuer::DISCOVERY_PATH,
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    paths.extend([issuer::JWKS_PATH, "/readyz", "/version"].map(str::to_owned));
    for (group, version) in table.group_versions() {
        paths.push(match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        });
    }
    paths.extend(groups::names(table).into_iter().map(|group| format!("/apis/{group}")));
    paths.sort();
    serde_json::json!({ "paths": paths })
}

fn found(value: Option<Value>, headers: &HeaderMap, query: &Query) -> Result<Response<Body>, Status> {
    document(&value.ok_or_else(not_found)?, headers, query)
}

fn document(value: &Value, headers: &HeaderMap, query: &Query) -> Result<Response<Body>, Status> {
    let output = negotiate::output(headers, query)?;
    Ok(respond::json(StatusCode::OK, value.to_string().into(), output))
}

/// The version of aggregated discovery that the client prefers to the plain one.
fn aggregated(headers: &HeaderMap) -> Option<DiscoveryVersion> {
    let accept = negotiate::text(headers);
    for clause in negotiate::clauses(&accept) {
        match (clause.media, clause.parameter("as")) {
            ("application/json", Some("APIGroupDiscoveryList"))
                if clause.parameter("g") == Some("apidiscovery.k8s.io") =>
            {
                if let Some(version) = clause.parameter("v").and_then(DiscoveryVersion::parse) {
                    return Some(version);
                }
            }
            ("application/json" | "application/*" | "*/*", None) => return None,
            _ => {}
        }
    }
    None
}

async fn aggregated_document(
    state: &State,
    table: Arc<Table>,
    name: Name,
    version: DiscoveryVersion,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let content_type = match version {
        DiscoveryVersion::V2 => AGGREGATED_V2,
        DiscoveryVersion::V2Beta1 => AGGREGATED_V2BETA1,
    };
    cached(state, table, name, content_type, headers).await
}

async fn open_api(
    state: &State,
    table: Arc<Table>,
    rest: &[&str],
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    match rest {
        ["v2"] => {
            let accept = negotiate::text(headers);
            let clauses = negotiate::clauses(&accept);
            let protobuf = clauses.first().is_some_and(|clause| clause.media == openapi_v2::PROTOBUF_ACCEPT);
            let (name, content_type) = if protobuf {
                (Name::OpenApiV2Protobuf, openapi_v2::PROTOBUF_CONTENT_TYPE)
            } else {
                (Name::OpenApiV2Json, "application/json")
            };
            cached(state, table, name, content_type, headers).await
        }
        ["v3"] => {
            negotiate::output(headers, query)?;
            cached(state, table, Name::OpenApiIndex, "application/json", headers).await
        }
        ["v3", path @ ..] => {
            negotiate::output(headers, query)?;
            let name = Name::OpenApi(path.join("/"));
            let mut response = cached(state, table, name, "application/json", headers).await?;
            if is_named_by_hash(query, &response) {
                // The address holds the hash of the content: it can be kept for as long as anybody likes.
                let immutable = HeaderValue::from_static("public, immutable, max-age=31536000");
                response.headers_mut().insert(http::header::CACHE_CONTROL, immutable);
            }
            Ok(response)
        }
        _ => Err(not_found()),
    }
}

/// Whether the query's `hash` is the one of the content.
fn is_named_by_hash(query: &Query, response: &Response<Body>) -> bool {
    let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
    matches!((query.first("hash"), etag), (Some(hash), Some(etag)) if etag.trim_matches('"') == hash)
}

/// A document that is kept, or 304 when the client has it.
async fn cached(
    state: &State,
    table: Arc<Table>,
    name: Name,
    content_type: &'static str,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let document = state.documents.get(table, name).await.ok_or_else(not_found)?;
    let known = headers.get(IF_NONE_MATCH).and_then(|etags| etags.to_str().ok()).unwrap_or("");
    let is_known = !document.etag.is_empty() && known.split(',').any(|etag| etag.trim() == document.etag);
    let content_type = HeaderValue::from_static(content_type);
    let mut response = if is_known {
        respond::not_modified(content_type)
    } else {
        respond::kept(&document, content_type, negotiate::accepts_gzip(headers))
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().append(http::header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
}

/// Before the store follows the log.
pub fn starting() -> Status {
    Status::unavailable("the API server is starting and has no objects yet")
}

/// A refusal is shown in the format that was asked for, and whole.
fn refusal_form(output: Option<&Output>) -> Output {
    let format = output.map_or(PLAIN.format, |output| output.format);
    Output { format, ..PLAIN }
}

// === impl Wanted ===

impl Wanted {
    fn of(
        method: &Method,
        path: &str,
        query: Query,
        output: Result<Output, Status>,
    ) -> Result<Wanted, Status> {
        let Some(resource) = ResourcePath::parse(path) else {
            return Ok(Wanted::Other { path: path.to_owned(), query });
        };
        let action = resource.action(method, &query).ok_or_else(method_not_allowed)?;
        // Streams have forms of their own.
        let output = if resource.is_stream() { output.unwrap_or(PLAIN) } else { output? };
        Ok(Wanted::Objects(Box::new(Asked { path: resource, action, query, output })))
    }

    /// Goes on for as long as the client likes.
    fn is_long_running(&self) -> bool {
        match self {
            Wanted::Objects(asked) => asked.action == Action::Watch || asked.path.is_stream(),
            Wanted::Other { .. } => false,
        }
    }

    fn mutates(&self) -> bool {
        matches!(self, Wanted::Objects(asked) if asked.action.mutates())
    }

    async fn authorize(&self, state: &State, identity: &Identity, method: &Method) -> Result<(), Status> {
        match self {
            Wanted::Objects(asked) => authorize::objects(state.registry(), identity, asked).await,
            Wanted::Other { path, .. } => authorize::path(state.registry(), identity, method, path).await,
        }
    }

    fn labels(&self, state: &State, method: &Method) -> Labels {
        match self {
            Wanted::Objects(asked) => resources::labels(asked, state.registry()),
            Wanted::Other { path, .. } => {
                // The first segment only, and only ours: whoever asks must not make metrics without end.
                let place = path.split('/').nth(1).unwrap_or("");
                let known =
                    ["api", "apis", "healthz", "livez", "metrics", "openapi", "readyz", "sampan", "version"];
                let subresource = known.into_iter().find(|one| *one == place).unwrap_or("").to_owned();
                let verb = if *method == Method::GET { "GET" } else { "" }.to_owned();
                Labels { verb, subresource, ..Labels::default() }
            }
        }
    }
}
