//! Sampan's filters and scores as an extender of a stock kube-scheduler: `sampan scheduler-extender`.
//!
//! ```text
//!  kube-scheduler ── POST /filter, /prioritize  extender/v1 ──> judged by the view of the log
//!                 ── POST /bind ──────────────────────────────> cmd bind, as our own scheduler's
//! ```
//! A node that the log does not know is judged by what the request says of it, as an empty one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bus::command::Write;
use bytes::Bytes;
use client::{Follower, Observed, Writer};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use model::Class;
use runtime::{AdminArguments, BusArguments, Readiness, Shutdown};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tracing::{debug, warn};

use super::wire::{Args, BindingArgs, BindingResult, Filtered, HostPriority, NodeList, SCORE_MAX, node_name};
use crate::decide::framework::{Filters, Outcome, Plugin};
use crate::decide::plugins::{Scorers, reason, resources_fit};
use crate::observe::{Node, NodeId, Pod, Shape, View};

/// Command-line arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus
    #[command(flatten)]
    pub bus: BusArguments,
    /// Health and metrics
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Address of /filter, /prioritize and /bind over plain HTTP, as upstream's extenders have them
    #[arg(long, env = "SAMPAN_EXTENDER_BIND", default_value = "127.0.0.1:8888", value_name = "ADDRESS")]
    pub bind: SocketAddr,
}

/// What requests are judged by.
#[derive(Clone)]
struct Judge {
    view: Arc<Mutex<View>>,
    writer: Writer,
}

/// Five thousand whole nodes are some 20 MB; upstream sends them to an extender that does not know nodes.
const BODY_MAX: usize = 64 << 20;
const CLASSES: &[Class] = &[Class::Pods, Class::Nodes];
/// Whoever asks us to bind is trusted as a scheduler is.
const USER: &str = "system:kube-scheduler";

/// Serves until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let readiness = Readiness::new();
    let condition = readiness.condition("store");
    runtime::admin::serve(config.admin.admin_addr, readiness, shutdown.clone()).await?;
    let bus = bus::Bus::connect(&config.bus.config("scheduler-extender")).await?;
    let store = client::open(&bus, CLASSES, condition, shutdown.clone()).await?;
    let judge = Judge { view: Arc::default(), writer: Writer::new(bus, USER) };
    let mut follower = Follower::new(store, &[("", "nodes"), ("", "pods")]);
    let listener =
        TcpListener::bind(config.bind).await.with_context(|| format!("cannot listen at {}", config.bind))?;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            told = follower.next() => {
                let mut view = judge.view.lock().unwrap_or_else(PoisonError::into_inner);
                told.iter().for_each(|one| observe(&mut view, one));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { tokio::spawn(serve(stream, judge.clone())); }
                Err(error) => warn!("extender: {error}"),
            }
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, judge: Judge) {
    let service = hyper::service::service_fn(move |request| {
        let judge = judge.clone();
        async move { Ok::<_, Infallible>(judge.answer(request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!("extender: {error}");
    }
}

fn observe(view: &mut View, observed: &Observed) {
    match observed {
        Observed::Reset => view.clear(),
        Observed::Synced => {}
        Observed::Put(item) if item.key.resource() == "nodes" => {
            if let Ok(node) = Node::parse(&item.value, view.resources_mut()) {
                view.put_node(item.key.name(), node);
            }
        }
        Observed::Put(item) => {
            let Ok(pod) = Pod::parse(&item.value, view.resources_mut()) else { return };
            match pod.node.filter(|_| !pod.has_ended) {
                Some(node) => {
                    let shape = view.intern(pod.needs);
                    view.put_pod(&item.key, &pod.uid, &node, shape);
                }
                None => {
                    view.remove_pod(&item.key);
                }
            }
        }
        Observed::Delete { key, .. } if key.resource() == "nodes" => view.remove_node(key.name()),
        Observed::Delete { key, .. } => {
            view.remove_pod(key);
        }
    }
}

// === impl Judge ===

impl Judge {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "POST is meant\n");
        }
        let path = request.uri().path().to_owned();
        let body = match Limited::new(request.into_body(), BODY_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        };
        match path.as_str() {
            "/filter" => answered(&body, |args| self.filter(args)),
            "/prioritize" => answered(&body, |args| self.prioritize(args)),
            "/bind" => match serde_json::from_slice(&body) {
                Ok(args) => json(&self.bind(args).await),
                Err(error) => text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "not found: /filter, /prioritize or /bind\n"),
        }
    }

    /// Which nodes suit the pod.
    fn filter(&self, args: Args) -> Filtered {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match filter(&mut view, &args) {
            Ok(filtered) => filtered,
            Err(error) => Filtered { error: format!("{error:#}"), ..Filtered::default() },
        }
    }

    fn prioritize(&self, args: Args) -> Vec<HostPriority> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        prioritize(&mut view, &args).unwrap_or_else(|error| {
            warn!("no points: {error:#}");
            Vec::new()
        })
    }

    async fn bind(&self, args: BindingArgs) -> BindingResult {
        let write = Write::Bind {
            namespace: args.pod_namespace,
            pod: args.pod_name,
            uid: args.pod_uid,
            node: args.node,
        };
        let error = self.writer.one(write).await.err().map(|status| status.to_string());
        BindingResult { error: error.unwrap_or_default() }
    }
}

