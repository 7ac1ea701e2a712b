//! What readers of the store are handed: items, listings, changes.

use bytes::Bytes;
use model::{Key, Revision, Trace};

/// A stored object. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: Key,
    /// The write that made this value.
    pub revision: Revision,
    /// The write that created the object.
    pub created: Revision,
    /// Canonical JSON with `metadata.resourceVersion` spliced in.
    pub value: Bytes,
}

/// Everything under a prefix at one revision, in key order.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The items.
    pub items: Vec<Item>,
    /// Every write up to here is in, no later one is.
    pub revision: Revision,
}

/// A part of a [`Listing`].
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The items, in key order.
    pub items: Vec<Item>,
    /// The revision at which all pages of this list agree.
    pub revision: Revision,
    /// Items under the prefix that come after this page.
    pub remaining: usize,
}

/// One write as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The object was created (`previous` is none) or replaced.
    Put {
        /// The object now.
        item: Item,
        /// The object before.
        previous: Option<Item>,
    },
    /// The object was deleted.
    Delete {
        /// Its name.
        key: Key,
        /// The write that deleted it.
        revision: Revision,
        /// The object before.
        previous: Item,
    },
}

/// A change of the past, as far back as the history goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The change.
    pub change: Change,
    /// When the log took it, in milliseconds since 1970; `None` where only a checkpoint tells of it.
    pub time: Option<u64>,
    /// The trace that it belongs to, if its writer was traced.
    pub trace: Option<Trace>,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A write under the watched prefix.
    Change(Change),
    /// Everything up to here was delivered.
    Progress(Revision),
}

/// The history no longer reaches back to the revision asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version, the oldest available is {oldest}")]
pub struct TooOld {
    /// The oldest revision that can still be asked for.
    pub oldest: Revision,
}

/// The store cannot answer now: the bus is away, or the log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store unavailable: {0}")]
pub struct Unavailable(pub String);

/// Whether the store follows its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not caught up yet, and why: reads may show an older state.
    Starting(String),
    /// Caught up and following.
    Ready,
    /// The bus is away: reads show the last state seen, writes wait or fail. Heals by itself.
    Disconnected(String),
    /// The log holds what this version must not skip; only a newer version, or a person, can go on.
    Stopped(String),
}

// === impl Change ===

impl Change {
    /// The object's name.
    pub fn key(&self) -> &Key {
        match self {
            Change::Put { item, .. } => &item.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// The place of this write in the order of all writes.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put { item, .. } => item.revision,
            Change::Delete { revision, .. } => *revision,
        }
    }

    /// The object before.
    pub fn previous(&self) -> Option<&Item> {
        match self {
            Change::Put { previous, .. } => previous.as_ref(),
            Change::Delete { previous, .. } => Some(previous),
        }
    }
}
