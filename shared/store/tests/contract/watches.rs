//! What a watch promises.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Key, Revision, Trace};
use store::{Change, Expect, Glance, HistoryBounds, Item, Options, Store, TooOld, Txn, Watch, WatchEvent};

use crate::rig::{Rig, barrier, commit, number, pod, put, value, write};

/// The next change, whatever progress is told before it.
pub async fn change(watch: &mut Watch) -> Option<Change> {
    loop {
        match watch.next().await? {
            WatchEvent::Change(change) => return Some(change),
            WatchEvent::Progress(_) => {}
        }
    }
}

/// Follows a watch until it has delivered everything up to `end`, and returns the objects that it tells of.
pub async fn follow(watch: &mut Watch, start: Vec<Item>, from: Revision, end: Revision) -> Vec<Item> {
    let mut objects: BTreeMap<Key, Item> = start.into_iter().map(|item| (item.key.clone(), item)).collect();
    let mut last = from;
    loop {
        match watch.next().await.expect("not cut off") {
            WatchEvent::Change(change) => {
                assert!(change.revision() > last, "{change:?} after {last}");
                last = change.revision();
                assert_eq!(
                    objects.get(change.key()),
                    change.previous(),
                    "what was before is what was told before"
                );
                match change {
                    Change::Put { item, .. } => objects.insert(item.key.clone(), item),
                    Change::Delete { key, .. } => objects.remove(&key),
                };
            }
            WatchEvent::Progress(revision) => assert!(revision >= last),
        }
        if last >= end {
            return objects.into_values().collect();
        }
    }
}

async fn churn(store: &Store, from: u64, writes: u64) -> Revision {
    for n in from..from + writes {
        let name = format!("p{}", n % 9);
        match n % 4 {
            3 => drop(commit(store, Txn::of(pod(&name), Expect::Any, store::Action::Delete)).await),
            _ => drop(write(store, &name, n).await),
        }
    }
    write(store, "last", from + writes).await
}

pub async fn a_watch_has_neither_gap_nor_repetition(rig: &mut impl Rig) {
    let (writer, reader) = (rig.store().await, rig.store().await);
    let beginning = reader.revision();
    let mut watches = vec![(reader.watch("", beginning).expect("not too old"), Vec::new(), beginning)];
    let mut end = Revision::ZERO;
    for round in 0..5 {
        end = churn(&writer, round * 20, 20).await;
        let listing = reader.list("");
        watches.push((
            reader.watch("", listing.revision).expect("not too old"),
            listing.items,
            listing.revision,
        ));
    }
    // One that begins between the operations of a listing that was known only to another reader.
    barrier(&reader).await;
    let expected = reader.list("").items;
    watches.push((reader.watch("", beginning).expect("not too old"), Vec::new(), beginning));
    for (mut watch, start, from) in watches {
        if from < end {
            assert_eq!(follow(&mut watch, start, from, end).await, expected);
        }
    }
}

pub async fn a_watch_shows_what_was_before(rig: &mut impl Rig) {
    let store = rig.store().await;
    let mut watch = store.watch("core/pods/", store.revision()).expect("not too old");
    let created = write(&store, "a", 1).await;
    let updated = write(&store, "a", 2).await;
    commit(&store, Txn::of(pod("a"), Expect::At(updated), store::Action::Delete)).await;
    let Some(Change::Put { item: first, previous: None }) = change(&mut watch).await else {
        panic!("created")
    };
    assert_eq!((first.revision, number(&first.value)), (created, 1));
    let Some(Change::Put { item: second, previous }) = change(&mut watch).await else { panic!("updated") };
    assert_eq!((second.revision, previous), (updated, Some(first)));
    let Some(Change::Delete { key, previous, revision }) = change(&mut watch).await else {
        panic!("deleted")
    };
    assert_eq!((key, previous), (pod("a"), second));
    assert!(revision > updated);
}

pub async fn a_watch_of_a_prefix_sees_the_prefix(rig: &mut impl Rig) {
    let store = rig.store().await;
    let prefixes = ["core/pods/", "core/pods/other/", "core/pods/default/a", "core/nodes/", "core/services/"];
    let from = store.revision();
    let watches = prefixes.map(|prefix| store.watch(prefix, from).expect("not too old"));
    let keys = [
        pod("a"),
        Key::object("", "nodes", "", "n"),
        Key::object("", "pods", "other", "b"),
        pod("c"),
        Key::object("", "services", "default", "end"),
        pod("a"),
        Key::object("", "nodes", "", "end"),
        Key::object("", "pods", "other", "end"),
    ];
    for key in &keys {
        commit(&store, put(key.clone(), Expect::Any, value(key.name(), 1))).await;
    }
    for (prefix, mut watch) in prefixes.into_iter().zip(watches) {
        for key in keys.iter().filter(|key| key.as_str().starts_with(prefix)) {
            assert_eq!(
                change(&mut watch).await.map(|change| change.key().clone()).as_ref(),
                Some(key),
                "{prefix}"
            );
        }
    }
}

fn short(changes: usize) -> Options {
    Options { history: HistoryBounds { changes, bytes: usize::MAX }, ..Options::default() }
}

