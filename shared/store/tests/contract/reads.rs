//! What reads promise.

use model::{Class, Key};
use store::{Expect, OpOutcome};

use crate::rig::{Rig, barrier, commit, number, only, pod, put, value, write};

pub async fn a_barrier_shows_what_others_wrote(rig: &mut impl Rig) {
    let (writer, reader) = (rig.store().await, rig.store().await);
    for n in 0..20 {
        let written = write(&writer, "a", n).await;
        assert!(barrier(&reader).await >= written);
        assert_eq!(number(&reader.get(&pod("a")).expect("it was written").value), n);
    }
}

pub async fn a_barrier_needs_no_message_of_the_followed_classes(rig: &mut impl Rig) {
    let writer = rig.store().await;
    write(&writer, "a", 1).await;
    let reader = rig.open(only(Class::Pods)).await;
    for n in 0..10 {
        let node = Key::object("", "nodes", "", "n");
        let committed = commit(&writer, put(node.clone(), Expect::Any, value("n", n))).await;
        let [OpOutcome::Done(written)] = committed.outcomes[..] else { panic!("{committed:?}") };
        assert!(barrier(&reader).await >= written);
        while reader.wait_for(written).await.is_err() {}
        assert_eq!(reader.get(&node), None);
        write(&writer, "a", n).await;
        barrier(&reader).await;
        assert_eq!(number(&reader.get(&pod("a")).expect("it was written").value), n);
    }
}

pub async fn a_reader_of_one_class_sees_that_class(rig: &mut impl Rig) {
    let writer = rig.store().await;
    let secret = Key::object("", "secrets", "default", "s");
    let (pods, secrets) = (rig.open(only(Class::Pods)).await, rig.open(only(Class::Secrets)).await);
    for n in 0..5 {
        write(&writer, &format!("p{n}"), n).await;
        commit(&writer, put(secret.clone(), Expect::Any, value("s", n))).await;
    }
    for reader in [&pods, &secrets] {
        barrier(reader).await;
    }
    assert_eq!(pods.list("").items, writer.list("core/pods/").items);
    assert_eq!(secrets.list("").items, writer.list("core/secrets/").items);
    let foreign = pods.commit(put(secret, Expect::Any, value("s", 9))).await;
    assert!(matches!(foreign, Err(store::CommitError::Invalid(_))));
    // It writes what it follows, and learns the outcome.
    let revision = write(&pods, "own", 1).await;
    barrier(&writer).await;
    assert_eq!(writer.get(&pod("own")).map(|item| item.revision), Some(revision));
}

pub async fn pages_of_one_list_agree(rig: &mut impl Rig) {
    const OBJECTS: u64 = 60;
    let store = rig.store().await;
    for n in 0..OBJECTS {
        write(&store, &format!("p{n:03}"), n).await;
    }
    let expected = store.list("core/pods/");
    let mut got = Vec::new();
    let mut after: Option<String> = None;
    let mut round = 0;
    loop {
        // Between the pages objects change, go and come.
        write(&store, &format!("p{:03}", (round * 17) % OBJECTS), 1000).await;
        let gone = format!("p{:03}", (round * 23) % OBJECTS);
        commit(&store, store::Txn::of(pod(&gone), Expect::Any, store::Action::Delete)).await;
        write(&store, &format!("p{:03}x", round * 11), 1000).await;
        round += 1;
        let page = store.page_at(expected.revision, "core/pods/", after.as_deref(), 7).expect("not too old");
        assert_eq!(page.revision, expected.revision);
        got.extend(page.items);
        assert_eq!(got.len() + page.remaining, expected.items.len());
        if page.remaining == 0 {
            break;
        }
        after = got.last().map(|item| item.key.to_string());
    }
    assert_eq!(got, expected.items);
}

pub async fn every_reader_has_the_same_objects(rig: &mut impl Rig) {
    let stores = [rig.store().await, rig.store().await, rig.store().await];
    let writing = (0..60).map(|n| {
        let store = stores[n as usize % 3].clone();
        tokio::spawn(async move { write(&store, &format!("p{}", n % 20), n).await })
    });
    futures::future::join_all(writing).await;
    let late = rig.store().await;
    let mut listings = Vec::new();
    for store in stores.iter().chain([&late]) {
        barrier(store).await;
        listings.push(store.list("").items);
    }
    assert_eq!(listings[0].len(), 20);
    assert!(listings.windows(2).all(|pair| pair[0] == pair[1]));
}

pub async fn who_waits_for_what_never_comes_gives_up(rig: &mut impl Rig) {
    let store = rig.store().await;
    let never = store.wait_for(model::Revision(u64::MAX / 2));
    assert!(never.await.is_err());
    let written = write(&store, "a", 1).await;
    while store.wait_for(written).await.is_err() {}
}
