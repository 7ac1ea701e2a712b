//! Our client against our server, and against bytes that no client would send.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use spdy::{Connection, Error, Headers, Incoming, Receiver, Role, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

/// Long enough for a busy machine; a test that is right never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Pair {
    client: Connection,
    server: Connection,
    incoming: Incoming,
    /// Held so that the client could be offered streams.
    _client_incoming: Incoming,
}

fn pair() -> Pair {
    let (left, right) = tokio::io::duplex(16 * 1024);
    let (client, _client_incoming) = Connection::start(left, Role::Client);
    let (server, incoming) = Connection::start(right, Role::Server);
    Pair { client, server, incoming, _client_incoming }
}

/// A server that is fed by hand.
fn raw_server() -> (DuplexStream, Connection, Incoming) {
    let (left, right) = tokio::io::duplex(64 * 1024);
    let (server, incoming) = Connection::start(right, Role::Server);
    (left, server, incoming)
}

async fn open(pair: &mut Pair, name: &str) -> (Stream, Stream) {
    let headers = Headers::new().with("streamType", name);
    let accept = async { pair.incoming.next().await.expect("a stream").accept() };
    let (client, server) = tokio::join!(pair.client.open(headers), accept);
    let server = server.expect("the connection stands");
    assert_eq!(server.headers.get("streamType"), Some(name));
    (client.expect("the server accepts"), server)
}

async fn read_all(receiver: &mut Receiver) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = timeout(PATIENCE, receiver.next()).await.expect("data in time")? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Takes the whole stream, so that its other half is not given up meanwhile.
async fn read_stream(mut stream: Stream) -> Result<Vec<u8>, Error> {
    read_all(&mut stream.receiver).await
}

#[tokio::test]
async fn streams_carry_bytes_both_ways_and_end_one_way_at_a_time() {
    let mut pair = pair();
    let (mut client, mut server) = open(&mut pair, "stdin").await;
    client.sender.send(Bytes::from_static(b"question")).await.unwrap();
    client.sender.finish().unwrap();
    assert_eq!(read_all(&mut server.receiver).await.unwrap(), b"question");
    server.sender.send(Bytes::from_static(b"answer")).await.unwrap();
    server.sender.finish().unwrap();
    assert_eq!(read_all(&mut client.receiver).await.unwrap(), b"answer");
    assert_eq!(client.receiver.next().await, Ok(None), "the end stays the end");
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let mut pair = pair();
    let mut clients = Vec::new();
    for at in 0..50u8 {
        let (mut client, server) = open(&mut pair, &format!("stream-{at}")).await;
        client.sender.send(vec![at; 10_000].into()).await.unwrap();
        client.sender.finish().unwrap();
        clients.push((client, tokio::spawn(read_stream(server))));
    }
    for (at, (_client, read)) in clients.into_iter().enumerate() {
        assert_eq!(read.await.unwrap().unwrap(), vec![at as u8; 10_000]);
    }
}

