//! What is different about events.

use std::time::Duration;

use model::{Key, Revision};
use store::{Change, Expect, OpOutcome, Options, Store};

use crate::rig::{Rig, put, value, write};

const EVENTS: &str = "core/events/";

fn event(name: &str) -> Key {
    Key::object("", "events", "default", name)
}

fn aged(age: Duration, checkpoints: bool) -> Options {
    Options { event_age: age, checkpoints, ..Options::default() }
}

async fn tell(store: &Store, name: &str) -> Revision {
    loop {
        let committed = store.commit(put(event(name), Expect::Any, value(name, 1))).await;
        if let Ok([OpOutcome::Done(revision)]) = committed.as_ref().map(|committed| &committed.outcomes[..]) {
            return *revision;
        }
    }
}

pub async fn events_have_an_order_of_their_own(rig: &mut impl Rig) {
    let (store, other) = (rig.store().await, rig.store().await);
    for n in 0..10 {
        write(&store, "a", n).await;
    }
    let told = tell(&store, "e").await;
    assert!(told < store.revision());
    assert!(store.revision_of(EVENTS) >= told);
    while other.barrier_of(EVENTS).await.is_err() {}
    let listing = other.list(EVENTS);
    assert_eq!(listing.items, store.list(EVENTS).items);
    assert_eq!(listing.items.len(), 1);
    assert!(listing.revision >= told && listing.revision < store.revision());
    assert_eq!(other.get(&event("e")).map(|item| item.revision), Some(told));
    let mut watch = other.watch(EVENTS, listing.revision).expect("not too old");
    let told = tell(&store, "f").await;
    let change = crate::watches::change(&mut watch).await.expect("not cut off");
    assert_eq!((change.key(), change.revision()), (&event("f"), told));
}

pub async fn events_leave_by_age(rig: &mut impl Rig) {
    let options = aged(Duration::from_secs(3), false);
    let (store, other) = (rig.open(options.clone()).await, rig.open(options.clone()).await);
    tell(&store, "old").await;
    tell(&store, "kept").await;
    let listing = store.list(EVENTS);
    let mut watch = store.watch(EVENTS, listing.revision).expect("not too old");
    tokio::time::sleep(Duration::from_secs(2)).await;
    tell(&store, "kept").await;
    // In memory a lost acknowledgement takes two seconds more, and another write of it makes it young again.
    let mut gone = false;
    while !gone {
        tell(&store, "kept").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        tell(&store, "new").await;
        gone = store.get(&event("old")).is_none();
    }
    loop {
        if let Change::Delete { key, previous, .. } =
            crate::watches::change(&mut watch).await.expect("not cut off")
        {
            assert_eq!((key, Some(&previous)), (event("old"), listing.items.last()));
            break;
        }
    }
    while other.barrier_of(EVENTS).await.is_err() {}
    assert_eq!(other.list(EVENTS).items, store.list(EVENTS).items);
    assert!(other.get(&event("kept")).is_some());
    // Also for one that starts from a checkpoint.
    while store.checkpoint().await.is_err() {}
    let fresh = rig.open(options).await;
    assert_eq!(fresh.list(EVENTS).items, store.list(EVENTS).items);
}

pub async fn events_leave_a_log_that_nobody_writes_to(rig: &mut impl Rig) {
    let store = rig.open(aged(Duration::from_secs(1), true)).await;
    tell(&store, "old").await;
    let mut watch = store.watch(EVENTS, Revision::ZERO).expect("not too old");
    while !matches!(crate::watches::change(&mut watch).await, Some(Change::Delete { .. })) {}
    assert!(store.list(EVENTS).items.is_empty());
}
