//! Conditional transactions, and the form in which the log holds them.
//!
//! ```text
//!  message ─ frame { v, writer, number, seen, txns: [ … ] }        MessagePack, field names on the wire
//!                                                 │
//!                          { all, guards: [(key, revision)], ops: [ { key, expect, put } ], trace }
//! ```
//! A frame is what a writer sends and, after a lost acknowledgement, sends again; `(writer, number)` names it for
//! ever. Its operations are numbered through all its transactions, and operation `i` of the message at sequence `s`
//! makes revision `s × 1024 + i`.

use bytes::{BufMut, Bytes, BytesMut};
use model::object::with_resource_version;
use model::revision::OPS_PER_MESSAGE;
use model::{Class, Key, Revision, Trace};
use serde::{Deserialize, Serialize};

use crate::item::Item;

/// What must hold for a key before an operation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such object.
    Absent,
    /// The object is there, last written at this revision.
    At(Revision),
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Stores the canonical JSON of an object ([`model::Object::encode`]).
    Put(Bytes),
    /// Removes the object; removing what is not there is done at once.
    Delete,
}

/// One conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The object.
    pub key: Key,
    /// The condition.
    pub expect: Expect,
    /// The write.
    pub action: Action,
}

/// A key that must be at exactly this revision for a transaction to do anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Usually a fence, see [`class_of`].
    pub key: Key,
    /// Its revision.
    pub expect: Revision,
}

/// Writes that are decided together, all of one class.
///
/// Without `all_or_none` each operation is decided for itself, in order, and sees what the ones before it did.
/// With it, all expectations are looked at before anything is written, and one that does not hold refuses all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// One refused operation refuses all.
    pub all_or_none: bool,
    /// What must hold besides; when one does not, every operation is refused.
    pub guards: Vec<Guard>,
    /// The writes, in order.
    pub ops: Vec<Op>,
    /// The span that wrote it, if somebody collects its trace: readers go on from there.
    pub trace: Option<Trace>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpOutcome {
    /// Written, at this revision.
    Done(Revision),
    /// Not written. Where an expectation did not hold, `current` shows why.
    Refused {
        /// The object as it is.
        current: Option<Item>,
    },
}

/// What became of a transaction, as the order of the log decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// One per operation, in order.
    pub outcomes: Vec<OpOutcome>,
    /// Whether every guard held. If not, every operation was refused.
    pub guards_held: bool,
}

/// Why a transaction has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The log did not answer in time. The transaction may have been written, or may still be.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The transaction does not fit into a message; nothing was written.
    #[error("{size} bytes in {ops} operations: the limits are {max_size} bytes and {max_ops} operations")]
    TooLarge {
        /// Encoded bytes.
        size: usize,
        /// Operations.
        ops: usize,
        /// Most bytes that a transaction may have.
        max_size: usize,
        /// Most operations that a transaction may have.
        max_ops: usize,
    },
    /// The transaction reached the log so long after it was sent that it no longer counts; nothing was written.
    #[error("the transaction reached the log too late to count")]
    Stale,
    /// The transaction makes no sense: it has no operations, mixes classes, or this store does not follow its class.
    #[error("invalid transaction: {0}")]
    Invalid(String),
}

/// A message of the log, taken apart. The values in it already carry their `metadata.resourceVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Who wrote it: drawn at random by every store that is opened.
    pub writer: u64,
    /// The writer's count of frames of this class.
    pub number: u64,
    /// The sequence that the writer had seen.
    pub seen: u64,
    /// What it asks for.
    pub txns: Vec<Txn>,
}

/// Why a message is not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Written by a newer version. A reader must not skip it.
    #[error("log format version {0} is not known to this version")]
    Version(u64),
    /// Garbage: a no-op for every reader alike.
    #[error("corrupt message: {0}")]
    Corrupt(String),
}

/// The format that this version writes and the only one that it reads.
const VERSION: u64 = 1;

