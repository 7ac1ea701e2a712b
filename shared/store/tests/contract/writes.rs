//! What a commit promises.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::{Key, Revision};
use store::{Action, CommitError, Expect, Guard, Op, OpOutcome, Txn};

use crate::rig::{Rig, barrier, commit, number, pod, put, read_as, value, write};

pub async fn a_write_is_read_back(rig: &mut impl Rig) {
    let store = rig.store().await;
    let created = write(&store, "a", 1).await;
    let item = store.get(&pod("a")).expect("it was written");
    assert_eq!((item.revision, item.value), (created, read_as("a", 1, created)));
    let updated = write(&store, "a", 2).await;
    assert!(updated > created);
    let item = store.get(&pod("a")).expect("it is still there");
    assert_eq!((item.revision, item.created), (updated, created));
    assert_eq!(item.value, read_as("a", 2, updated));
    assert!(store.revision() >= updated);
    let listing = store.list("core/pods/");
    assert_eq!(listing.items, [item]);
    assert!(listing.revision >= updated);
    commit(&store, Txn::of(pod("a"), Expect::At(updated), Action::Delete)).await;
    assert_eq!(store.get(&pod("a")), None);
    assert!(store.list("").items.is_empty());
}

pub async fn an_expectation_that_does_not_hold_refuses_and_shows_why(rig: &mut impl Rig) {
    let store = rig.store().await;
    let revision = write(&store, "a", 1).await;
    let current = store.get(&pod("a"));
    for expect in [Expect::Absent, Expect::At(Revision(revision.0 + 1))] {
        for action in [Action::Put(value("a", 2)), Action::Delete] {
            let committed = commit(&store, Txn::of(pod("a"), expect, action)).await;
            assert_eq!(committed.outcomes, [OpOutcome::Refused { current: current.clone() }]);
        }
    }
    let committed = commit(&store, put(pod("b"), Expect::At(revision), value("b", 1))).await;
    assert_eq!(committed.outcomes, [OpOutcome::Refused { current: None }]);
    assert_eq!(store.list("").items, [current.expect("it was written")]);
}

pub async fn an_expectation_is_judged_against_the_operations_before_it(rig: &mut impl Rig) {
    let store = rig.store().await;
    let op = |expect, action| Op { key: pod("a"), expect, action };
    let ops = vec![
        op(Expect::Absent, Action::Put(value("a", 1))),
        op(Expect::Absent, Action::Put(value("a", 2))),
        op(Expect::Any, Action::Delete),
        op(Expect::Absent, Action::Put(value("a", 3))),
    ];
    let outcomes = commit(&store, Txn { ops, ..Txn::default() }).await.outcomes;
    assert!(matches!(outcomes[1], OpOutcome::Refused { current: Some(_) }));
    assert!(matches!(outcomes[2..], [OpOutcome::Done(_), OpOutcome::Done(_)]));
    assert_eq!(number(&store.get(&pod("a")).expect("the last one counts").value), 3);
}

pub async fn all_or_none_writes_all_or_none(rig: &mut impl Rig) {
    let store = rig.store().await;
    let revision = write(&store, "there", 1).await;
    let op = |name, expect| Op { key: pod(name), expect, action: Action::Put(value(name, 2)) };
    let gang = |expect| Txn {
        all_or_none: true,
        ops: vec![op("new", Expect::Absent), op("there", expect), op("other", Expect::Any)],
        ..Txn::default()
    };
    let refused = commit(&store, gang(Expect::Absent)).await;
    let current = store.get(&pod("there"));
    let expected = [None, current, None].map(|current| OpOutcome::Refused { current });
    assert_eq!(refused.outcomes, expected);
    assert_eq!(store.list("").items.len(), 1);
    let done = commit(&store, gang(Expect::At(revision))).await;
    assert!(done.outcomes.iter().all(|outcome| matches!(outcome, OpOutcome::Done(_))));
    assert_eq!(store.list("").items.len(), 3);
}

