//! How a checkpoint is written: MessagePack, chunks compressed with LZ4, which makes typical objects three to five
//! times smaller faster than the disk takes them.

use bytes::Bytes;
use model::{Class, Key, Revision};
use serde::{Deserialize, Serialize};

use crate::item::{Change, Item};

/// The format that this version writes and the only one that it reads.
const VERSION: u64 = 1;

/// What the pointer says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    v: u64,
    /// Its name, drawn at random.
    pub checkpoint: u64,
    /// Every message up to here is in.
    pub sequence: u64,
    /// The log's time there.
    pub time: u64,
    /// Every change after this is among the changes.
    pub floor: Revision,
    /// Whether the sequence was moved because the log was lost, see [`Manifest::move_beyond`].
    pub moved: bool,
    classes: Vec<ClassEntry>,
}

/// One class of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClassEntry {
    pub class: Class,
    /// How many chunks it has.
    pub chunks: u64,
    /// Sequence of its newest message.
    pub newest: u64,
}

#[derive(Deserialize)]
struct ManifestVersion {
    v: u64,
}

/// What one chunk holds.
#[derive(Debug)]
pub(crate) enum Part {
    /// Writer, number of its newest frame, sequence of that.
    Writers(Vec<(u64, u64, u64)>),
    /// Sequence and time of the messages that wrote what leaves by age.
    Times(Vec<(u64, u64)>),
    /// Objects in key order.
    Items(Vec<Item>),
    /// The newest changes in order.
    Changes(Vec<Change>),
}

#[derive(Serialize, Deserialize)]
enum PartOnWire<'a> {
    Writers(Vec<(u64, u64, u64)>),
    Times(Vec<(u64, u64)>),
    #[serde(borrow)]
    Items(Vec<ItemOnWire<'a>>),
    /// The object now (or nothing), the object before (or nothing), and the revision.
    #[serde(borrow)]
    Changes(Vec<(Option<ItemOnWire<'a>>, Option<ItemOnWire<'a>>, u64)>),
}

#[derive(Serialize, Deserialize)]
struct ItemOnWire<'a> {
    key: &'a str,
    revision: u64,
    created: u64,
    #[serde(borrow, with = "serde_bytes")]
    value: &'a [u8],
}

// === impl Manifest ===

impl Manifest {
    pub fn new(checkpoint: u64, sequence: u64, time: u64, floor: Revision, classes: Vec<ClassEntry>) -> Self {
        Manifest { v: VERSION, checkpoint, sequence, time, floor, moved: false, classes }
    }

    pub fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self).expect("numbers and names always encode into memory").into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let version: ManifestVersion =
            rmp_serde::from_slice(bytes).map_err(|error| format!("corrupt checkpoint pointer: {error}"))?;
        if version.v != VERSION {
            return Err(format!("checkpoint format version {} is not known to this version", version.v));
        }
        rmp_serde::from_slice(bytes).map_err(|error| format!("corrupt checkpoint pointer: {error}"))
    }

    /// The log after this checkpoint is lost: makes it one at a sequence that the lost part cannot have reached, and
    /// of which no older revision can be resumed. Done once; says whether it was done now.
    pub fn move_beyond(&mut self, messages: u64) -> bool {
        if self.moved {
            return false;
        }
        self.moved = true;
        self.sequence += messages;
        self.floor = Revision::end_of(self.sequence);
        true
    }

    /// A class, if it is in this checkpoint.
    pub fn class(&self, class: Class) -> Option<&ClassEntry> {
        self.classes.iter().find(|entry| entry.class == class)
    }
}

// === impl Part ===

impl Part {
    /// The chunk. `plain` is memory for what is compressed into it.
    pub fn encode(&self, plain: &mut Vec<u8>) -> Bytes {
        let wire = match self {
            Part::Writers(writers) => PartOnWire::Writers(writers.clone()),
            Part::Times(times) => PartOnWire::Times(times.clone()),
            Part::Items(items) => PartOnWire::Items(items.iter().map(ItemOnWire::of).collect()),
            Part::Changes(changes) => PartOnWire::Changes(changes.iter().map(change_on_wire).collect()),
        };
        plain.clear();
        rmp_serde::encode::write(plain, &wire).expect("strings, numbers and bytes always encode into memory");
        lz4_flex::compress_prepend_size(plain).into()
    }

