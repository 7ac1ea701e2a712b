//! What holds when things go wrong.

use std::time::Duration;

use bytes::Bytes;
use model::{Class, Key, Revision};
use serde::Serialize;
use store::{CommitError, Expect, Health, Log, OpOutcome, Store};

use crate::rig::{Rig, barrier, number, pod, put, read_as, value, write};

/// A frame as a writer that no longer exists would have sent it.
#[derive(Serialize)]
struct Frame<'a> {
    v: u64,
    writer: u64,
    number: u64,
    seen: u64,
    txns: Vec<FrameTxn<'a>>,
}

#[derive(Serialize)]
struct FrameTxn<'a> {
    all: bool,
    guards: Vec<(&'a str, u64)>,
    ops: Vec<FrameOp<'a>>,
}

#[derive(Serialize)]
struct FrameOp<'a> {
    key: &'a str,
    expect: Option<u64>,
    #[serde(with = "serde_bytes")]
    put: Option<&'a [u8]>,
}

/// A message that writes an object whatever is there.
pub fn message(v: u64, writer: u64, sent: u64, seen: Revision, key: &Key, value: &Bytes) -> Bytes {
    let op = FrameOp { key: key.as_str(), expect: None, put: Some(value) };
    let txn = FrameTxn { all: false, guards: Vec::new(), ops: vec![op] };
    let frame = Frame { v, writer, number: sent, seen: seen.sequence(), txns: vec![txn] };
    rmp_serde::to_vec_named(&frame).expect("it encodes").into()
}

/// Appends bytes as they are, for certain.
pub async fn append(log: &impl Log, id: &str, payload: Bytes) -> u64 {
    loop {
        if let Ok(sequence) = log.append(Class::Pods, id, payload.clone()).await {
            return sequence;
        }
    }
}

async fn until(store: &Store, wanted: impl Fn(&Health) -> bool) {
    let mut health = store.health();
    health.wait_for(|health| wanted(health)).await.expect("the store lives");
}

pub async fn acknowledged_writes_survive_a_crash(rig: &mut impl Rig) {
    const WRITERS: u64 = 16;
    let store = rig.store().await;
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("p{writer}");
                let (mut acknowledged, mut tried) = (0, 0);
                let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
                while tokio::time::Instant::now() < deadline {
                    tried += 1;
                    let txn = put(pod(&name), Expect::Any, value(&name, tried));
                    match store.commit(txn).await.map(|committed| committed.outcomes) {
                        Ok(outcomes) if matches!(outcomes[..], [OpOutcome::Done(_)]) => acknowledged = tried,
                        Ok(other) => panic!("{other:?}"),
                        Err(CommitError::Unavailable(_) | CommitError::Stale) => {}
                        Err(error) => panic!("{error}"),
                    }
                    // In memory nothing else takes time.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (name, acknowledged, tried)
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        rig.crash();
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.restart();
    }
    let written = futures::future::join_all(writing).await;
    barrier(&store).await;
    let fresh = rig.store().await;
    for (name, acknowledged, tried) in written.into_iter().map(|task| task.expect("no panic")) {
        let item = fresh.get(&pod(&name)).expect("some write was acknowledged");
        let found = number(&item.value);
        assert!(
            (acknowledged..=tried).contains(&found),
            "{name}: {found}, acknowledged {acknowledged}, tried {tried}"
        );
        assert_eq!(store.get(&pod(&name)), Some(item));
    }
}

pub async fn an_outage_is_told_and_heals(rig: &mut impl Rig) {
    let store = rig.store().await;
    let before = write(&store, "a", 1).await;
    rig.crash();
    until(&store, |health| matches!(health, Health::Disconnected(_))).await;
    let refused = store.commit(put(pod("b"), Expect::Any, value("b", 1))).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert!(store.barrier().await.is_err());
    assert_eq!(store.get(&pod("a")).map(|item| item.revision), Some(before), "reads go on");
    // Once the outage is known, nobody is kept waiting.
    let asked = tokio::time::Instant::now();
    assert!(store.commit(put(pod("b"), Expect::Any, value("b", 1))).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1));
    let mut watch = store.watch("core/pods/", before).expect("not too old");
    rig.restart();
    until(&store, |health| *health == Health::Ready).await;
    let after = write(&store, "c", 1).await;
    loop {
        let change = crate::watches::change(&mut watch).await.expect("an outage cuts no watch off");
        if change.key() == &pod("c") {
            assert!(change.revision() <= after);
            break;
        }
    }
}

pub async fn a_corrupt_message_is_a_no_op_for_every_reader(rig: &mut impl Rig) {
    let (one, two) = (rig.store().await, rig.store().await);
    let log = rig.log().await;
    write(&one, "a", 1).await;
    append(&log, "garbage", Bytes::from_static(b"\x85garbage")).await;
    append(&log, "nothing", Bytes::new()).await;
    let node = Key::object("", "nodes", "", "n");
    append(&log, "foreign", message(1, 9, 1, one.revision(), &node, &value("n", 1))).await;
    let mut cut = message(1, 9, 2, one.revision(), &pod("b"), &value("b", 1));
    cut.truncate(cut.len() - 3);
    append(&log, "cut", cut).await;
    let revision = write(&two, "a", 2).await;
    let late = rig.store().await;
    for store in [&one, &two, &late] {
        barrier(store).await;
        let items = store.list("").items;
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].value, read_as("a", 2, revision));
        until(store, |health| *health == Health::Ready).await;
    }
}

pub async fn an_unknown_version_stops_the_reader(rig: &mut impl Rig) {
    let store = rig.store().await;
    write(&store, "a", 1).await;
    let mut watch = store.watch("", store.revision()).expect("not too old");
    append(&rig.log().await, "newer", message(2, 9, 1, store.revision(), &pod("b"), &value("b", 1))).await;
    until(&store, |health| matches!(health, Health::Stopped(_))).await;
    assert!(store.get(&pod("a")).is_some());
    assert_eq!(store.get(&pod("b")), None);
    let refused = store.commit(put(pod("c"), Expect::Any, value("c", 1))).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))));
    assert!(store.barrier().await.is_err());
    assert!(Store::open(rig.log().await, Default::default()).await.is_err());
    drop(store);
    assert_eq!(crate::watches::change(&mut watch).await, None);
}

/// A message that arrives again when its id is no longer recognised.
pub async fn a_late_copy_does_nothing(rig: &mut impl Rig) {
    let store = rig.store().await;
    let log = rig.log().await;
    let first = message(1, 9, 1, store.revision(), &pod("a"), &value("a", 1));
    append(&log, "9-1", first.clone()).await;
    append(&log, "9-2", message(1, 9, 2, store.revision(), &pod("a"), &value("a", 2))).await;
    append(&log, "9-1-again", first).await;
    barrier(&store).await;
    assert_eq!(number(&store.get(&pod("a")).expect("it was written").value), 2);
}
