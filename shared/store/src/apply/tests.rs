//! The fold is held to a slow model that says the same in the most obvious way, over messages from anywhere.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use model::object::with_resource_version;
use model::{Class, Key, Revision};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::history::HistoryBounds;
use crate::txn::Guard;

/// How long an object of class events stays in these tests, in milliseconds.
const AGE: u64 = 50;

/// A world in which every past state is remembered.
#[derive(Default)]
struct Model {
    objects: BTreeMap<Key, Item>,
    /// The objects after each sequence.
    past: BTreeMap<u64, BTreeMap<Key, Item>>,
    /// Every frame that was applied: writer, class and number.
    applied: BTreeSet<(Class, u64, u64)>,
    /// When each revision was written.
    written: BTreeMap<Revision, u64>,
    now: u64,
}

/// A message before it is known what the log makes of it.
#[derive(Clone, Debug)]
struct Message {
    class: Class,
    writer: u64,
    number: u64,
    /// How far behind the log the writer was.
    behind: u64,
    /// Sequences that are somebody else's, between the message before and this one.
    skip: u64,
    /// Milliseconds since the message before. The log's clock may go back, as when another server takes over.
    after: i64,
    corrupt: bool,
    txns: Vec<Draft>,
}

#[derive(Clone, Debug)]
struct Draft {
    all_or_none: bool,
    /// A key, and whether its revision is right.
    guards: Vec<(u8, bool)>,
    ops: Vec<(u8, Guess, bool)>,
}

/// What an operation expects.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    Absent,
    /// The revision before the message.
    Right,
    Wrong,
}

fn key(class: Class, n: u8) -> Key {
    let resource = match class {
        Class::Pods => "pods",
        Class::Events => "events",
        _ => "services",
    };
    Key::object("", resource, if n.is_multiple_of(2) { "even" } else { "odd" }, &format!("o{n}"))
}

