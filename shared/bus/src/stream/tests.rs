//! Both ends of streams on a real nats-server.

use std::time::Duration;

use bytes::Bytes;
use model::{Reason, Status};
use testkit::NatsServer;
use tokio::time::timeout;

use super::end::Pace;
use super::*;
use crate::{Bus, Config, codec, subject};

const NODE: &str = "node-1.example";
/// Long enough for a busy machine; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Pace = Pace { keepalive: Duration::from_millis(100), silence: Duration::from_millis(600) };

async fn connect(server: &NatsServer, name: &str) -> Bus {
    let bus = Bus::connect(&Config::new(&server.url(), name)).await.unwrap();
    // Connecting goes on in the background.
    bus.client().flush().await.unwrap();
    bus
}

fn logs(id: &str) -> Open {
    Open {
        id: id.to_owned(),
        namespace: "default".to_owned(),
        pod: "redis".to_owned(),
        uid: "u".to_owned(),
        kind: Kind::Logs { container: "redis".to_owned(), options: LogOptions::default() },
    }
}

/// A node and an API server on connections of their own.
struct Pair {
    api_server: Bus,
    openings: Openings,
}

impl Pair {
    async fn new(server: &NatsServer) -> Pair {
        let node = connect(server, "node").await;
        let openings = serve(&node, NODE).await.unwrap();
        // The server knows of the subscription once it has answered on the same connection.
        node.client().flush().await.unwrap();
        Pair { api_server: connect(server, "apiserver").await, openings }
    }

    /// The API server's end and the node's.
    async fn stream(&mut self, id: &str) -> (Stream, Stream) {
        let accept = async { self.openings.next().await.unwrap().accept().await.unwrap() };
        let (api, node) = tokio::join!(open(&self.api_server, NODE, logs(id)), accept);
        (api.unwrap(), node)
    }
}

async fn recv(stream: &mut Stream) -> Result<Event, StreamError> {
    timeout(PATIENCE, stream.recv()).await.expect("an event in time")
}

async fn expect_data(stream: &mut Stream, channel: u8, text: &[u8]) {
    match recv(stream).await {
        Ok(Event::Data(from, chunk)) => assert_eq!((from, &chunk[..]), (channel, text)),
        other => panic!("expected data, got {other:?}"),
    }
}

async fn expect_end(stream: &mut Stream, status: &[u8]) {
    match recv(stream).await {
        Ok(Event::Close(bytes)) => assert_eq!(&bytes[..], status),
        other => panic!("expected the end, got {other:?}"),
    }
    assert_eq!(recv(stream).await.unwrap_err(), StreamError::Ended);
}

#[tokio::test]
async fn data_go_both_ways_and_arrive_before_the_end() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let (mut api, mut node) = pair.stream("a").await;
    api.send(0, Bytes::from_static(b"in")).await.unwrap();
    api.eof(0).await.unwrap();
    expect_data(&mut node, 0, b"in").await;
    assert!(matches!(recv(&mut node).await, Ok(Event::Eof(0))));
    node.send(1, Bytes::from_static(b"out")).await.unwrap();
    node.send(2, Bytes::from_static(b"err")).await.unwrap();
    node.close(Bytes::from_static(b"{}")).await.unwrap();
    drop(node);
    expect_data(&mut api, 1, b"out").await;
    expect_data(&mut api, 2, b"err").await;
    expect_end(&mut api, b"{}").await;
    assert_eq!(api.send(0, Bytes::from_static(b"late")).await, Err(StreamError::Ended));
}

#[tokio::test]
async fn a_refusal_reaches_the_user_as_it_is() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let why =
        Status::bad_request("container \"redis\" in pod \"redis\" is waiting to start: ContainerCreating");
    let refuse = async { pair.openings.next().await.unwrap().refuse(why.clone()).await };
    let (opened, ()) = tokio::join!(open(&pair.api_server, NODE, logs("a")), refuse);
    assert_eq!(opened.unwrap_err(), why);
}

#[tokio::test]
async fn a_node_that_is_not_connected_is_said_to_be_so_at_once() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server, "apiserver").await;
    let refused = open(&bus, "gone", logs("a")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::InternalError);
    assert!(refused.message.contains("node \"gone\": it is not connected"), "{}", refused.message);
}

