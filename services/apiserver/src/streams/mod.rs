//! exec, attach, logs and port-forward: from the client to the node over the bus.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use model::Status;

use crate::http::body::Body;
use crate::http::state::State;
use crate::registry::Registry;
use crate::verbs::{Context, Target};

/// Serves a request that becomes a stream; the caller may do it, and the subresource takes the method.
pub async fn handle(
    _state: &Arc<State>,
    _registry: &Arc<Registry>,
    _context: &Context,
    _target: &Target,
    _request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    Err(Status::unavailable("streams are not connected yet"))
}
