//! What a frame that came from the peer means. No IO.

use bytes::Bytes;

use super::credit::{Account, cost};
use super::end::StreamError;
use super::{CHANNELS, FRAME_BYTES, Frame, FrameBody};

/// What to do about a frame.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Hand it to the consumer.
    Data(u8, Bytes),
    /// Tell the consumer.
    Eof(u8),
    /// We may send so much more.
    Credit(u8, usize),
    /// Tell the consumer, and end.
    Close(Bytes),
    /// Nothing: the peer lives.
    Alive,
}

/// The receiving side of a stream.
#[derive(Debug)]
pub(super) struct Inbound {
    next: u64,
    account: Account,
    ended: [bool; CHANNELS as usize],
}

// === impl Inbound ===

impl Inbound {
    pub(super) fn new() -> Self {
        Inbound { next: 0, account: Account::new(), ended: [false; CHANNELS as usize] }
    }

    pub(super) fn accept(&mut self, frame: Frame) -> Result<Meaning, StreamError> {
        if frame.number != self.next {
            return Err(StreamError::Gap);
        }
        self.next += 1;
        match frame.body {
            FrameBody::Data(channel, bytes) => {
                self.open_channel(channel)?;
                if bytes.len() > FRAME_BYTES {
                    return Err(StreamError::Protocol("a frame is too large"));
                }
                self.account
                    .received(channel, cost(bytes.len()))
                    .map_err(|_| StreamError::Protocol("more data than there was credit for"))?;
                Ok(Meaning::Data(channel, bytes))
            }
            FrameBody::Eof(channel) => {
                self.open_channel(channel)?;
                self.ended[channel as usize] = true;
                Ok(Meaning::Eof(channel))
            }
            FrameBody::Credit(channel, amount) => {
                known(channel)?;
                let amount =
                    usize::try_from(amount).map_err(|_| StreamError::Protocol("an impossible credit"))?;
                Ok(Meaning::Credit(channel, amount))
            }
            FrameBody::Close(status) => Ok(Meaning::Close(status)),
            FrameBody::Keepalive => Ok(Meaning::Alive),
        }
    }

    /// Books what the consumer has finished with; returns the credit to send now.
    pub(super) fn consumed(&mut self, channel: u8, amount: usize) -> Option<u64> {
        self.account.consumed(channel, amount)
    }

    fn open_channel(&self, channel: u8) -> Result<(), StreamError> {
        known(channel)?;
        if self.ended[channel as usize] {
            return Err(StreamError::Protocol("a channel goes on after its end"));
        }
        Ok(())
    }
}

fn known(channel: u8) -> Result<(), StreamError> {
    if channel < CHANNELS { Ok(()) } else { Err(StreamError::Protocol("there is no such channel")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, body: FrameBody) -> Frame {
        Frame { number, body }
    }

    #[test]
    fn a_lost_frame_fails_the_stream() {
        let mut inbound = Inbound::new();
        assert_eq!(inbound.accept(frame(0, FrameBody::Keepalive)), Ok(Meaning::Alive));
        assert_eq!(inbound.accept(frame(2, FrameBody::Keepalive)), Err(StreamError::Gap));
    }

    #[test]
    fn a_frame_that_comes_twice_fails_the_stream() {
        let mut inbound = Inbound::new();
        let twice = frame(0, FrameBody::Data(1, Bytes::from_static(b"x")));
        assert!(inbound.accept(twice.clone()).is_ok());
        assert_eq!(inbound.accept(twice), Err(StreamError::Gap));
    }

    #[test]
    fn nonsense_from_the_peer_is_refused() {
        for body in [
            FrameBody::Data(CHANNELS, Bytes::new()),
            FrameBody::Data(0, vec![0; FRAME_BYTES + 1].into()),
            FrameBody::Eof(200),
            FrameBody::Credit(9, 1),
        ] {
            assert!(matches!(Inbound::new().accept(frame(0, body)), Err(StreamError::Protocol(_))));
        }
        let mut inbound = Inbound::new();
        assert_eq!(inbound.accept(frame(0, FrameBody::Eof(0))), Ok(Meaning::Eof(0)));
        assert!(inbound.accept(frame(1, FrameBody::Data(0, Bytes::new()))).is_err());
    }
}
