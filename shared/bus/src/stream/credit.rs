//! Credit: how much of a channel may be under way.

use super::{CHANNELS, WINDOW};

/// What the smallest frame counts for, so that a window of tiny frames cannot fill a reader's memory with
/// bookkeeping.
const FRAME_MIN: usize = 256;
/// Credit is given back in portions of this size: four messages a window instead of one a frame.
const PORTION: usize = WINDOW / 4;

/// What a frame with so many bytes of data takes of the window.
pub fn cost(bytes: usize) -> usize {
    bytes.max(FRAME_MIN)
}

/// The receiving side's account: what the peer may still send, and what it is to be told.
#[derive(Debug)]
pub(super) struct Account {
    /// What the peer may send before it hears from us.
    granted: [usize; CHANNELS as usize],
    /// Consumed here, not yet said.
    owed: [usize; CHANNELS as usize],
}

/// The peer sent more than it was allowed to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overrun;

// === impl Account ===

impl Account {
    pub(super) fn new() -> Self {
        Account { granted: [WINDOW; CHANNELS as usize], owed: [0; CHANNELS as usize] }
    }

    /// Books a frame that came.
    pub(super) fn received(&mut self, channel: u8, amount: usize) -> Result<(), Overrun> {
        let granted = &mut self.granted[channel as usize];
        *granted = granted.checked_sub(amount).ok_or(Overrun)?;
        Ok(())
    }

    /// Books what the consumer has finished with; returns what is to be told to the peer now.
    pub(super) fn consumed(&mut self, channel: u8, amount: usize) -> Option<u64> {
        let owed = &mut self.owed[channel as usize];
        *owed += amount;
        if *owed < PORTION {
            return None;
        }
        let portion = std::mem::take(owed);
        self.granted[channel as usize] += portion;
        Some(portion as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::FRAME_BYTES;

    #[test]
    fn a_peer_that_ignores_its_window_is_found_out() {
        let mut account = Account::new();
        for _ in 0..WINDOW / FRAME_BYTES {
            assert_eq!(account.received(1, FRAME_BYTES), Ok(()));
        }
        assert_eq!(account.received(1, cost(0)), Err(Overrun));
        assert_eq!(account.received(2, FRAME_BYTES), Ok(()), "channels have windows of their own");
    }

    #[test]
    fn what_is_not_yet_given_back_never_stops_a_sender() {
        let mut account = Account::new();
        let mut sendable = WINDOW;
        for _ in 0..1_000 {
            assert!(sendable >= FRAME_BYTES, "a sender waits though the consumer took everything");
            account.received(0, FRAME_BYTES).expect("within the window");
            sendable -= FRAME_BYTES;
            sendable += account.consumed(0, FRAME_BYTES).unwrap_or(0) as usize;
        }
    }
}
