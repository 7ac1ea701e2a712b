//! `resourceVersion` as a place in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operations that one log message may hold; the low ten bits of a [`Revision`] number them.
pub const OPS_PER_MESSAGE: u64 = 1024;

/// A place in the total order of writes: `sequence × 1024 + index of the operation in its message`.
///
/// Comparable, increasing and the same for every reader, as KEP-5504 asks of `resourceVersion`.
/// Zero is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A `resourceVersion` that is not a decimal number below 2^63.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid resourceVersion {0:?}: must be a decimal number")]
pub struct InvalidRevision(pub String);

// === impl Revision ===

impl Revision {
    /// Before every write.
    pub const ZERO: Revision = Revision(0);

    /// The revision of operation `index` of the message at `sequence`.
    pub const fn at(sequence: u64, index: u64) -> Self {
        Revision(sequence * OPS_PER_MESSAGE + index)
    }

    /// The last revision that the message at `sequence` can hold: what has been seen once it is applied.
    pub const fn end_of(sequence: u64) -> Self {
        Self::at(sequence, OPS_PER_MESSAGE - 1)
    }

    /// The log sequence of the message that made this revision.
    pub const fn sequence(self) -> u64 {
        self.0 / OPS_PER_MESSAGE
    }

    /// The operation's index in its message.
    pub const fn index(self) -> u64 {
        self.0 % OPS_PER_MESSAGE
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(n) if digits && n < 1 << 63 => Ok(Revision(n)),
            _ => Err(InvalidRevision(text.to_owned())),
        }
    }
}
