//! Where a piece of work stands in a trace, as W3C's `traceparent` spells it: `00-<trace>-<span>-01`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span that others are the children of. There is none for work that nobody traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Trace {
    /// The trace; never zero.
    pub trace: u128,
    /// The span in it; never zero.
    pub span: u64,
}

/// Not a `traceparent` of a trace that is sampled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no sampled trace")]
pub struct NotSampled(String);

/// The bit of the flags that says that the trace is collected.
const SAMPLED: u8 = 1;

// === impl Trace ===

impl FromStr for Trace {
    type Err = NotSampled;

    fn from_str(traceparent: &str) -> Result<Self, NotSampled> {
        read(traceparent).ok_or_else(|| NotSampled(traceparent.to_owned()))
    }
}

/// A later version may have more fields behind the four.
fn read(traceparent: &str) -> Option<Trace> {
    let mut fields = traceparent.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if version.len() != 2 || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let trace =
        Trace { trace: u128::from_str_radix(trace, 16).ok()?, span: u64::from_str_radix(span, 16).ok()? };
    let sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED == SAMPLED;
    (sampled && trace.trace != 0 && trace.span != 0).then_some(trace)
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{SAMPLED:02x}", self.trace, self.span)
    }
}

impl From<Trace> for String {
    fn from(trace: Trace) -> String {
        trace.to_string()
    }
}

impl TryFrom<String> for Trace {
    type Error = NotSampled;

    fn try_from(traceparent: String) -> Result<Self, NotSampled> {
        traceparent.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_traceparent_is_read_and_written_alike() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace: Trace = text.parse().expect("a trace");
        assert_eq!((trace.span, trace.to_string().as_str()), (0xb7ad_6b71_6920_3331, text));
    }

    #[test]
    fn what_is_not_sampled_or_not_a_trace_is_none() {
        for text in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "rubbish",
            "",
        ] {
            assert!(text.parse::<Trace>().is_err(), "{text}");
        }
    }
}