fn filter(view: &mut View, args: &Args) -> Result<Filtered> {
    let mut filtered = Filtered::default();
    let mut kept = Vec::new();
    judged(view, args, |view, shape, nodes| {
        let filters = Filters::prepare(view.nodes(), shape);
        for (name, node) in nodes {
            match filters.check(*node) {
                Ok(()) => kept.push(name.clone()),
                Err(refusal) => {
                    let words = match refusal.plugin {
                        Plugin::NodeResourcesFit => {
                            let lacking = filters.lacking(*node);
                            let named = |id: &_| resources_fit::reason(*id, view.resources());
                            lacking.iter().map(named).collect::<Vec<_>>().join(", ")
                        }
                        plugin => reason(plugin).to_owned(),
                    };
                    match refusal.outcome {
                        Outcome::Unresolvable => {
                            filtered.failed_and_unresolvable_nodes.insert(name.clone(), words)
                        }
                        Outcome::Unschedulable => filtered.failed_nodes.insert(name.clone(), words),
                    };
                }
            }
        }
    })?;
    match &args.nodes {
        None => filtered.node_names = Some(kept),
        Some(list) => {
            let mut items = list.items.clone();
            items.retain(|node| node_name(node).is_some_and(|name| kept.contains(&name)));
            filtered.nodes = Some(NodeList { items });
        }
    }
    Ok(filtered)
}

fn prioritize(view: &mut View, args: &Args) -> Result<Vec<HostPriority>> {
    let mut priorities = Vec::new();
    judged(view, args, |view, shape, nodes| {
        let ids: Vec<NodeId> = nodes.iter().map(|(_, node)| *node).collect();
        let mut scores = vec![0; ids.len()];
        Scorers::prepare(view.nodes(), shape).add_to(&mut scores, &ids);
        let best = scores.iter().copied().max().unwrap_or_default().max(1);
        let point = |((name, _), score): (&(String, NodeId), i64)| HostPriority {
            host: name.clone(),
            score: (score * SCORE_MAX / best).clamp(0, SCORE_MAX),
        };
        priorities.extend(nodes.iter().zip(scores).map(point));
    })?;
    Ok(priorities)
}

/// Judges the nodes of a request: those that the view knows by it, and the others, if they came whole, by themselves.
fn judged(
    view: &mut View,
    args: &Args,
    mut judge: impl FnMut(&View, &Shape, &[(String, NodeId)]),
) -> Result<()> {
    let mut judge_in = |view: &mut View, names: Vec<String>| -> Result<()> {
        let pod = Pod::parse(args.pod.get().as_bytes(), view.resources_mut()).context("Pod")?;
        let shape = view.intern(pod.needs);
        view.prepare(&shape);
        let find = |name: String| view.nodes().find(&name).map(|node| (name, node));
        let nodes: Vec<(String, NodeId)> = names.into_iter().filter_map(find).collect();
        judge(view, &shape, &nodes);
        Ok(())
    };
    let (mut known, mut others) = (args.node_names.clone().unwrap_or_default(), View::default());
    let mut strange = Vec::new();
    for node in args.nodes.iter().flat_map(|list| &list.items) {
        let name = node_name(node).context("Nodes: a node without a name")?;
        if view.nodes().find(&name).is_some() {
            known.push(name);
        } else {
            let parsed = Node::parse(node.get().as_bytes(), others.resources_mut())
                .with_context(|| format!("Nodes: {name}"))?;
            others.put_node(&name, parsed);
            strange.push(name);
        }
    }
    judge_in(view, known)?;
    if strange.is_empty() { Ok(()) } else { judge_in(&mut others, strange) }
}

fn answered<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    answer: impl FnOnce(Q) -> A,
) -> Response<Full<Bytes>> {
    match serde_json::from_slice(body) {
        Ok(question) => json(&answer(question)),
        Err(error) => text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
    }
}

fn json(answer: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(answer).expect("an answer is plain data");
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn text(code: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(words.as_bytes())));
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    fn raw(value: &Value) -> Box<RawValue> {
        RawValue::from_string(value.to_string()).expect("JSON")
    }

    fn node(name: &str, cpu: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}}})
    }

    fn pod(cpu: &str) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        })
    }

    /// A view of node `known` with 4 processors.
    fn view() -> View {
        let mut view = View::default();
        let known =
            Node::parse(node("known", "4").to_string().as_bytes(), view.resources_mut()).expect("a node");
        view.put_node("known", known);
        view
    }

    #[test]
    fn names_are_judged_by_the_view_and_the_rest_is_refused_with_reasons() {
        let args =
            |cpu| Args { pod: raw(&pod(cpu)), nodes: None, node_names: Some(vec!["known".to_owned()]) };
        let fits = filter(&mut view(), &args("2")).expect("judged");
        assert_eq!(fits.node_names, Some(vec!["known".to_owned()]));
        let refused = filter(&mut view(), &args("5")).expect("judged");
        assert_eq!(refused.node_names, Some(Vec::new()));
        assert_eq!(refused.failed_and_unresolvable_nodes["known"], "Insufficient cpu");
    }

    #[test]
    fn a_node_that_only_the_request_knows_is_judged_by_what_it_says() {
        let items = vec![raw(&node("known", "1")), raw(&node("strange", "1")), raw(&node("large", "8"))];
        let args = Args { pod: raw(&pod("2")), nodes: Some(NodeList { items }), node_names: None };
        let filtered = filter(&mut view(), &args).expect("judged");
        let kept = filtered.nodes.expect("whole nodes were asked about").items;
        let names: Vec<String> = kept.iter().filter_map(|node| node_name(node)).collect();
        // The view knows better how large `known` is.
        assert_eq!(names, ["known", "large"]);
        let points = prioritize(&mut view(), &args).expect("judged");
        assert_eq!(points.len(), 3);
        assert!(points.iter().all(|one| (0..=SCORE_MAX).contains(&one.score)));
    }
}