pub async fn a_glance_shows_what_was_committed_and_does_not_wait(rig: &mut impl Rig) {
    let store = rig.open(short(100)).await;
    let mut watch = store.watch("core/pods/", store.revision()).expect("not too old");
    assert!(matches!(watch.glance(), Glance::CaughtUp));
    for n in 0..80 {
        write(&store, "a", n).await;
    }
    for n in 0..80 {
        let Glance::Change(change) = watch.glance() else { panic!("write {n} is not shown") };
        assert_eq!(change.key(), &pod("a"));
    }
    let node = Key::object("", "nodes", "", "n");
    commit(&store, put(node, Expect::Absent, value("n", 1))).await;
    assert!(matches!(watch.glance(), Glance::CaughtUp), "what is elsewhere is passed over");
    for n in 0..200 {
        write(&store, "a", n).await;
    }
    assert!(matches!(watch.glance(), Glance::CutOff));
}

pub async fn a_watch_from_before_the_history_is_too_old(rig: &mut impl Rig) {
    let store = rig.open(short(10)).await;
    let old = write(&store, "a", 0).await;
    for n in 0..20 {
        write(&store, "a", n).await;
    }
    let Err(TooOld { oldest }) = store.watch("core/pods/", old) else {
        panic!("the history has ten changes")
    };
    assert!(oldest > old && oldest <= store.revision());
    assert!(store.watch("core/pods/", oldest).is_ok());
    assert_eq!(store.page_at(old, "core/pods/", None, 5).map(|page| page.items), Err(TooOld { oldest }));
}

pub async fn a_slow_watch_is_cut_off_and_a_quiet_one_is_not(rig: &mut impl Rig) {
    let store = rig.open(short(10)).await;
    write(&store, "a", 0).await;
    let from = store.revision();
    let mut slow = store.watch("core/pods/", from).expect("not too old");
    let mut quick = store.watch("core/pods/", from).expect("not too old");
    let mut quiet = store.watch("core/nodes/", from).expect("not too old");
    // What a watch has not looked at since before it began counts as seen: it looks once.
    assert_eq!(quiet.next().await.map(|event| matches!(event, WatchEvent::Progress(_))), Some(true));
    for n in 0..30 {
        write(&store, "a", n).await;
        assert!(change(&mut quick).await.is_some());
    }
    assert_eq!(change(&mut slow).await, None);
    let node = Key::object("", "nodes", "", "n");
    commit(&store, put(node.clone(), Expect::Absent, value("n", 1))).await;
    assert_eq!(change(&mut quiet).await.map(|change| change.key().clone()), Some(node));
}

pub async fn a_watch_tells_how_far_it_has_come(rig: &mut impl Rig) {
    let (writer, reader) = (rig.store().await, rig.store().await);
    let mut watch = reader.watch("core/nodes/", Revision::ZERO).expect("not too old");
    let written = write(&writer, "a", 1).await;
    let told = loop {
        match watch.next().await {
            Some(WatchEvent::Progress(revision)) if revision >= written => break revision,
            Some(WatchEvent::Progress(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    // Nothing new, nothing to tell; a late copy of the write is new, though it does nothing.
    match tokio::time::timeout(Duration::from_secs(6), watch.next()).await {
        Err(_) => {}
        Ok(Some(WatchEvent::Progress(revision))) => assert!(revision > told),
        Ok(other) => panic!("{other:?}"),
    }
}

pub async fn a_watch_ends_with_its_store(rig: &mut impl Rig) {
    let store = rig.store().await;
    let mut watch = store.watch("", store.revision()).expect("not too old");
    drop(store);
    assert_eq!(change(&mut watch).await, None);
}

/// Writes `a` in a trace, once the log is known to have it, and `b` in none.
async fn write_traced(store: &Store) -> Trace {
    let trace = Trace { trace: 7, span: 8 };
    let traced = Txn { trace: Some(trace), ..put(pod("a"), Expect::Any, value("a", 1)) };
    while store.commit(traced.clone()).await.is_err() {}
    write(store, "b", 1).await;
    trace
}

pub async fn a_watch_tells_of_each_change_to_which_trace_it_belongs(rig: &mut impl Rig) {
    let (writer, reader) = (rig.store().await, rig.store().await);
    let mut watch = reader.watch("core/pods/", reader.revision()).expect("not too old");
    let trace = write_traced(&writer).await;
    let mut told = BTreeMap::new();
    while !told.contains_key("b") {
        let change = change(&mut watch).await.expect("not cut off");
        told.insert(change.key().name().to_owned(), watch.trace());
    }
    assert_eq!(told, BTreeMap::from([("a".to_owned(), Some(trace)), ("b".to_owned(), None)]));
}

pub async fn the_past_is_recalled_with_its_times_and_traces(rig: &mut impl Rig) {
    let store = rig.store().await;
    let trace = write_traced(&store).await;
    let (recalled, since) = store.recall(&[pod("a"), pod("b")]);
    let traces: BTreeMap<&str, _> = recalled.iter().map(|one| (one.change.key().name(), one.trace)).collect();
    assert_eq!(traces, BTreeMap::from([("a", Some(trace)), ("b", None)]));
    assert!(recalled.is_sorted_by_key(|one| one.change.revision()));
    assert!(recalled.is_sorted_by_key(|one| one.time.expect("the log has a clock")));
    assert_eq!(since, Revision::ZERO, "nothing has left the history yet");
    let only_b = store.recall(&[pod("b")]).0;
    assert!(only_b.iter().all(|one| *one.change.key() == pod("b")) && !only_b.is_empty());
}