#[tokio::test]
async fn fifty_megabytes_arrive_whole_and_in_order() {
    const PARTS: usize = 500;
    const PART: usize = 100_000;
    let mut pair = pair();
    let (mut client, mut server) = open(&mut pair, "stdout").await;
    let send = tokio::spawn(async move {
        for at in 0..PARTS {
            server.sender.send(vec![(at % 251) as u8; PART].into()).await.unwrap();
        }
        server.sender.finish().unwrap();
    });
    let all = read_all(&mut client.receiver).await.unwrap();
    assert_eq!(all.len(), PARTS * PART);
    assert!(all.chunks(PART).enumerate().all(|(at, part)| part.iter().all(|byte| *byte == (at % 251) as u8)));
    send.await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_stands_still_holds_the_sender_in_bounded_memory() {
    let mut pair = pair();
    let (mut client, mut server) = open(&mut pair, "stdin").await;
    let mut sent = 0;
    while timeout(Duration::from_millis(200), client.sender.send(vec![0; 32 * 1024].into())).await.is_ok() {
        sent += 1;
        assert!(sent < 64, "2 MB are under way and nobody reads");
    }
    assert!(server.receiver.next().await.unwrap().is_some());
}

#[tokio::test]
async fn a_refused_stream_fails_where_it_was_opened() {
    let mut pair = pair();
    let refuse = async { drop(pair.incoming.next().await.unwrap()) };
    let (opened, ()) = tokio::join!(pair.client.open(Headers::new()), refuse);
    assert_eq!(opened.unwrap_err(), Error::Reset);
    open(&mut pair, "stdin").await;
}

#[tokio::test]
async fn a_stream_that_is_given_up_fails_on_the_other_side_only() {
    let mut pair = pair();
    let (client, mut server) = open(&mut pair, "data").await;
    let (mut other, mut other_server) = open(&mut pair, "error").await;
    drop(client);
    assert_eq!(read_all(&mut server.receiver).await, Err(Error::Reset));
    timeout(PATIENCE, server.sender.gone()).await.expect("the sender hears of it");
    assert_eq!(server.sender.send(Bytes::from_static(b"late")).await, Err(Error::Reset));
    other.sender.send(Bytes::from_static(b"fine")).await.unwrap();
    assert_eq!(other_server.receiver.next().await, Ok(Some(Bytes::from_static(b"fine"))));
}

#[tokio::test]
async fn what_was_finished_arrives_though_the_receiver_was_dropped() {
    let mut pair = pair();
    let (mut client, server) = open(&mut pair, "data").await;
    let Stream { mut sender, receiver, .. } = server;
    drop(receiver);
    sender.send(vec![7; 100_000].into()).await.unwrap();
    sender.finish().unwrap();
    assert_eq!(read_all(&mut client.receiver).await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn closing_delivers_everything_first() {
    let mut pair = pair();
    let (mut client, mut server) = open(&mut pair, "error").await;
    let Pair { client: connection, server: closing, .. } = pair;
    let close = async {
        server.sender.send(vec![1; 200_000].into()).await.unwrap();
        server.sender.finish().unwrap();
        closing.close().await;
    };
    let read = async {
        let all = read_all(&mut client.receiver).await.unwrap();
        connection.closed().await;
        all
    };
    let ((), all) = tokio::join!(close, read);
    assert_eq!(all.len(), 200_000);
    assert_eq!(client.sender.send(Bytes::from_static(b"late")).await, Err(Error::Reset));
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_no_end_of_a_stream() {
    let mut pair = pair();
    let (client, mut server) = open(&mut pair, "stdin").await;
    drop(pair.client);
    assert!(matches!(read_all(&mut server.receiver).await, Err(Error::Closed | Error::Io(_))));
    drop(client);
}

#[tokio::test]
async fn pings_are_answered_and_unknown_frames_passed_over() {
    let (mut wire, _server, _incoming) = raw_server();
    let settings = [0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0];
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9];
    wire.write_all(&settings).await.unwrap();
    wire.write_all(&ping).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, wire.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, ping);
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_told_and_cut_off() {
    let (mut wire, server, _incoming) = raw_server();
    // A stream whose headers are no zlib stream.
    wire.write_all(&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, wire.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest[..4], [0x80, 3, 0, 7], "GOAWAY");
    assert_eq!(rest[12..16], [0, 0, 0, 1], "protocol error");
    timeout(PATIENCE, server.closed()).await.unwrap();
    assert!(server.open(Headers::new()).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_bring_a_connection_down_with_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for role in [Role::Client, Role::Server] {
                let (mut wire, right) = tokio::io::duplex(64 * 1024);
                let (connection, mut incoming) = Connection::start(right, role);
                // A beginning that is right, so that what follows is looked at.
                wire.write_all(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]).await.unwrap();
                wire.write_all(&bytes).await.unwrap();
                drop(wire);
                timeout(PATIENCE, connection.closed()).await.expect("the end of the bytes ends the connection");
                prop_assert!(incoming.next().await.is_none());
            }
            Ok(())
        })?;
    }
}