#[tokio::test]
async fn a_bus_that_is_gone_is_said_to_be_so_at_once() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server, "apiserver").await;
    server.kill();
    testkit::eventually("the connection is lost", || async { (!bus.is_connected()).then_some(()) }).await;
    let refused = open(&bus, NODE, logs("a")).await.unwrap_err();
    assert_eq!((refused.reason, refused.retry_after_seconds), (Reason::ServiceUnavailable, 1));
}

#[tokio::test]
async fn an_id_that_would_subscribe_to_others_is_refused() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let answer: crate::stream::Opened = {
        let serve = async { pair.openings.next().await };
        let (subject, question) = (subject::open(NODE), logs("x.>"));
        let ask = pair.api_server.request(&subject, &question, PATIENCE);
        tokio::select! { answer = ask => answer.unwrap(), _ = serve => panic!("such a request is not handed out") }
    };
    assert_eq!(answer.unwrap_err().reason, Reason::BadRequest);
}

#[tokio::test]
async fn a_hundred_megabytes_arrive_whole_and_in_order() {
    const TOTAL: usize = 100 * 1024 * 1024;
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let (mut api, node) = pair.stream("a").await;
    let send = tokio::spawn(async move {
        let mut sent = 0;
        while sent < TOTAL {
            let size = (TOTAL - sent).min(200_000);
            let part: Vec<u8> = (sent..sent + size).map(|at| (at / 251 + at % 251) as u8).collect();
            node.send(1, part.into()).await.unwrap();
            sent += size;
        }
        node.close(Bytes::new()).await.unwrap();
    });
    let mut got = 0;
    loop {
        match recv(&mut api).await.unwrap() {
            Event::Data(1, chunk) => {
                for (at, byte) in (got..).zip(chunk.iter()) {
                    assert_eq!(*byte, (at / 251 + at % 251) as u8, "at {at}");
                }
                got += chunk.len();
            }
            Event::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, TOTAL);
    send.await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_holds_its_writer_and_nobody_else() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let (mut slow, slow_node) = pair.stream("slow").await;
    let (mut quick, quick_node) = pair.stream("quick").await;

    slow_node.send(1, vec![1; WINDOW].into()).await.unwrap();
    let mut waiting = held(slow_node.send(1, Bytes::from_static(b"more")));
    assert!(waiting.is_pending().await, "nobody has read, so the window is full");

    slow_node.send(2, Bytes::from_static(b"err")).await.expect("another channel of the same stream goes on");
    let send = tokio::spawn(async move { quick_node.send(1, vec![2; 8 * WINDOW].into()).await });
    let mut got = 0;
    while got < 8 * WINDOW {
        match recv(&mut quick).await.unwrap() {
            Event::Data(1, chunk) => got += chunk.len(),
            other => panic!("{other:?}"),
        }
    }
    send.await.unwrap().unwrap();
    assert!(waiting.is_pending().await, "what others read is no credit here");

    let mut read = 0;
    while read < WINDOW {
        if let Event::Data(1, chunk) = recv(&mut slow).await.unwrap() {
            read += chunk.len();
        }
    }
    timeout(PATIENCE, waiting.finished()).await.expect("the reader has read").unwrap();
}

#[tokio::test]
async fn a_chunk_that_is_kept_keeps_its_credit() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let (mut api, node) = pair.stream("a").await;
    node.send(1, vec![0; WINDOW].into()).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..WINDOW / FRAME_BYTES {
        kept.push(recv(&mut api).await.unwrap());
    }
    let mut waiting = held(node.send(1, Bytes::from_static(b"more")));
    assert!(waiting.is_pending().await);
    kept.clear();
    timeout(PATIENCE, waiting.finished()).await.expect("credit came back").unwrap();
}

#[tokio::test]
async fn an_end_that_is_dropped_ends_the_other() {
    let server = NatsServer::start().unwrap();
    let mut pair = Pair::new(&server).await;
    let (api, mut node) = pair.stream("a").await;
    drop(api);
    expect_end(&mut node, b"").await;
}