fn value(n: u8, number: u64) -> Bytes {
    Bytes::from(format!(r#"{{"kind":"K","metadata":{{"name":"o{n}"}},"number":{number}}}"#))
}

fn draft() -> impl Strategy<Value = Draft> {
    let guess = prop_oneof![
        2 => Just(Guess::Any),
        3 => Just(Guess::Absent),
        5 => Just(Guess::Right),
        1 => Just(Guess::Wrong)
    ];
    let guards = vec((0u8..8, prop::bool::weighted(0.8)), 0..2);
    let ops = vec((0u8..8, guess, prop::bool::weighted(0.75)), 0..5);
    (prop::bool::weighted(0.4), guards, ops).prop_map(|(all_or_none, guards, ops)| Draft {
        all_or_none,
        guards,
        ops,
    })
}

fn message(classes: &'static [Class]) -> impl Strategy<Value = Message> {
    let behind = prop_oneof![20 => 0u64..5, 1 => LATE_BOUND - 1..LATE_BOUND + 3];
    let place = (0u64..3, -10i64..20, prop::bool::weighted(0.05));
    let name = (prop::sample::select(classes), 1u64..4, 1u64..30);
    (name, behind, place, vec(draft(), 0..4)).prop_map(|(name, behind, place, txns)| {
        let ((class, writer, number), (skip, after, corrupt)) = (name, place);
        Message { class, writer, number, behind, skip, after, corrupt, txns }
    })
}

impl Draft {
    fn txn(&self, class: Class, number: u64, objects: &BTreeMap<Key, Item>) -> Txn {
        let revision = |key: &Key| objects.get(key).map_or(Revision(77), |item| item.revision);
        let guard = |(n, right): &(u8, bool)| {
            let key = key(class, *n);
            let expect = if *right { revision(&key) } else { Revision(5) };
            Guard { key, expect }
        };
        let op = |(n, guess, put): &(u8, Guess, bool)| {
            let key = key(class, *n);
            let expect = match guess {
                Guess::Any => Expect::Any,
                Guess::Absent => Expect::Absent,
                Guess::Right => Expect::At(revision(&key)),
                Guess::Wrong => Expect::At(Revision(6)),
            };
            Op { key, expect, action: if *put { Action::Put(value(*n, number)) } else { Action::Delete } }
        };
        Txn {
            all_or_none: self.all_or_none,
            guards: self.guards.iter().map(guard).collect(),
            ops: self.ops.iter().map(op).collect(),
            trace: None,
        }
    }
}

impl Model {
    fn holds(&self, op: &Op) -> bool {
        match (op.expect, self.objects.get(&op.key)) {
            (Expect::Any, _) | (Expect::Absent, None) => true,
            (Expect::At(revision), Some(item)) => item.revision == revision,
            (Expect::Absent, Some(_)) | (Expect::At(_), None) => false,
        }
    }

    fn write(&mut self, op: &Op, revision: Revision) {
        match &op.action {
            Action::Delete => drop(self.objects.remove(&op.key)),
            Action::Put(value) => {
                let created = self.objects.get(&op.key).map_or(revision, |item| item.created);
                let value = with_resource_version(value, revision);
                let item = Item { key: op.key.clone(), revision, created, value };
                self.objects.insert(op.key.clone(), item);
                self.written.insert(revision, self.now);
            }
        }
    }

    fn commit(&mut self, txn: &Txn, sequence: u64, first: u64) -> Committed {
        let guards_held = txn
            .guards
            .iter()
            .all(|guard| self.objects.get(&guard.key).is_some_and(|item| item.revision == guard.expect));
        let all_hold = txn.ops.iter().all(|op| self.holds(op));
        let mut outcomes = Vec::new();
        for (index, op) in (first..).zip(&txn.ops) {
            let go = guards_held && if txn.all_or_none { all_hold } else { self.holds(op) };
            let revision = Revision::at(sequence, index);
            if go {
                self.write(op, revision);
                outcomes.push(OpOutcome::Done(revision));
            } else {
                outcomes.push(OpOutcome::Refused { current: self.objects.get(&op.key).cloned() });
            }
        }
        Committed { outcomes, guards_held }
    }

    fn message(&mut self, at: At, frame: Option<(&Message, u64, &[Txn])>) -> Verdict {
        self.now = self.now.max(at.time);
        let verdict = match frame {
            None => Verdict::Corrupt,
            Some((_, seen, _)) if at.sequence - seen > LATE_BOUND => Verdict::Stale,
            Some((message, _, _))
                if self.applied.iter().any(|(class, writer, number)| {
                    (*class, *writer) == (message.class, message.writer) && *number >= message.number
                }) =>
            {
                Verdict::Duplicate
            }
            Some((message, _, txns)) => {
                self.applied.insert((message.class, message.writer, message.number));
                let mut index = 0;
                let mut decided = Vec::new();
                for txn in txns {
                    decided.push(self.commit(txn, at.sequence, index));
                    index += txn.ops.len() as u64;
                }
                Verdict::Decided(decided)
            }
        };
        if at.class == Class::Events {
            let (written, now) = (&self.written, self.now);
            self.objects.retain(|_, item| written[&item.revision] + AGE > now);
        }
        self.past.insert(at.sequence, self.objects.clone());
        verdict
    }
}

/// Sends the messages through both and compares at every step.
fn agree(messages: &[Message], bounds: HistoryBounds) -> (State, Model) {
    let mut state = State::new(bounds, messages.iter().any(|m| m.class == Class::Events).then_some(AGE));
    let mut model = Model::default();
    let (mut sequence, mut time) = (LATE_BOUND * 2, 1000u64);
    state.reached = sequence;
    model.past.insert(sequence, BTreeMap::new());
    for message in messages {
        sequence += 1 + message.skip;
        time = time.saturating_add_signed(message.after);
        let seen = sequence - message.behind;
        let at = At { sequence, time, class: message.class };
        let txns: Vec<Txn> = message
            .txns
            .iter()
            .map(|draft| draft.txn(message.class, message.number, &model.objects))
            .collect();
        let encoded: Vec<Vec<u8>> = txns.iter().map(Txn::encode).collect();
        let mut payload =
            Frame::pack(&mut BytesMut::new(), message.writer, message.number, seen, &encoded).to_vec();
        if message.corrupt {
            payload.truncate(payload.len() / 2);
        }
        let frame = Frame::read(&payload, message.class, sequence).ok();
        assert_eq!(frame.is_none(), message.corrupt);
        let verdict = apply(&mut state, at, frame);
        let expected = model.message(at, (!message.corrupt).then_some((message, seen, &txns[..])));
        assert_eq!(verdict, expected, "message {sequence}");
        let items: Vec<Item> = model.objects.values().cloned().collect();
        assert_eq!(state.snapshot("", None, usize::MAX).page("", None, usize::MAX).items, items);
        assert_eq!(state.bytes, items.iter().map(|item| item.value.len() as u64).sum::<u64>());
        assert_eq!(state.revision(), Revision::end_of(sequence));
    }
    (state, model)
}

/// Plays the history back over the objects at its floor.
fn replay(state: &State, model: &Model) -> BTreeMap<Key, Item> {
    let floor = state.history.floor().sequence();
    let mut objects =
        model.past.range(..=floor).next_back().map(|(_, past)| past.clone()).unwrap_or_default();
    let mut last = state.history.floor();
    for batch in state.history.from(state.history.front(), usize::MAX) {
        for change in &batch.changes {
            assert!(change.revision() > last, "revisions grow");
            assert_eq!(change.revision().sequence(), batch.sequence);
            last = change.revision();
            assert_eq!(objects.get(change.key()), change.previous());
            match change {
                Change::Put { item, .. } => objects.insert(item.key.clone(), item.clone()),
                Change::Delete { key, .. } => objects.remove(key),
            };
        }
    }
    objects
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_is_what_the_model_says(messages in vec(message(&[Class::Pods, Class::Rest]), 0..40)) {
        agree(&messages, HistoryBounds::default());
    }

    #[test]
    fn objects_that_leave_by_age_do_so_as_the_model_says(messages in vec(message(&[Class::Events]), 0..40)) {
        let (state, model) = agree(&messages, HistoryBounds::default());
        prop_assert_eq!(replay(&state, &model), model.objects);
    }

    #[test]
    fn the_history_tells_every_change(
        messages in vec(message(&[Class::Pods, Class::Rest]), 0..40),
        changes in 0usize..60,
    ) {
        let (state, model) = agree(&messages, HistoryBounds { changes, bytes: usize::MAX });
        prop_assert_eq!(replay(&state, &model), model.objects);
    }

    #[test]
    fn pages_show_the_state_as_it_was(
        messages in vec(message(&[Class::Pods, Class::Rest]), 1..40),
        changes in 0usize..60,
        limit in 1usize..6,
        prefix in prop::sample::select(vec!["", "core/", "core/pods/", "core/services/odd/"]),
    ) {
        let (state, model) = agree(&messages, HistoryBounds { changes, bytes: usize::MAX });
        for (sequence, past) in &model.past {
            let at = Revision::end_of(*sequence);
            let expected: Vec<&Item> = past.values().filter(|item| item.key.as_str().starts_with(prefix)).collect();
            let mut got = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let snapshot = state.snapshot_at(at, prefix, after.as_deref());
                let Ok(snapshot) = snapshot else {
                    prop_assert!(at < state.history.floor());
                    break;
                };
                prop_assert!(at >= state.history.floor());
                let page = snapshot.page(prefix, after.as_deref(), limit);
                prop_assert_eq!(page.revision, at);
                got.extend(page.items);
                prop_assert_eq!(got.len() + page.remaining, expected.len());
                if page.remaining == 0 {
                    prop_assert_eq!(got.iter().collect::<Vec<_>>(), expected);
                    break;
                }
                after = got.last().map(|item| item.key.to_string());
            }
        }
    }

    #[test]
    fn a_second_copy_of_any_message_changes_nothing(
        messages in vec(message(&[Class::Pods]), 1..20),
        late in 0u64..LATE_BOUND * 2,
    ) {
        let (mut state, model) = agree(&messages, HistoryBounds::default());
        let sequence = state.reached + 1 + late;
        for message in messages.iter().filter(|message| !message.corrupt) {
            let applied = model.applied.contains(&(message.class, message.writer, message.number));
            if !applied {
                continue;
            }
            // Whatever it asks for, and whatever its writer says to have seen when it was packed.
            let wish = Txn::of(key(Class::Pods, 1), Expect::Any, Action::Put(value(1, 99)));
            let payload = Frame::pack(&mut BytesMut::new(), message.writer, message.number, state.reached.min(sequence), &[wish.encode()]);
            let frame = Frame::read(&payload, Class::Pods, sequence).ok();
            let before = state.snapshot("", None, usize::MAX).page("", None, usize::MAX).items;
            let verdict = apply(&mut state, At { sequence, time: 0, class: Class::Pods }, frame);
            prop_assert!(matches!(verdict, Verdict::Duplicate | Verdict::Stale));
            prop_assert_eq!(state.snapshot("", None, usize::MAX).page("", None, usize::MAX).items, before);
        }
    }
}

#[test]
fn what_a_writer_forgot_is_still_too_late_to_count() {
    let mut state = State::new(HistoryBounds::default(), None);
    let frame = |writer, number, seen, sequence| {
        let txn = Txn::of(key(Class::Pods, 1), Expect::Any, Action::Put(value(1, number)));
        Frame::read(
            &Frame::pack(&mut BytesMut::new(), writer, number, seen, &[txn.encode()]),
            Class::Pods,
            sequence,
        )
        .ok()
    };
    let at = |sequence| At { sequence, time: 0, class: Class::Pods };
    apply(&mut state, at(1), frame(1, 1, 0, 1));
    // Another writer goes on long enough for the first one to be forgotten.
    for sequence in 2..LATE_BOUND * 2 {
        apply(&mut state, at(sequence), frame(2, sequence, sequence - 1, sequence));
    }
    assert_eq!(state.writers.number(Class::Pods, 1), 0);
    let sequence = LATE_BOUND * 2;
    assert_eq!(apply(&mut state, at(sequence), frame(1, 1, 0, sequence)), Verdict::Stale);
}

#[test]
fn a_message_with_as_many_events_as_allowed_lets_as_many_age_out() {
    let mut state = State::new(HistoryBounds::default(), Some(AGE));
    let full = |first: usize| {
        let op = |n: usize| {
            let key = Key::object("", "events", "default", &format!("e{n}"));
            Op { key, expect: Expect::Absent, action: Action::Put(Bytes::from_static(b"{}")) }
        };
        let ops = (first..first + crate::txn::MAX_EVENT_OPS).map(op).collect();
        Txn { ops, ..Txn::default() }
    };
    for (sequence, time) in [(1, 0), (2, AGE), (3, AGE * 2)] {
        let payload =
            Frame::pack(&mut BytesMut::new(), 1, sequence, 0, &[full(sequence as usize * 10_000).encode()]);
        let frame = Frame::read(&payload, Class::Events, sequence).ok();
        apply(&mut state, At { sequence, time, class: Class::Events }, frame);
        assert_eq!(state.items.len(), crate::txn::MAX_EVENT_OPS);
    }
}