/// Operations that one frame may hold. The numbers above are left for objects that age out with the message
/// (class events, see `apply`), so that they never run behind for good.
pub const MAX_OPS: usize = match OPS_PER_MESSAGE {
    1024 => 1000,
    _ => panic!("the bound follows from the layout of a revision"),
};

/// Most operations in a frame of events, which leaves as many numbers for the ones that age out.
pub const MAX_EVENT_OPS: usize = 512;

/// Bytes in front of the transactions of a frame, at most.
const HEAD: usize = 80;

#[derive(Deserialize)]
struct FrameOnWire<'a> {
    v: u64,
    writer: u64,
    number: u64,
    seen: u64,
    #[serde(borrow)]
    txns: Vec<TxnOnWire<'a>>,
}

#[derive(Serialize, Deserialize)]
struct TxnOnWire<'a> {
    all: bool,
    #[serde(borrow)]
    guards: Vec<(&'a str, u64)>,
    #[serde(borrow)]
    ops: Vec<OpOnWire<'a>>,
    /// A `traceparent`. Older versions neither write nor miss it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct OpOnWire<'a> {
    key: &'a str,
    /// Nothing: any; 0: absent; else the revision.
    expect: Option<u64>,
    /// Nothing: delete.
    #[serde(borrow, with = "serde_bytes")]
    put: Option<&'a [u8]>,
}

#[derive(Deserialize)]
struct VersionOnWire {
    v: u64,
}

/// The class that a key's writes go to.
///
/// A fence lives in the class that it guards and is spelled `fence/<class>/<role>`; without a class it is in `rest`.
pub fn class_of(key: &Key) -> Class {
    match key.group() {
        "fence" => Class::from_token(key.resource()).unwrap_or(Class::Rest),
        group => Class::of(group, key.resource()),
    }
}

// === impl Txn ===

impl Txn {
    /// A transaction of one operation.
    pub fn of(key: Key, expect: Expect, action: Action) -> Self {
        Txn { ops: vec![Op { key, expect, action }], ..Txn::default() }
    }

    /// The class of all its keys, or what is wrong.
    pub(crate) fn class(&self) -> Result<Class, String> {
        let first = self.ops.first().ok_or("it has no operations")?;
        let class = class_of(&first.key);
        let mut keys = self.ops.iter().map(|op| &op.key).chain(self.guards.iter().map(|guard| &guard.key));
        match keys.find(|key| class_of(key) != class) {
            Some(other) => Err(format!("{} and {other} are of different classes", first.key)),
            None => Ok(class),
        }
    }

    /// The transaction as a frame holds it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = TxnOnWire {
            all: self.all_or_none,
            guards: self.guards.iter().map(|guard| (guard.key.as_str(), guard.expect.0)).collect(),
            ops: self.ops.iter().map(OpOnWire::of).collect(),
            trace: self.trace.map(String::from),
        };
        rmp_serde::to_vec_named(&wire).expect("strings, numbers and bytes always encode into memory")
    }
}

impl<'a> OpOnWire<'a> {
    fn of(op: &'a Op) -> Self {
        let expect = match op.expect {
            Expect::Any => None,
            Expect::Absent => Some(0),
            Expect::At(revision) => Some(revision.0),
        };
        let put = match &op.action {
            Action::Put(value) => Some(&value[..]),
            Action::Delete => None,
        };
        OpOnWire { key: op.key.as_str(), expect, put }
    }

    fn read(&self, class: Class, revision: Revision) -> Result<Op, FrameError> {
        let key = in_class(self.key, class)?;
        let expect = match self.expect {
            None => Expect::Any,
            Some(0) => Expect::Absent,
            Some(revision) => Expect::At(Revision(revision)),
        };
        let action = match self.put {
            Some(value) => Action::Put(with_resource_version(value, revision)),
            None => Action::Delete,
        };
        Ok(Op { key, expect, action })
    }
}

// === impl Frame ===

