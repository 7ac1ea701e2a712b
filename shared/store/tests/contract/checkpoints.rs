//! What checkpoints must not change.

use std::time::Duration;

use bytes::Bytes;
use model::{Class, Key};
use store::log::{Log, Stream};
use store::{Expect, HistoryBounds, Options, Store, Txn};

use crate::faults::{append, message};
use crate::rig::{Rig, barrier, commit, number, only, pod, put, value, write};
use crate::watches::follow;

/// A checkpoint, however often it takes.
async fn checkpoint(store: &Store) {
    while store.checkpoint().await.is_err() {}
}

async fn first(log: &impl Log) -> u64 {
    loop {
        if let Ok(bounds) = log.bounds(Stream::State).await {
            return bounds.first;
        }
    }
}

/// Pushes what is to be purged out of the part of the log that a purge leaves for slow readers.
async fn fill(store: &Store) {
    let large = Bytes::from(format!(r#"{{"metadata":{{}},"data":"{}"}}"#, "x".repeat(2 << 20)));
    for _ in 0..10 {
        let name = Key::object("", "configmaps", "default", "large");
        while store.commit(put(name.clone(), Expect::Any, large.clone())).await.is_err() {}
    }
}

async fn populate(store: &Store) {
    populate_pods(store).await;
    for n in 0..30 {
        let secret = Key::object("", "secrets", "default", &format!("s{}", n % 7));
        commit(store, put(secret, Expect::Any, value("s", n))).await;
    }
    for n in (0..30).step_by(3) {
        commit(store, Txn::of(pod(&format!("p{n}")), Expect::Any, store::Action::Delete)).await;
    }
}

pub async fn a_store_opened_from_a_checkpoint_is_the_same(rig: &mut impl Rig) {
    let store = rig.store().await;
    populate(&store).await;
    fill(&store).await;
    checkpoint(&store).await;
    assert!(first(&rig.log().await).await > 10, "the log was purged");
    let from_checkpoint = rig.store().await;
    assert_eq!(from_checkpoint.list("").items, store.list("").items);
    write(&store, "after", 1).await;
    let with_tail = rig.store().await;
    assert_eq!(with_tail.list("").items, store.list("").items);
    let pods = rig.open(only(Class::Pods)).await;
    assert_eq!(pods.list("").items, store.list("core/pods/").items);
    // And the next checkpoint replaces this one.
    fill(&with_tail).await;
    checkpoint(&with_tail).await;
    let again = rig.store().await;
    barrier(&store).await;
    assert_eq!(again.list("").items, store.list("").items);
}

pub async fn a_watch_goes_on_across_a_checkpoint(rig: &mut impl Rig) {
    let store = rig.store().await;
    write(&store, "a", 0).await;
    fill(&store).await;
    let listing = store.list("core/pods/");
    populate(&store).await;
    checkpoint(&store).await;
    let end = write(&store, "end", 1).await;
    let fresh = rig.store().await;
    barrier(&fresh).await;
    // Its client was here before the checkpoint was made, and knew the store that made it.
    let mut watch = fresh.watch("core/pods/", listing.revision).expect("the history went along");
    let seen = follow(&mut watch, listing.items, listing.revision, end).await;
    assert_eq!(seen, fresh.list("core/pods/").items);
}

pub async fn a_late_copy_does_nothing_after_a_checkpoint(rig: &mut impl Rig) {
    let store = rig.store().await;
    let log = rig.log().await;
    let copy = message(1, 9, 1, store.revision(), &pod("a"), &value("a", 1));
    append(&log, "9-1", copy.clone()).await;
    barrier(&store).await;
    write(&store, "a", 2).await;
    fill(&store).await;
    checkpoint(&store).await;
    let fresh = rig.store().await;
    append(&log, "9-1-again", copy).await;
    for store in [&store, &fresh] {
        barrier(store).await;
        assert_eq!(number(&store.get(&pod("a")).expect("it was written").value), 2);
    }
}

pub async fn two_checkpoint_writers_do_no_harm(rig: &mut impl Rig) {
    let stores = [rig.store().await, rig.store().await];
    for round in 0..5 {
        for n in 0..20 {
            write(&stores[n as usize % 2], &format!("p{n}"), round).await;
        }
        // One of the two may find that the other was quicker.
        let _ = tokio::join!(stores[0].checkpoint(), stores[1].checkpoint());
        let fresh = rig.store().await;
        barrier(&stores[0]).await;
        assert_eq!(fresh.list("").items, stores[0].list("").items);
    }
}

pub async fn a_reader_left_behind_a_purge_goes_on_from_the_checkpoint(rig: &mut impl Rig) {
    let writer = rig.store().await;
    let short = Options { history: HistoryBounds { changes: 5, bytes: usize::MAX }, ..Options::default() };
    let all = rig.open(short).await;
    let pods = rig.open(only(Class::Pods)).await;
    write(&writer, "a", 1).await;
    barrier(&all).await;
    barrier(&pods).await;
    rig.crash();
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.restart();
    // The readers come back at different times; the writer does not wait for them.
    populate(&writer).await;
    fill(&writer).await;
    checkpoint(&writer).await;
    let end = write(&writer, "end", 1).await;
    for reader in [&all, &pods] {
        while reader.wait_for(end).await.is_err() {}
        assert_eq!(reader.list("core/pods/").items, writer.list("core/pods/").items);
    }
    // They still write, and learn the outcome.
    for (name, reader) in [("x", &all), ("y", &pods)] {
        let revision = write(reader, name, 1).await;
        barrier(&writer).await;
        assert_eq!(writer.get(&pod(name)).map(|item| item.revision), Some(revision));
    }
}

/// A class to which nobody writes for a long time.
pub async fn a_reader_of_a_quiet_class_is_not_disturbed_by_checkpoints(rig: &mut impl Rig) {
    let writer = rig.store().await;
    let secret = Key::object("", "secrets", "default", "s");
    commit(&writer, put(secret.clone(), Expect::Any, value("s", 1))).await;
    let reader = rig.open(only(Class::Secrets)).await;
    barrier(&reader).await;
    let mut watch = reader.watch("core/secrets/", reader.revision()).expect("not too old");
    for _ in 0..3 {
        populate_pods(&writer).await;
        fill(&writer).await;
        checkpoint(&writer).await;
        barrier(&reader).await;
    }
    commit(&writer, put(secret.clone(), Expect::Any, value("s", 2))).await;
    let change = crate::watches::change(&mut watch).await.expect("not cut off");
    assert_eq!(number(&change.previous().expect("it was there").value), 1);
}

async fn populate_pods(store: &Store) {
    for n in 0..30 {
        write(store, &format!("p{n}"), n).await;
    }
}