#[tokio::test]
async fn a_gap_fails_the_stream_and_the_peer_is_told() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server, "node").await;
    let mut outgoing = bus.subscribe("out").await.unwrap();
    let incoming = bus.subscribe("in").await.unwrap();
    let mut stream = Stream::start(&bus, incoming, "out".to_owned(), Pace::default());
    bus.publish("in", &Frame { number: 0, body: FrameBody::Data(1, Bytes::from_static(b"a")) })
        .await
        .unwrap();
    bus.publish("in", &Frame { number: 2, body: FrameBody::Data(1, Bytes::from_static(b"c")) })
        .await
        .unwrap();
    expect_data(&mut stream, 1, b"a").await;
    assert_eq!(recv(&mut stream).await.unwrap_err(), StreamError::Gap);
    let last: Frame = timeout(PATIENCE, outgoing.next()).await.unwrap().unwrap().decode().unwrap();
    assert!(matches!(last.body, FrameBody::Close(_)));
}

#[tokio::test]
async fn malformed_frames_fail_the_stream() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server, "node").await;
    let incoming = bus.subscribe("in").await.unwrap();
    let mut stream = Stream::start(&bus, incoming, "out".to_owned(), Pace::default());
    bus.publish_bytes("in", Bytes::from_static(b"\xc1 no messagepack")).await.unwrap();
    assert_eq!(recv(&mut stream).await.unwrap_err(), StreamError::Protocol("a malformed frame"));
}

#[tokio::test]
async fn a_silent_peer_fails_the_stream_and_frees_a_waiting_writer() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server, "node").await;
    let incoming = bus.subscribe("in").await.unwrap();
    let (writer, mut reader) = Stream::start(&bus, incoming, "out".to_owned(), SHORT).split();
    let waiting = tokio::spawn(async move { writer.send(1, vec![0; WINDOW + 1].into()).await });
    let failed = timeout(PATIENCE, reader.recv()).await.expect("silence is noticed");
    assert_eq!(failed.unwrap_err(), StreamError::Silent);
    assert_eq!(waiting.await.unwrap(), Err(StreamError::Silent));
}

#[tokio::test]
async fn keepalives_carry_an_idle_stream_over_many_silences() {
    let server = NatsServer::start().unwrap();
    let (left, right) = (connect(&server, "left").await, connect(&server, "right").await);
    let to_left = left.subscribe("to-left").await.unwrap();
    let to_right = right.subscribe("to-right").await.unwrap();
    left.client().flush().await.unwrap();
    right.client().flush().await.unwrap();
    let mut a = Stream::start(&left, to_left, "to-right".to_owned(), SHORT);
    let b = Stream::start(&right, to_right, "to-left".to_owned(), SHORT);
    assert!(timeout(SHORT.silence * 3, a.recv()).await.is_err(), "nothing happens");
    b.send(1, Bytes::from_static(b"still here")).await.unwrap();
    expect_data(&mut a, 1, b"still here").await;
}

#[tokio::test]
async fn both_ends_notice_that_the_bus_is_gone() {
    let mut server = NatsServer::start().unwrap();
    let (left, right) = (connect(&server, "left").await, connect(&server, "right").await);
    let to_left = left.subscribe("to-left").await.unwrap();
    let to_right = right.subscribe("to-right").await.unwrap();
    left.client().flush().await.unwrap();
    right.client().flush().await.unwrap();
    let mut a = Stream::start(&left, to_left, "to-right".to_owned(), SHORT);
    let mut b = Stream::start(&right, to_right, "to-left".to_owned(), SHORT);
    a.send(0, Bytes::from_static(b"x")).await.unwrap();
    expect_data(&mut b, 0, b"x").await;
    server.kill();
    for end in [&mut a, &mut b] {
        assert!(matches!(recv(end).await.unwrap_err(), StreamError::Silent | StreamError::Disconnected));
    }
}

#[test]
fn data_in_a_frame_is_a_binary_field() {
    let frame = Frame { number: 7, body: FrameBody::Data(1, vec![0xff; 1_000].into()) };
    assert!(codec::encode(&frame).len() < 1_050, "an array of numbers would be twice as long");
}

/// A future that a test looks at before it waits for it.
struct Held<F: Future>(std::pin::Pin<Box<F>>);

fn held<F: Future>(future: F) -> Held<F> {
    Held(Box::pin(future))
}

impl<F: Future> Held<F> {
    /// Whether it still waits, having had time to go on.
    async fn is_pending(&mut self) -> bool {
        timeout(Duration::from_millis(200), &mut self.0).await.is_err()
    }

    async fn finished(self) -> F::Output {
        self.0.await
    }
}