impl Frame {
    /// The message that holds `txns` (each encoded by [`Txn::encode`]), made in `buffer`, whose memory is used again
    /// once the message before is dropped: a fresh hundred kilobytes for each would cost more than filling them.
    ///
    /// Written by hand so that transactions encoded in parallel by their callers are only copied together here.
    pub(crate) fn pack(
        buffer: &mut BytesMut,
        writer: u64,
        number: u64,
        seen: u64,
        txns: &[impl AsRef<[u8]>],
    ) -> Bytes {
        let size: usize = txns.iter().map(|txn| txn.as_ref().len()).sum();
        buffer.reserve(size + HEAD);
        buffer.put_u8(0x85); // a map of five
        for (name, value) in [("v", VERSION), ("writer", writer), ("number", number), ("seen", seen)] {
            put_name(buffer, name);
            buffer.put_u8(0xcf); // an unsigned number of 64 bits
            buffer.put_u64(value);
        }
        put_name(buffer, "txns");
        buffer.put_u8(0xdd); // an array with a length of 32 bits
        buffer.put_u32(u32::try_from(txns.len()).expect("a frame holds at most a thousand transactions"));
        for txn in txns {
            buffer.put_slice(txn.as_ref());
        }
        buffer.split().freeze()
    }

    /// Takes the message at `sequence` apart and puts the revisions that it makes into its values.
    pub fn read(payload: &[u8], class: Class, sequence: u64) -> Result<Frame, FrameError> {
        let wire: FrameOnWire<'_> =
            rmp_serde::from_slice(payload).map_err(|error| broken(payload, &error))?;
        if wire.v != VERSION {
            return Err(FrameError::Version(wire.v));
        }
        let ops: usize = wire.txns.iter().map(|txn| txn.ops.len()).sum();
        if ops > MAX_OPS {
            return Err(FrameError::Corrupt(format!("{ops} operations")));
        }
        let mut index = 0;
        let mut txns = Vec::with_capacity(wire.txns.len());
        for txn in &wire.txns {
            txns.push(txn.read(class, sequence, &mut index)?);
        }
        Ok(Frame { writer: wire.writer, number: wire.number, seen: wire.seen, txns })
    }

    /// Operations in it.
    pub fn ops(&self) -> usize {
        self.txns.iter().map(|txn| txn.ops.len()).sum()
    }
}

impl TxnOnWire<'_> {
    fn read(&self, class: Class, sequence: u64, index: &mut u64) -> Result<Txn, FrameError> {
        let mut guards = Vec::with_capacity(self.guards.len());
        for (key, expect) in &self.guards {
            guards.push(Guard { key: in_class(key, class)?, expect: Revision(*expect) });
        }
        let mut ops = Vec::with_capacity(self.ops.len());
        for op in &self.ops {
            ops.push(op.read(class, Revision::at(sequence, *index))?);
            *index += 1;
        }
        // One that cannot be read is worth no more than none.
        let trace = self.trace.as_ref().and_then(|trace| trace.parse().ok());
        Ok(Txn { all_or_none: self.all, guards, ops, trace })
    }
}

/// A key from a message of `class`. One of another class would be seen by some readers only.
fn in_class(key: &str, class: Class) -> Result<Key, FrameError> {
    let key = Key::from_raw(key);
    match class_of(&key) == class {
        true => Ok(key),
        false => Err(FrameError::Corrupt(format!("key {key} in a message of class {}", class.token()))),
    }
}

fn broken(payload: &[u8], error: &rmp_serde::decode::Error) -> FrameError {
    match rmp_serde::from_slice::<VersionOnWire>(payload) {
        Ok(wire) if wire.v != VERSION => FrameError::Version(wire.v),
        _ => FrameError::Corrupt(error.to_string()),
    }
}

