//! Connections: TCP, TLS, then HTTP/1.1 or HTTP/2 as the client likes, until the server ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::routes::{self, Peer};
use super::state::State;
use super::{authenticate, limits, metrics};

/// A handshake takes milliseconds; whoever needs longer than this only holds a connection.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long an HTTP/1.1 connection may rest between requests: longer than clients keep theirs.
const IDLE: Duration = Duration::from_secs(120);
/// Requests on one HTTP/2 connection at once: a client with an informer for every kind has all its watches on one.
const STREAMS_PER_CONNECTION: u32 = 1_000;
/// Bytes that an HTTP/2 client may send ahead on one request, and on all of them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes that wait for the client on one HTTP/2 request: a few chunks, so that a slow one holds little.
const SEND_BUFFER: usize = 128 * 1024;
/// Finds clients that went away without a word: their watches would be held for ever.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(15);
/// What is under way at the end may take this long; watches and streams end at once.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// After an accept that failed (no file descriptors): time for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the state's shutdown, then lets what is under way finish.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, state: Arc<State>) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = state.shutdown.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, address, place)) = accepted else { continue };
        let (acceptor, state, watcher) = (acceptor.clone(), Arc::clone(&state), graceful.watcher());
        tokio::spawn(async move {
            metrics::connections().inc();
            converse(stream, address, &acceptor, state, watcher).await;
            metrics::connections().dec();
            drop(place);
        });
    }
    // Nobody else is let in while those inside finish.
    drop(listener);
    if tokio::time::timeout(DRAIN_PATIENCE, graceful.shutdown()).await.is_err() {
        info!("some requests were not finished in {DRAIN_PATIENCE:?}");
    }
}

/// The next connection, once there is room for it; until then it waits in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, place)),
        Err(error) => {
            warn!("cannot accept a connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection from handshake to end.
async fn converse(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: &TlsAcceptor,
    state: Arc<State>,
    watcher: Watcher,
) {
    // Watch events are small and must not wait for more; where it cannot be set they come a little later.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%address, "TLS handshake: {error}"),
        Err(_) => return debug!(%address, "TLS handshake: not in {HANDSHAKE_PATIENCE:?}"),
    };
    let peer = Arc::new(Peer { identity: identity(&stream), address });
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (state, peer) = (Arc::clone(&state), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(routes::handle(state, peer, request).await) }
    });
    let connection = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(%address, "connection: {error}");
    }
}

/// The user in the client's certificate, which the handshake has verified.
fn identity(stream: &TlsStream<TcpStream>) -> Option<crate::verbs::Identity> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    authenticate::from_certificate(certificate)
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}
