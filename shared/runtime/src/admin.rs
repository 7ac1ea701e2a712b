//! `/livez`, `/readyz` and `/metrics` over plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use crate::{Readiness, Shutdown};

/// Serves until `shutdown`; returns once it listens. Without an address there is nothing to do.
pub async fn serve(address: Option<SocketAddr>, readiness: Readiness, shutdown: Shutdown) -> Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen at {address}"))?;
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!("admin: {error}");
                        continue;
                    }
                },
                () = shutdown.cancelled() => return,
            };
            let readiness = readiness.clone();
            let service = hyper::service::service_fn(move |request| {
                let response = answer(&request, &readiness);
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    debug!("admin: {error}");
                }
            });
        }
    });
    Ok(())
}

fn answer(request: &Request<Incoming>, readiness: &Readiness) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez" | "/healthz") => text(StatusCode::OK, "ok".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => ready(readiness),
        (&Method::GET, "/metrics") => metrics(),
        _ => text(StatusCode::NOT_FOUND, "not found: /livez, /readyz or /metrics\n".to_owned()),
    }
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let lines: Vec<String> = readiness
        .report()
        .iter()
        .map(|(name, why)| match why {
            None => format!("[+]{name} ok\n"),
            Some(why) => format!("[-]{name} waiting: {why}\n"),
        })
        .collect();
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(code, lines.concat())
}

/// Every metric of this process in Prometheus' text format.
pub fn metrics_text() -> String {
    let mut out = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut out) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(error) => {
            warn!("cannot encode the metrics: {error}");
            String::new()
        }
    }
}

fn metrics() -> Response<Full<Bytes>> {
    text(StatusCode::OK, metrics_text())
}

fn text(code: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