fn put_name(out: &mut BytesMut, name: &str) {
    out.put_u8(0xa0 | name.len() as u8); // a string shorter than 32 bytes
    out.put_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(name: &str) -> Key {
        Key::object("", "pods", "default", name)
    }

    fn value(name: &str) -> Bytes {
        Bytes::from(format!(r#"{{"kind":"Pod","metadata":{{"name":"{name}"}}}}"#))
    }

    #[test]
    fn a_frame_gives_back_its_transactions_with_revisions_in_the_values() {
        let first = Txn::of(pod("a"), Expect::Absent, Action::Put(value("a")));
        let second = Txn {
            all_or_none: true,
            guards: vec![Guard { key: Key::fence("pods/binder"), expect: Revision(5) }],
            ops: vec![
                Op { key: pod("b"), expect: Expect::Any, action: Action::Delete },
                Op { key: pod("c"), expect: Expect::At(Revision(9)), action: Action::Put(value("c")) },
            ],
            trace: Some(Trace { trace: 5, span: 6 }),
        };
        let payload = Frame::pack(&mut BytesMut::new(), 7, 8, 9, &[first.encode(), second.encode()]);
        let frame = Frame::read(&payload, Class::Pods, 3).expect("a frame");
        assert_eq!((frame.writer, frame.number, frame.seen, frame.ops()), (7, 8, 9, 3));
        let stamped =
            |name: &str, index| Action::Put(with_resource_version(&value(name), Revision::at(3, index)));
        assert_eq!(frame.txns[0].ops[0], Op { action: stamped("a", 0), ..first.ops[0].clone() });
        assert_eq!(frame.txns[1].ops[0], second.ops[0]);
        assert_eq!(frame.txns[1].ops[1], Op { action: stamped("c", 2), ..second.ops[1].clone() });
        assert_eq!(frame.txns[1].guards, second.guards);
        assert_eq!((frame.txns[0].trace, frame.txns[1].trace), (None, second.trace));
    }

    #[test]
    fn a_version_that_is_not_known_is_told_from_garbage() {
        #[derive(Serialize)]
        struct Newer {
            v: u64,
            shape: &'static str,
        }
        let newer = rmp_serde::to_vec_named(&Newer { v: 2, shape: "unheard of" }).expect("encodes");
        assert_eq!(Frame::read(&newer, Class::Pods, 1), Err(FrameError::Version(2)));
        let broken = rmp_serde::to_vec_named(&Newer { v: 1, shape: "wrong" }).expect("encodes");
        assert!(matches!(Frame::read(&broken, Class::Pods, 1), Err(FrameError::Corrupt(_))));
        assert!(matches!(Frame::read(b"garbage", Class::Pods, 1), Err(FrameError::Corrupt(_))));
        assert!(matches!(Frame::read(b"", Class::Pods, 1), Err(FrameError::Corrupt(_))));
    }

    #[test]
    fn a_key_in_the_wrong_class_makes_the_message_corrupt() {
        let txn = Txn::of(pod("a"), Expect::Any, Action::Delete);
        let payload = Frame::pack(&mut BytesMut::new(), 1, 1, 0, &[txn.encode()]);
        assert!(Frame::read(&payload, Class::Pods, 1).is_ok());
        assert!(matches!(Frame::read(&payload, Class::Rest, 1), Err(FrameError::Corrupt(_))));
    }

    #[test]
    fn a_transaction_is_of_one_class() {
        let mut txn = Txn::of(pod("a"), Expect::Any, Action::Delete);
        assert_eq!(txn.class(), Ok(Class::Pods));
        txn.guards.push(Guard { key: Key::fence("binder"), expect: Revision(1) });
        assert!(txn.class().is_err());
        assert!(Txn::default().class().is_err());
    }

    proptest! {
        #[test]
        fn bytes_from_anywhere_never_panic(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Frame::read(&payload, Class::Pods, 1);
        }

        #[test]
        fn a_damaged_frame_never_panics(at in 0usize..200, byte: u8) {
            let txn = Txn::of(pod("a"), Expect::Absent, Action::Put(value("a")));
            let mut payload = Frame::pack(&mut BytesMut::new(), 1, 1, 0, &[txn.encode(), txn.encode()]).to_vec();
            let at = at % payload.len();
            payload[at] = byte;
            let _ = Frame::read(&payload, Class::Pods, 1);
        }
    }
}
