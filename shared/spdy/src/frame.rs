//! Frames: bytes to frames and back. No IO.
//!
//! ```text
//!  control  1 version(15) type(16)   flags(8) length(24)   payload
//!  data     0 stream(31)             flags(8) length(24)   payload
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Error;

const VERSION: u16 = 3;
const HEAD: usize = 8;
const CONTROL_BIT: u8 = 0x80;
const ID_MASK: u32 = 0x7fff_ffff;
const FLAG_FIN: u8 = 0x01;
const FLAG_UNIDIRECTIONAL: u8 = 0x02;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Payload of a control frame at most: compressed headers are far below. Data frames have no such limit, they are
/// handed on in pieces.
const CONTROL_MAX: usize = 64 * 1024;

/// `RST_STREAM`: the stream will not be served.
pub(crate) const REFUSED_STREAM: u32 = 3;
/// `RST_STREAM`: the stream is given up.
pub(crate) const CANCEL: u32 = 5;
/// `RST_STREAM` and `GOAWAY`: the peer breaks the protocol.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
/// `GOAWAY`: nothing is wrong.
pub(crate) const OK: u32 = 0;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The peer opens a stream; its headers are compressed.
    SynStream { stream: u32, fin: bool, unidirectional: bool, block: Bytes },
    /// The peer accepts a stream of ours.
    SynReply { stream: u32, fin: bool, block: Bytes },
    /// More headers of a stream; Kubernetes has no use for them, but they are part of the compression.
    Headers { stream: u32, fin: bool, block: Bytes },
    /// A stream is given up.
    Reset { stream: u32 },
    /// To be answered alike.
    Ping { id: u32 },
    /// The peer takes no more streams.
    GoAway,
    /// A piece of a stream; `fin` with the last piece of the last frame.
    Data { stream: u32, bytes: Bytes, fin: bool },
    /// SETTINGS, WINDOW_UPDATE and what we do not know.
    Other,
}

/// Cuts frames out of what was read.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The data frame in whose payload we stand.
    data: Option<DataFrame>,
}

#[derive(Debug)]
struct DataFrame {
    stream: u32,
    left: usize,
    fin: bool,
}

// === impl Decoder ===

impl Decoder {
    /// The next frame, `None` when more must be read.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if self.data.is_none() {
            let Some(head) = input.get(..HEAD) else { return Ok(None) };
            let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
            if head[0] & CONTROL_BIT != 0 {
                return control(input, length);
            }
            let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            if stream == 0 {
                return Err(Error::Protocol("data of stream 0"));
            }
            self.data = Some(DataFrame { stream, left: length, fin: head[4] & FLAG_FIN != 0 });
            input.advance(HEAD);
        }
        Ok(self.piece(input))
    }

    /// As much of the present data frame as there is.
    fn piece(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let data = self.data.as_mut()?;
        if input.is_empty() && data.left > 0 {
            return None;
        }
        let bytes = input.split_to(data.left.min(input.len())).freeze();
        data.left -= bytes.len();
        let (stream, last, fin) = (data.stream, data.left == 0, data.fin);
        if last {
            self.data = None;
        }
        Some(Frame::Data { stream, bytes, fin: last && fin })
    }
}

fn control(input: &mut BytesMut, length: usize) -> Result<Option<Frame>, Error> {
    if length > CONTROL_MAX {
        return Err(Error::Protocol("a control frame is too large"));
    }
    if input.len() < HEAD + length {
        input.reserve(HEAD + length - input.len());
        return Ok(None);
    }
    let mut head = input.split_to(HEAD);
    let payload = input.split_to(length).freeze();
    let version = head.get_u16() & 0x7fff;
    let kind = head.get_u16();
    let flags = head.get_u8();
    if version != VERSION {
        return Err(Error::Protocol("another version"));
    }
    parse(kind, flags, payload).map(Some)
}

