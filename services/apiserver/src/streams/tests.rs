//! Clients of every dialect against a node that is played by the test, over a real nats-server.

use std::time::Duration;

use bus::stream::{Event, Kind, Opening, Stream};
use bus::{Bus, Config};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::Api;
use kube::api::{AttachParams, LogParams};
use model::Status;
use serde_json::{Value, json};
use spdy::{Connection, Headers, Role};
use testkit::NatsServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

const NODE: &str = "node-1";
/// Long enough for a busy machine; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const EXIT_3: &str = r#"{"metadata":{},"status":"Failure","message":"command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
const REFUSED: &str = "failed to connect to localhost:81 inside the pod's network: connection refused";

/// An API server that knows one pod, and its node.
struct World {
    _nats: NatsServer,
    address: String,
    /// Says `gone` for each stream whose client has left.
    left: mpsc::UnboundedReceiver<&'static str>,
}

impl World {
    async fn start() -> World {
        let nats = NatsServer::start().unwrap();
        let connect = async |name: &str| {
            let bus = Bus::connect(&Config::new(&nats.url(), name)).await.unwrap();
            // Connecting goes on in the background.
            bus.client().flush().await.unwrap();
            bus
        };
        let node = connect("node").await;
        let mut openings = bus::stream::serve(&node, NODE).await.unwrap();
        // The server knows of the subscription once it has answered on the same connection.
        node.client().flush().await.unwrap();
        let (leave, left) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(opening) = openings.next().await {
                tokio::spawn(play(opening, leave.clone()));
            }
        });
        let streams = Streams::new(connect("apiserver").await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(listener, streams));
        World { _nats: nats, address, left }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    async fn websocket(&self, path: &str, protocol: &str) -> WebSocketStream<TcpStream> {
        let mut request = format!("ws://{}/{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (socket, response) = client_async(request, self.tcp().await).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        socket
    }

    /// A request that asks for an upgrade; returns the answer.
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.tcp().await)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::post(format!("/{path}")).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    }

    async fn spdy(&self, path: &str, protocol: &str) -> Connection {
        let headers =
            [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)];
        let response = self.ask(path, &headers).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["x-stream-protocol-version"], protocol);
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        Connection::start(TokioIo::new(upgraded), Role::Client).0
    }

    /// Real clients need a path as the API has it; the server looks at its last word.
    fn pods(&self) -> Api<ApiPod> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        Api::namespaced(kube::Client::try_from(config).unwrap(), "default")
    }
}

async fn serve(listener: TcpListener, streams: Streams) {
    while let Ok((tcp, _)) = listener.accept().await {
        let streams = streams.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let streams = streams.clone();
            async move {
                let pod = json!({
                    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
                    "spec": {"nodeName": NODE, "containers": [{"name": "app"}]},
                });
                let pod = Pod::parse(pod.to_string().as_bytes()).unwrap();
                let subresource = request.uri().path().rsplit('/').next().unwrap().to_owned();
                let answer = streams.answer(request, &pod, &subresource).await;
                Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|status| {
                    let mut response = Response::new(crate::http::body::full(status.to_json().to_string()));
                    *response.status_mut() = StatusCode::from_u16(status.code()).unwrap();
                    response
                }))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(tcp), service)
            .with_upgrades();
        tokio::spawn(connection);
    }
}