/// Many tasks on two stores add one to the same number, each only if nobody else did meanwhile.
pub async fn writers_who_contend_lose_no_update(rig: &mut impl Rig) {
    const TASKS: u64 = 8;
    const EACH: u64 = 10;
    let stores = [rig.store().await, rig.store().await];
    write(&stores[0], "n", 0).await;
    barrier(&stores[1]).await;
    let adding = (0..TASKS).map(|task| {
        let store = stores[(task % 2) as usize].clone();
        tokio::spawn(async move {
            let (mut done, mut unknown) = (Vec::new(), 0);
            while done.len() < EACH as usize {
                let item = store.get(&pod("n")).expect("nobody deletes it");
                let next = value("n", number(&item.value) + 1);
                match store.commit(put(pod("n"), Expect::At(item.revision), next)).await {
                    Ok(committed) => match committed.outcomes[..] {
                        [OpOutcome::Done(revision)] => done.push(revision),
                        [OpOutcome::Refused { current: Some(_) }] => {}
                        ref other => panic!("{other:?}"),
                    },
                    Err(CommitError::Unavailable(_) | CommitError::Stale) => unknown += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (done, unknown)
        })
    });
    let mut revisions = BTreeSet::new();
    let mut unknown = 0;
    for (done, doubts) in
        futures::future::join_all(adding).await.into_iter().map(|task| task.expect("no panic"))
    {
        unknown += doubts;
        for revision in done {
            assert!(revisions.insert(revision), "no revision is given out twice");
        }
    }
    for store in &stores {
        barrier(store).await;
    }
    let item = stores[0].get(&pod("n")).expect("nobody deletes it");
    assert_eq!(stores[1].get(&pod("n")), Some(item.clone()), "both stores saw the same");
    let total = number(&item.value);
    assert!((TASKS * EACH..=TASKS * EACH + unknown).contains(&total), "{total}, {unknown} in doubt");
}

pub async fn a_deposed_leader_writes_nothing(rig: &mut impl Rig) {
    let (old, new) = (rig.store().await, rig.store().await);
    let fence = Key::fence("pods/binder");
    let take = |expect| put(fence.clone(), expect, Bytes::from_static(b"{\"metadata\":{}}"));
    let guarded = |expect, name| Txn {
        guards: vec![Guard { key: fence.clone(), expect }],
        ..put(pod(name), Expect::Absent, value(name, 1))
    };
    let [OpOutcome::Done(first)] = commit(&old, take(Expect::Absent)).await.outcomes[..] else {
        panic!("nobody holds the fence");
    };
    assert!(commit(&old, guarded(first, "a")).await.guards_held);
    let [OpOutcome::Done(second)] = commit(&new, take(Expect::At(first))).await.outcomes[..] else {
        panic!("the fence was held at {first}");
    };
    let late = commit(&old, guarded(first, "b")).await;
    assert!(!late.guards_held);
    assert_eq!(late.outcomes, [OpOutcome::Refused { current: None }]);
    assert!(commit(&new, guarded(second, "c")).await.guards_held);
    barrier(&old).await;
    let names: Vec<_> = old.list("core/pods/").items.iter().map(|item| item.key.name().to_owned()).collect();
    assert_eq!(names, ["a", "c"]);
}

pub async fn writers_who_come_together_share_messages(rig: &mut impl Rig) {
    const WRITERS: usize = 300;
    let store = rig.store().await;
    let writing = (0..WRITERS).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { write(&store, &format!("p{n}"), 1).await })
    });
    let mut messages = BTreeSet::new();
    for revision in futures::future::join_all(writing).await {
        messages.insert(revision.expect("no panic").sequence());
    }
    assert_eq!(store.list("core/pods/").items.len(), WRITERS);
    assert!(messages.len() < WRITERS / 4, "{} messages", messages.len());
}

pub async fn a_large_object_travels_alone(rig: &mut impl Rig) {
    let store = rig.store().await;
    let large = Bytes::from(format!(r#"{{"metadata":{{}},"data":"{}"}}"#, "x".repeat((3 << 20) - 100)));
    let writing = (0..6).map(|n| {
        let (store, large) = (store.clone(), large.clone());
        tokio::spawn(async move {
            let name = format!("p{n}");
            let value = if n % 2 == 0 { large } else { value(&name, 1) };
            commit(&store, put(pod(&name), Expect::Absent, value)).await.outcomes
        })
    });
    for outcome in futures::future::join_all(writing).await {
        assert!(matches!(outcome.expect("no panic")[..], [OpOutcome::Done(_)]));
    }
    let other = rig.store().await;
    assert_eq!(other.list("").items, store.list("").items);
    assert!(other.get(&pod("p0")).is_some_and(|item| item.value.len() > large.len()));
}

pub async fn what_does_not_fit_or_makes_no_sense_is_refused_unsent(rig: &mut impl Rig) {
    let store = rig.store().await;
    let before = barrier(&store).await;
    let huge = put(pod("a"), Expect::Any, Bytes::from(vec![b' '; (3 << 20) + 1]));
    assert!(matches!(store.commit(huge).await, Err(CommitError::TooLarge { .. })));
    let many =
        Txn { ops: vec![put(pod("a"), Expect::Any, value("a", 1)).ops[0].clone(); 1001], ..Txn::default() };
    assert!(matches!(store.commit(many).await, Err(CommitError::TooLarge { .. })));
    let mut mixed = put(pod("a"), Expect::Any, value("a", 1));
    mixed.ops.extend(put(Key::object("", "nodes", "", "n"), Expect::Any, value("n", 1)).ops);
    assert!(matches!(store.commit(mixed).await, Err(CommitError::Invalid(_))));
    assert!(matches!(store.commit(Txn::default()).await, Err(CommitError::Invalid(_))));
    assert_eq!(barrier(&store).await, before);
}