    pub fn decode(chunk: &[u8]) -> Result<Self, String> {
        let plain = lz4_flex::decompress_size_prepended(chunk)
            .map_err(|error| format!("corrupt piece of a checkpoint: {error}"))?;
        let wire: PartOnWire<'_> = rmp_serde::from_slice(&plain)
            .map_err(|error| format!("corrupt piece of a checkpoint: {error}"))?;
        Ok(match wire {
            PartOnWire::Writers(writers) => Part::Writers(writers),
            PartOnWire::Times(times) => Part::Times(times),
            PartOnWire::Items(items) => Part::Items(items.iter().map(ItemOnWire::read).collect()),
            PartOnWire::Changes(changes) => Part::Changes(
                changes.into_iter().filter_map(|(now, before, at)| change(now, before, at)).collect(),
            ),
        })
    }
}

fn change_on_wire(change: &Change) -> (Option<ItemOnWire<'_>>, Option<ItemOnWire<'_>>, u64) {
    let now = match change {
        Change::Put { item, .. } => Some(ItemOnWire::of(item)),
        Change::Delete { .. } => None,
    };
    (now, change.previous().map(ItemOnWire::of), change.revision().0)
}

fn change(now: Option<ItemOnWire<'_>>, before: Option<ItemOnWire<'_>>, at: u64) -> Option<Change> {
    let previous = before.as_ref().map(ItemOnWire::read);
    match (now, previous) {
        (Some(item), previous) => Some(Change::Put { item: item.read(), previous }),
        (None, Some(previous)) => {
            Some(Change::Delete { key: previous.key.clone(), revision: Revision(at), previous })
        }
        (None, None) => None,
    }
}

// === impl ItemOnWire ===

impl<'a> ItemOnWire<'a> {
    fn of(item: &'a Item) -> Self {
        ItemOnWire {
            key: item.key.as_str(),
            revision: item.revision.0,
            created: item.created.0,
            value: &item.value,
        }
    }

    fn read(&self) -> Item {
        Item {
            key: Key::from_raw(self.key),
            revision: Revision(self.revision),
            created: Revision(self.created),
            value: Bytes::copy_from_slice(self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, revision: u64) -> Item {
        Item {
            key: Key::object("", "pods", "default", name),
            revision: Revision(revision),
            created: Revision(1024),
            value: Bytes::from(format!("{{\"name\":\"{name}\"}}")),
        }
    }

    #[test]
    fn a_chunk_gives_back_what_it_was_made_of() {
        let items = vec![item("a", 2048), item("b", 3072)];
        match Part::decode(&Part::Items(items.clone()).encode(&mut Vec::new())) {
            Ok(Part::Items(back)) => assert_eq!(back, items),
            other => panic!("{other:?}"),
        }
        let changes = vec![
            Change::Put { item: item("a", 2048), previous: None },
            Change::Put { item: item("a", 3072), previous: Some(item("a", 2048)) },
            Change::Delete { key: item("a", 0).key, revision: Revision(4096), previous: item("a", 3072) },
        ];
        match Part::decode(&Part::Changes(changes.clone()).encode(&mut Vec::new())) {
            Ok(Part::Changes(back)) => assert_eq!(back, changes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_damaged_chunk_is_an_error() {
        let mut chunk = Part::Items(vec![item("a", 2048)]).encode(&mut Vec::new()).to_vec();
        chunk.truncate(chunk.len() / 2);
        assert!(Part::decode(&chunk).is_err());
        assert!(Part::decode(b"").is_err());
    }

    #[test]
    fn a_pointer_of_a_newer_version_is_refused() {
        let entry = ClassEntry { class: Class::Pods, chunks: 5, newest: 2 };
        let mut manifest = Manifest::new(1, 2, 3, Revision(4), vec![entry]);
        let back = Manifest::decode(&manifest.encode()).expect("decodes");
        assert_eq!(back.class(Class::Pods).map(|entry| entry.chunks), Some(5));
        manifest.v = 2;
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }
}
