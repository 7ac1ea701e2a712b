//! What only JetStream can show: streams that are missing, lost, or held by a reader that is too slow.

use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use bytes::Bytes;
use model::{Class, Key};
use store::jetstream::{JetStream, JetStreamOptions};
use store::log::{Log, LogError, Stream};
use store::{Action, Expect, OpOutcome, Options, Store, Txn};
use testkit::nats::NatsServer;
use testkit::wait::eventually;

async fn connect(server: &NatsServer) -> async_nats::Client {
    async_nats::connect(server.url()).await.expect("the server runs")
}

async fn log(server: &NatsServer) -> JetStream {
    JetStream::connect(connect(server).await, JetStreamOptions::default())
        .await
        .expect("the streams can be made")
}

async fn open(server: &NatsServer) -> Store {
    Store::open(log(server).await, Options::default()).await.expect("the log can be followed")
}

async fn write(store: &Store, name: &str) -> model::Revision {
    let value = Bytes::from(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#));
    let txn = Txn::of(Key::object("", "pods", "default", name), Expect::Any, Action::Put(value));
    match store.commit(txn).await.expect("the log answers").outcomes[..] {
        [OpOutcome::Done(revision)] => revision,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_right_to_make_streams_waits_for_them() {
    let server = NatsServer::start().expect("nats-server starts");
    let options = JetStreamOptions { create: false, ..JetStreamOptions::default() };
    let client = connect(&server).await;
    let waiting = tokio::spawn(async move { JetStream::connect(client, options).await });
    let store = open(&server).await;
    write(&store, "a").await;
    let log = waiting.await.expect("no panic").expect("the streams are there");
    assert!(Store::open(log, Options::default()).await.expect("a log").list("").items.len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_lost_begins_where_no_revision_comes_again() {
    let server = NatsServer::start().expect("nats-server starts");
    let store = open(&server).await;
    write(&store, "kept").await;
    store.checkpoint().await.expect("the log answers");
    let lost = write(&store, "lost").await;
    drop(store);
    let context = jetstream::new(connect(&server).await);
    context.delete_stream("STATE").await.expect("it is there");
    let restored = open(&server).await;
    let names: Vec<_> = restored.list("").items.iter().map(|item| item.key.name().to_owned()).collect();
    assert_eq!(names, ["kept"], "what was after the checkpoint is lost, what was before is not");
    assert!(restored.watch("", lost).is_err(), "whoever has seen the lost part lists again");
    assert!(write(&restored, "new").await > lost);
    assert_eq!(open(&server).await.list("").items, restored.list("").items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_back_stops_the_reader() {
    let server = NatsServer::start().expect("nats-server starts");
    let store = open(&server).await;
    for _ in 0..5 {
        write(&store, "a").await;
    }
    let context = jetstream::new(connect(&server).await);
    let config = context.get_stream("STATE").await.expect("a stream").cached_info().config.clone();
    context.delete_stream("STATE").await.expect("it is there");
    context.create_stream(config).await.expect("it can be made");
    let mut health = store.health();
    let stopped = health.wait_for(|health| matches!(health, store::Health::Stopped(_)));
    tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("in time").expect("the store lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_ends_the_consumers_that_still_need_what_it_removes() {
    let server = NatsServer::start().expect("nats-server starts");
    let store = open(&server).await;
    write(&store, "a").await;
    // A push consumer whose subject nobody listens to gets nothing.
    let context = jetstream::new(connect(&server).await);
    let stream = context.get_stream("STATE").await.expect("a stream");
    let slow = consumer::push::Config {
        name: Some("slow".into()),
        deliver_subject: "nobody.listens".into(),
        ack_policy: consumer::AckPolicy::None,
        inactive_threshold: Duration::from_secs(600),
        ..Default::default()
    };
    stream.create_consumer(slow).await.expect("it can be made");
    for _ in 0..10 {
        write(&store, "a").await;
    }
    log(&server).await.purge(Stream::State, 8).await.expect("the log answers");
    assert!(stream.consumer_info("slow").await.is_err(), "the slow one is gone");
    let revision = write(&store, "b").await;
    assert!(store.revision() >= revision, "the one that keeps up is not");
    assert_eq!(log(&server).await.bounds(Stream::State).await.map(|bounds| bounds.first), Ok(8));
}

/// What an operator has removed by hand is missing for every reader alike, and stops nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_removed_by_hand_is_passed_over() {
    let server = NatsServer::start().expect("nats-server starts");
    let store = open(&server).await;
    write(&store, "a").await;
    let removed = write(&store, "b").await;
    write(&store, "c").await;
    let context = jetstream::new(connect(&server).await);
    let stream = context.get_stream("STATE").await.expect("a stream");
    stream.delete_message(removed.sequence()).await.expect("it can be removed");
    let last = write(&store, "d").await;
    stream.delete_message(last.sequence()).await.expect("it can be removed");
    let late = open(&server).await;
    let names: Vec<_> = late.list("").items.iter().map(|item| item.key.name().to_owned()).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(late.barrier().await.expect("the log answers") >= last);
}

/// A server that accepts no more says so, the writer hears it, and nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_and_heals() {
    let server = NatsServer::start().expect("nats-server starts");
    let store = open(&server).await;
    write(&store, "a").await;
    let context = jetstream::new(connect(&server).await);
    let config = context.get_stream("STATE").await.expect("a stream").cached_info().config.clone();
    let full = jetstream::stream::Config { max_bytes: 600, ..config.clone() };
    context.update_stream(full).await.expect("it can be changed");
    let fill = |name: &str| {
        let value = Bytes::from(format!(r#"{{"metadata":{{}},"data":"{}"}}"#, "x".repeat(1000)));
        Txn::of(Key::object("", "pods", "default", name), Expect::Any, Action::Put(value))
    };
    let refused = store.commit(fill("b")).await.expect_err("there is no room");
    assert!(refused.to_string().contains("maximum bytes exceeded"), "{refused}");
    context.update_stream(config).await.expect("it can be changed");
    eventually("the writer goes on", || async { store.commit(fill("c")).await.ok() }).await;
    assert_eq!(open(&server).await.list("").items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_is_too_large_for_the_server_is_refused() {
    let server = NatsServer::start().expect("nats-server starts");
    let log = log(&server).await;
    let refused = log.append(Class::Pods, "1", vec![0; log.max_message() + 1024].into()).await;
    assert!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
}