fn parse(kind: u16, flags: u8, mut payload: Bytes) -> Result<Frame, Error> {
    let truncated = |_| Error::Protocol("a truncated control frame");
    let fin = flags & FLAG_FIN != 0;
    let mut id = || payload.try_get_u32().map(|id| id & ID_MASK).map_err(truncated);
    Ok(match kind {
        SYN_STREAM => {
            let stream = id()?;
            // The associated stream, then priority and slot.
            id()?;
            payload.try_get_u16().map_err(truncated)?;
            Frame::SynStream { stream, fin, unidirectional: flags & FLAG_UNIDIRECTIONAL != 0, block: payload }
        }
        SYN_REPLY => Frame::SynReply { stream: id()?, fin, block: payload },
        HEADERS => Frame::Headers { stream: id()?, fin, block: payload },
        RST_STREAM => Frame::Reset { stream: id()? },
        // An id has all 32 bits.
        PING => Frame::Ping { id: payload.try_get_u32().map_err(truncated)? },
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

// === what we send ===

/// Opens a stream.
pub(crate) fn put_syn_stream(output: &mut BytesMut, stream: u32, block: &[u8]) {
    put_control(output, SYN_STREAM, 0, 10 + block.len());
    output.put_u32(stream);
    output.put_u32(0);
    output.put_u16(0);
    output.put_slice(block);
}

/// Accepts a stream.
pub(crate) fn put_syn_reply(output: &mut BytesMut, stream: u32, block: &[u8]) {
    put_control(output, SYN_REPLY, 0, 4 + block.len());
    output.put_u32(stream);
    output.put_slice(block);
}

/// Gives a stream up.
pub(crate) fn put_reset(output: &mut BytesMut, stream: u32, status: u32) {
    put_control(output, RST_STREAM, 0, 8);
    output.put_u32(stream);
    output.put_u32(status);
}

/// Answers a ping.
pub(crate) fn put_ping(output: &mut BytesMut, id: u32) {
    put_control(output, PING, 0, 4);
    output.put_u32(id);
}

/// Says that no more streams are taken.
pub(crate) fn put_go_away(output: &mut BytesMut, last: u32, status: u32) {
    put_control(output, GOAWAY, 0, 8);
    output.put_u32(last);
    output.put_u32(status);
}

/// A piece of a stream.
pub(crate) fn put_data(output: &mut BytesMut, stream: u32, bytes: &[u8], fin: bool) {
    output.put_u32(stream);
    put_length(output, if fin { FLAG_FIN } else { 0 }, bytes.len());
    output.put_slice(bytes);
}

fn put_control(output: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    output.put_u16(VERSION | u16::from(CONTROL_BIT) << 8);
    output.put_u16(kind);
    put_length(output, flags, length);
}

fn put_length(output: &mut BytesMut, flags: u8, length: usize) {
    const LENGTH_MAX: usize = 0x00ff_ffff;
    debug_assert!(length <= LENGTH_MAX, "payloads are cut long before");
    output.put_u32(u32::from(flags) << 24 | length as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(input: &[u8], step: usize) -> Result<Vec<Frame>, Error> {
        let (mut decoder, mut buffer, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
        for part in input.chunks(step.max(1)) {
            buffer.extend_from_slice(part);
            while let Some(frame) = decoder.decode(&mut buffer)? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut wire = BytesMut::new();
        put_syn_stream(&mut wire, 1, b"block");
        put_syn_reply(&mut wire, 1, b"reply");
        put_data(&mut wire, 1, b"hello", false);
        put_data(&mut wire, 1, b"", true);
        put_ping(&mut wire, 0xffff_ffff);
        put_reset(&mut wire, 1, CANCEL);
        put_go_away(&mut wire, 1, OK);
        let expected = vec![
            Frame::SynStream {
                stream: 1,
                fin: false,
                unidirectional: false,
                block: Bytes::from_static(b"block"),
            },
            Frame::SynReply { stream: 1, fin: false, block: Bytes::from_static(b"reply") },
            Frame::Data { stream: 1, bytes: Bytes::from_static(b"hello"), fin: false },
            Frame::Data { stream: 1, bytes: Bytes::new(), fin: true },
            Frame::Ping { id: 0xffff_ffff },
            Frame::Reset { stream: 1 },
            Frame::GoAway,
        ];
        assert_eq!(frames(&wire, wire.len()).unwrap(), expected);
    }

    #[test]
    fn a_large_data_frame_is_handed_on_in_pieces_and_ends_once() {
        let mut wire = BytesMut::new();
        put_data(&mut wire, 3, &[7; 1000], true);
        let pieces = frames(&wire, 100).unwrap();
        let mut total = 0;
        for (at, piece) in pieces.iter().enumerate() {
            let Frame::Data { stream: 3, bytes, fin } = piece else { panic!("{piece:?}") };
            total += bytes.len();
            assert_eq!(*fin, at + 1 == pieces.len());
        }
        assert_eq!(total, 1000);
    }

    #[test]
    fn settings_and_window_updates_are_passed_over() {
        let mut wire = BytesMut::new();
        put_control(&mut wire, 4, 0, 12);
        wire.put_slice(&[0; 12]);
        put_control(&mut wire, 9, 0, 8);
        wire.put_slice(&[0; 8]);
        put_ping(&mut wire, 2);
        assert_eq!(frames(&wire, 5).unwrap(), [Frame::Other, Frame::Other, Frame::Ping { id: 2 }]);
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(
            frames(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], 12),
            Err(Error::Protocol("another version"))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_parts_are_frames_or_an_error(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            step in 1usize..50,
        ) {
            let _ = frames(&bytes, step);
            // The same behind a head that is right, so that the parsers of payloads get to see it.
            for kind in 0..12 {
                let mut wire = BytesMut::new();
                put_control(&mut wire, kind, 1, bytes.len());
                wire.put_slice(&bytes);
                let _ = frames(&wire, step);
            }
        }
    }
}