/// What the node does: a command that prints, copies its input and fails; a port that sends back what it got; a log.
async fn play(opening: Opening, leave: mpsc::UnboundedSender<&'static str>) {
    let kind = opening.open.kind.clone();
    assert_eq!((opening.open.pod.as_str(), opening.open.uid.as_str()), ("web", "u1"));
    match kind {
        Kind::Exec { command, stdio, .. } if command == ["copy"] => {
            let mut stream = opening.accept().await.unwrap();
            send(&stream, 1, b"out").await;
            if stdio.stderr {
                send(&stream, 2, b"err").await;
            }
            while let Some((channel, bytes)) = heard(&mut stream).await {
                let prefix: &[u8] = if channel == 4 { b"size " } else { b"" };
                send(&stream, 1, &[prefix, &bytes].concat()).await;
            }
            stream.close(Bytes::from_static(EXIT_3.as_bytes())).await.unwrap();
        }
        Kind::Exec { command, .. } if command == ["wait"] => {
            let mut stream = opening.accept().await.unwrap();
            let last = stream.recv().await;
            assert!(matches!(last, Ok(Event::Close(_))), "{last:?}");
            leave.send("gone").unwrap();
        }
        Kind::Exec { command, .. } if command == ["vanish"] => {
            let stream = opening.accept().await.unwrap();
            send(&stream, 1, b"out").await;
        }
        Kind::PortForward { port: 80 } => {
            let mut stream = opening.accept().await.unwrap();
            let mut all = Vec::new();
            while let Some((_, bytes)) = heard(&mut stream).await {
                all.extend(bytes);
            }
            send(&stream, 1, &all).await;
            // The client may have gone meanwhile.
            let _ = stream.eof(1).await;
            let _ = stream.close(Bytes::new()).await;
        }
        // Answers a line with a line, without waiting for an end.
        Kind::PortForward { port: 82 } => {
            let mut stream = opening.accept().await.unwrap();
            while let Some((_, bytes)) = heard(&mut stream).await {
                send(&stream, 1, &bytes).await;
            }
            leave.send("gone").unwrap();
        }
        Kind::PortForward { .. } => opening.refuse(Status::internal(REFUSED)).await,
        Kind::Logs { options, .. } => {
            let mut stream = opening.accept().await.unwrap();
            send(&stream, 1, format!("tail {:?}\n", options.tail_lines).as_bytes()).await;
            if options.follow {
                let last = stream.recv().await;
                assert!(matches!(last, Ok(Event::Close(_))), "{last:?}");
                leave.send("gone").unwrap();
            } else {
                stream.close(Bytes::new()).await.unwrap();
            }
        }
        _ => {
            let why = "container \"app\" in pod \"web\" is waiting to start: ContainerCreating";
            opening.refuse(Status::bad_request(why)).await;
        }
    }
}

async fn send(stream: &Stream, channel: u8, bytes: &[u8]) {
    // The client may have gone.
    let _ = stream.send(channel, Bytes::copy_from_slice(bytes)).await;
}

/// What the client sent next; `None` when it has finished or is gone.
async fn heard(stream: &mut Stream) -> Option<(u8, Vec<u8>)> {
    match stream.recv().await {
        Ok(Event::Data(channel, chunk)) => Some((channel, chunk.to_vec())),
        _ => None,
    }
}

/// Everything of a WebSocket, by channel, and the code with which it was closed.
async fn gather(socket: &mut WebSocketStream<TcpStream>) -> (Vec<Vec<u8>>, Option<CloseCode>) {
    let mut channels = vec![Vec::new(); 5];
    while let Some(message) = timeout(PATIENCE, socket.next()).await.unwrap() {
        match message.unwrap() {
            Message::Binary(bytes) => channels[bytes[0] as usize].extend_from_slice(&bytes[1..]),
            Message::Close(frame) => return (channels, frame.map(|frame| frame.code)),
            _ => {}
        }
    }
    (channels, None)
}

