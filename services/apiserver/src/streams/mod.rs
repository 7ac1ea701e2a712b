//! exec, attach, logs and port-forward: from the client to the node over the bus.
//!
//! ```text
//!  request ─> upgrade (which dialect) ─> pod (which container, on which node) ─> options (what to do)
//!                                             │
//!       bus::stream::open ──> node            v
//!            │                        101, and on the upgraded connection
//!            ├── exec_websocket, exec_spdy        a command's standard streams
//!            ├── forward_websocket, forward_spdy  a stream for each connection (spdy also in a tunnel)
//!            └── logs                             an ordinary response, chunk by chunk
//! ```
//! The node is asked before the client is answered, so that whatever is wrong is an ordinary `Status`. Everything
//! here holds a bounded part of what passes through: who reads slowly holds who writes, through the bus, down to the
//! process in the container.

mod exec_spdy;
mod exec_websocket;
mod exit;
mod forward;
mod forward_spdy;
mod forward_websocket;
mod logs;
mod options;
mod pod;
#[cfg(test)]
mod tests;
mod tunnel;
mod upgrade;
mod websocket;

use std::sync::Arc;

use bus::Bus;
use bus::stream::{Kind, Open};
use http::{Request, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use model::{Key, Reason, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, debug, info_span};

use crate::http::body::Body;
use crate::http::metrics::{Gauged, Labels};
use crate::http::query::Query;
use crate::registry::Registry;
use forward::Forwarder;
use pod::Pod;
use upgrade::{Agreed, Dialect, Purpose};

/// Streams that clients hold at a time; each may have a window of a megabyte a channel under way.
const SESSIONS_MAX: usize = 1_024;

/// What the streams of an API server share.
#[derive(Clone, Debug)]
pub struct Streams {
    bus: Bus,
    sessions: Arc<Semaphore>,
}

/// A stream that a client holds.
#[derive(Debug)]
struct Session {
    _place: OwnedSemaphorePermit,
    _counted: Gauged,
}

/// Answers a request for the `exec`, `attach`, `portforward` or `log` of a pod.
pub async fn handle<B>(
    registry: &Registry,
    streams: &Streams,
    request: Request<B>,
    namespace: &str,
    name: &str,
    subresource: &str,
) -> Result<Response<Body>, Status> {
    let key = Key::object("", "pods", namespace, name);
    // Whoever saw the pod somewhere must find it here.
    registry.catch_up(key.as_str()).await?;
    let item = registry.store().get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
    let pod = Pod::parse(&item.value)?;
    streams.answer(request, &pod, subresource).await
}

// === impl Streams ===

impl Streams {
    /// Streams to the nodes on this bus.
    pub fn new(bus: Bus) -> Self {
        Streams { bus, sessions: Arc::new(Semaphore::new(SESSIONS_MAX)) }
    }

    async fn answer<B>(
        &self,
        request: Request<B>,
        pod: &Pod,
        subresource: &str,
    ) -> Result<Response<Body>, Status> {
        let session = self.session(subresource)?;
        match subresource {
            "log" => self.log(&request, pod, session).await,
            "portforward" => self.port_forward(request, pod, session),
            "exec" | "attach" => self.command(request, pod, subresource, session).await,
            other => Err(Status::not_found("", "pods", &format!("{}/{other}", pod.metadata.name))),
        }
    }

    async fn log<B>(
        &self,
        request: &Request<B>,
        pod: &Pod,
        session: Session,
    ) -> Result<Response<Body>, Status> {
        let query = Query::parse(request.uri().query());
        let kind = options::logs(&query, pod)?;
        let stream = bus::stream::open(&self.bus, pod.node()?, opening(pod, kind)).await?;
        Ok(logs::response(stream, session))
    }

    async fn command<B>(
        &self,
        mut request: Request<B>,
        pod: &Pod,
        subresource: &str,
        session: Session,
    ) -> Result<Response<Body>, Status> {
        let agreed = upgrade::negotiate(request.headers(), Purpose::Command)?;
        let query = Query::parse(request.uri().query());
        let (kind, stdio) = match subresource {
            "exec" => options::exec(&query, pod)?,
            _ => options::attach(&query, pod)?,
        };
        let stream = bus::stream::open(&self.bus, pod.node()?, opening(pod, kind)).await?;
        let upgraded = hyper::upgrade::on(&mut request);
        let dialect = agreed.dialect;
        carry(upgraded, session, subresource, pod, move |io| async move {
            match dialect {
                Dialect::Channels(channels) => exec_websocket::run(io, channels, stream, stdio).await,
                Dialect::Spdy(version) => exec_spdy::run(io, version, stream, stdio).await,
                Dialect::Tunnel => debug!("only port-forward is tunnelled"),
            }
        });
        Ok(agreed.response())
    }

    fn port_forward<B>(
        &self,
        mut request: Request<B>,
        pod: &Pod,
        session: Session,
    ) -> Result<Response<Body>, Status> {
        let agreed: Agreed = upgrade::negotiate(request.headers(), Purpose::PortForward)?;
        let query = Query::parse(request.uri().query());
        let forwarder =
            Forwarder::new(self.bus.clone(), pod.node()?, opening(pod, Kind::PortForward { port: 0 }));
        // Only this dialect names the ports beforehand.
        let ports = match agreed.dialect {
            Dialect::Channels(_) => options::ports(&query)?,
            Dialect::Spdy(_) | Dialect::Tunnel => Vec::new(),
        };
        let upgraded = hyper::upgrade::on(&mut request);
        let dialect = agreed.dialect;
        carry(upgraded, session, "portforward", pod, move |io| async move {
            match dialect {
                Dialect::Channels(channels) => forward_websocket::run(io, channels, ports, forwarder).await,
                Dialect::Spdy(_) => forward_spdy::run(io, forwarder).await,
                Dialect::Tunnel => forward_spdy::run(tunnel::open(io).await, forwarder).await,
            }
        });
        Ok(agreed.response())
    }

    fn session(&self, subresource: &str) -> Result<Session, Status> {
        let place = self.sessions.clone().try_acquire_owned().map_err(|_| {
            Status::new(
                Reason::TooManyRequests,
                format!("this server carries {SESSIONS_MAX} streams already"),
            )
        })?;
        let labels = Labels {
            verb: "CONNECT".to_owned(),
            group: String::new(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            subresource: subresource.to_owned(),
            scope: "resource",
        };
        Ok(Session { _place: place, _counted: Gauged::new(&labels) })
    }
}

fn opening(pod: &Pod, kind: Kind) -> Open {
    Open {
        id: uuid::Uuid::new_v4().to_string(),
        namespace: pod.metadata.namespace.clone(),
        pod: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        kind,
    }
}

/// Waits for the connection to be ours, which is after the answer has been sent, and carries the stream over it.
fn carry<F>(
    upgraded: OnUpgrade,
    session: Session,
    subresource: &str,
    pod: &Pod,
    run: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let span = info_span!("stream", subresource, namespace = pod.metadata.namespace, pod = pod.metadata.name);
    let carried = async move {
        match upgraded.await {
            Ok(io) => run(TokioIo::new(io)).await,
            Err(error) => debug!("the client did not upgrade: {error}"),
        }
        drop(session);
    };
    tokio::spawn(carried.instrument(span));
}