async fn read_all(receiver: &mut spdy::Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test]
async fn a_command_over_version_5_has_streams_half_close_resize_and_a_result() {
    let world = World::start().await;
    let mut socket =
        world.websocket("exec?command=copy&stdin=1&stdout=1&stderr=1", "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\x00in"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(b"\x04{}"))).await.unwrap();
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    let (channels, code) = gather(&mut socket).await;
    assert_eq!(channels[1], b"outinsize {}");
    assert_eq!(channels[2], b"err");
    assert_eq!(channels[3], EXIT_3.as_bytes());
    assert_eq!(code, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_command_can_be_spoken_to_in_base64() {
    let world = World::start().await;
    let path = "exec?command=copy&stdin=1&stdout=1";
    let mut socket = world.websocket(path, "v4.base64.channel.k8s.io").await;
    let mut next = async || match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!([next().await, next().await], ["1", "1b3V0"]);
}

#[tokio::test]
async fn a_command_over_spdy_has_streams_half_close_and_a_result() {
    let world = World::start().await;
    for (protocol, result) in
        [("v4.channel.k8s.io", EXIT_3), ("v3.channel.k8s.io", "command terminated with exit code 3")]
    {
        let connection = world.spdy("exec?command=copy&stdin=1&stdout=1&stderr=1", protocol).await;
        let open = async |name: &str| connection.open(Headers::new().with("streamType", name)).await.unwrap();
        let (mut error, mut stdin) = (open("error").await, open("stdin").await);
        let (mut stdout, mut stderr) = (open("stdout").await, open("stderr").await);
        stdin.sender.send(Bytes::from_static(b"in")).await.unwrap();
        stdin.sender.finish().unwrap();
        assert_eq!(read_all(&mut stdout.receiver).await, b"outin");
        assert_eq!(read_all(&mut stderr.receiver).await, b"err");
        assert_eq!(read_all(&mut error.receiver).await, result.as_bytes());
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_commands_streams() {
    let mut world = World::start().await;
    let socket = world.websocket("exec?command=wait&stdout=1", "v5.channel.k8s.io").await;
    drop(socket);
    assert_eq!(timeout(PATIENCE, world.left.recv()).await.unwrap(), Some("gone"));
    let connection = world.spdy("exec?command=wait&stdout=1", "v4.channel.k8s.io").await;
    let open = async |name: &str| connection.open(Headers::new().with("streamType", name)).await.unwrap();
    let _streams = (open("error").await, open("stdout").await);
    drop(connection);
    assert_eq!(timeout(PATIENCE, world.left.recv()).await.unwrap(), Some("gone"));
}

#[tokio::test]
async fn a_node_that_breaks_off_is_a_failure_and_not_an_exit_code_of_zero() {
    let world = World::start().await;
    let mut socket = world.websocket("exec?command=vanish&stdout=1", "v4.channel.k8s.io").await;
    let (channels, code) = gather(&mut socket).await;
    let status: Value = serde_json::from_slice(&channels[3]).unwrap();
    assert_eq!((channels[1].as_slice(), &status["status"]), (b"out".as_slice(), &json!("Failure")));
    assert_eq!(code, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let world = World::start().await;
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
    ];
    for (path, message) in [
        ("exec?command=none&stdout=1", "is waiting to start: ContainerCreating"),
        ("exec?command=none&stdout=1&container=x", "container x is not valid for pod web"),
        ("exec?command=none", "you must specify at least 1 of stdin, stdout, stderr"),
    ] {
        let response = world.ask(path, &upgrade).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status["kind"], "Status");
        assert!(status["message"].as_str().unwrap().contains(message), "{status}");
    }
    assert_eq!(world.ask("exec?command=copy&stdout=1", &[]).await.status(), StatusCode::BAD_REQUEST);
}

async fn forward_both_ways(connection: &Connection) {
    let open = async |kind: &str, port: &str, request: &str| {
        let headers = Headers::new().with("streamType", kind).with("port", port).with("requestID", request);
        connection.open(headers).await.unwrap()
    };
    let mut pairs = Vec::new();
    for request in 0..20 {
        let request = request.to_string();
        let mut error = open("error", "80", &request).await;
        error.sender.finish().unwrap();
        let mut data = open("data", "80", &request).await;
        data.sender.send(vec![b'x'; 100_000].into()).await.unwrap();
        pairs.push((data, error));
    }
    for (data, error) in &mut pairs {
        data.sender.finish().unwrap();
        assert_eq!(read_all(&mut data.receiver).await.len(), 100_000, "sent back after our half was closed");
        assert_eq!(read_all(&mut error.receiver).await, b"");
    }
    let (mut error, mut data) = (open("error", "81", "99").await, open("data", "81", "99").await);
    let why = String::from_utf8(read_all(&mut error.receiver).await).unwrap();
    assert!(why.starts_with("error forwarding port 81 to pod web, uid u1: "), "{why}");
    assert!(why.contains("connection refused"), "{why}");
    assert_eq!(read_all(&mut data.receiver).await, b"");
}

#[tokio::test]
async fn port_forward_over_spdy_carries_many_connections() {
    let world = World::start().await;
    forward_both_ways(&world.spdy("portforward", "portforward.k8s.io").await).await;
}

#[tokio::test]
async fn a_forwarded_connection_that_the_client_gives_up_ends_in_the_pod() {
    let mut world = World::start().await;
    let connection = world.spdy("portforward", "portforward.k8s.io").await;
    let headers = |kind| Headers::new().with("streamType", kind).with("port", "82").with("requestID", "0");
    let error = connection.open(headers("error")).await.unwrap();
    let mut data = connection.open(headers("data")).await.unwrap();
    data.sender.send(Bytes::from_static(b"hi")).await.unwrap();
    assert_eq!(data.receiver.next().await.unwrap(), Some(Bytes::from_static(b"hi")));
    drop(data);
    assert_eq!(timeout(PATIENCE, world.left.recv()).await.unwrap(), Some("gone"));
    drop(error);
}

#[tokio::test]
async fn port_forward_in_a_tunnel_is_the_same_inside_a_websocket() {
    let world = World::start().await;
    let socket = world.websocket("portforward", "SPDY/3.1+portforward.k8s.io").await;
    let (near, far) = tokio::io::duplex(1_000);
    let (mut sink, mut source) = socket.split();
    let (mut from_near, mut to_near) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(Ok(message)) = source.next().await {
            if let Message::Binary(bytes) = message {
                to_near.write_all(&bytes).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        // Where messages end means nothing.
        let mut bytes = [0; 777];
        while let Ok(size @ 1..) = from_near.read(&mut bytes).await {
            sink.send(Message::Binary(Bytes::copy_from_slice(&bytes[..size]))).await.unwrap();
        }
    });
    let (connection, _incoming) = Connection::start(near, Role::Client);
    forward_both_ways(&connection).await;
}

#[tokio::test]
async fn kube_runs_commands_and_learns_how_they_ended() {
    let world = World::start().await;
    let parameters = AttachParams::default().stdin(true).stderr(false);
    let mut process = world.pods().exec("web", ["copy"], &parameters).await.unwrap();
    let mut stdin = process.stdin().unwrap();
    let mut stdout = process.stdout().unwrap();
    let status = process.take_status().unwrap();
    stdin.write_all(b"in").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut output = String::new();
    timeout(PATIENCE, stdout.read_to_string(&mut output)).await.unwrap().unwrap();
    assert_eq!(output, "outin");
    let status = timeout(PATIENCE, status).await.unwrap().unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    timeout(PATIENCE, process.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn kube_forwards_ports_and_learns_of_refused_ones() {
    let world = World::start().await;
    let mut forward = world.pods().portforward("web", &[82, 81]).await.unwrap();
    let refused = forward.take_error(81).unwrap();
    let why = timeout(PATIENCE, refused).await.unwrap().unwrap();
    assert!(why.contains("connection refused"), "{why}");
    let mut connection = forward.take_stream(82).unwrap();
    connection.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    timeout(PATIENCE, connection.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn a_log_goes_out_as_it_comes_and_its_stream_ends_with_the_client() {
    let mut world = World::start().await;
    let parameters = LogParams { tail_lines: Some(7), ..LogParams::default() };
    assert_eq!(world.pods().logs("web", &parameters).await.unwrap(), "tail Some(7)\n");
    let response = world.ask("log?follow=true", &[]).await;
    assert_eq!(response.headers()["content-type"], "text/plain");
    let mut body = response.into_body();
    let first = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "tail None\n");
    drop(body);
    assert_eq!(timeout(PATIENCE, world.left.recv()).await.unwrap(), Some("gone"));
}
