//! Headers: names and values, and their compressed form.
//!
//! A direction of a connection is one zlib stream in which every block of headers is flushed by itself, so blocks must
//! be inflated in the order in which they came, also those of streams that are refused.

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Error;
use crate::dictionary::{CHECKSUM, DICTIONARY};

/// A block of headers inflates to this at most: Kubernetes sends a few short ones.
const BLOCK_MAX: usize = 64 * 1024;

/// The headers of a stream. Names are in lower case on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// Compresses the blocks of one direction.
pub(crate) struct Deflater {
    zlib: Compress,
}

/// Inflates the blocks of one direction.
pub(crate) struct Inflater {
    zlib: Decompress,
}

// === impl Headers ===

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Headers::default()
    }

    /// With one more.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        // Values of one name are joined by NUL.
        value.split('\0').next()
    }

    fn encode(&self) -> Vec<u8> {
        let mut block = Vec::new();
        put_length(&mut block, self.0.len());
        for (name, value) in &self.0 {
            for text in [name, value] {
                put_length(&mut block, text.len());
                block.put_slice(text.as_bytes());
            }
        }
        block
    }

    fn decode(mut block: &[u8]) -> Result<Self, Error> {
        let count = take_length(&mut block)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let name = take_text(&mut block)?;
            headers.push((name, take_text(&mut block)?));
        }
        Ok(Headers(headers))
    }
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.put_u32(u32::try_from(length).expect("headers are short"));
}

fn take_length(block: &mut &[u8]) -> Result<usize, Error> {
    let length = block.try_get_u32().map_err(|_| Error::Protocol("truncated headers"))?;
    Ok(length as usize)
}

fn take_text(block: &mut &[u8]) -> Result<String, Error> {
    let length = take_length(block)?;
    let Some((text, rest)) = block.split_at_checked(length) else {
        return Err(Error::Protocol("truncated headers"));
    };
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Protocol("a header that is no text"))
}

// === impl Deflater ===

impl Deflater {
    pub(crate) fn new() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&DICTIONARY).expect("a new stream takes a dictionary");
        Deflater { zlib }
    }

    pub(crate) fn compress(&mut self, headers: &Headers) -> Vec<u8> {
        let block = headers.encode();
        let before = self.zlib.total_in();
        let mut output = Vec::with_capacity(block.len() + 64);
        loop {
            let consumed = (self.zlib.total_in() - before) as usize;
            let status = self.zlib.compress_vec(&block[consumed..], &mut output, FlushCompress::Sync);
            status.expect("zlib compresses anything");
            // A flush is complete when it leaves room.
            if output.len() < output.capacity() {
                return output;
            }
            output.reserve(output.capacity());
        }
    }
}

// === impl Inflater ===

impl Inflater {
    pub(crate) fn new() -> Self {
        Inflater { zlib: Decompress::new(true) }
    }

    pub(crate) fn inflate(&mut self, compressed: &Bytes) -> Result<Headers, Error> {
        let before = self.zlib.total_in();
        let mut block = Vec::with_capacity(1024);
        loop {
            let consumed = (self.zlib.total_in() - before) as usize;
            match self.zlib.decompress_vec(&compressed[consumed..], &mut block, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(Error::Protocol("the compression of headers ended")),
                Ok(_) => {}
                Err(error) if error.needs_dictionary() == Some(CHECKSUM) => {
                    let set = self.zlib.set_dictionary(&DICTIONARY);
                    set.map_err(|_| Error::Protocol("headers with another dictionary"))?;
                    continue;
                }
                Err(_) => return Err(Error::Protocol("headers that do not inflate")),
            }
            if block.len() < block.capacity() {
                // There was room for more, so all there is has come.
                return Headers::decode(&block);
            }
            if block.len() >= BLOCK_MAX {
                return Err(Error::Protocol("headers are too large"));
            }
            block.reserve(block.capacity());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_that_peers_have() {
        let mut zlib = Compress::new(Compression::fast(), true);
        assert_eq!(zlib.set_dictionary(&DICTIONARY).unwrap(), CHECKSUM);
        assert_eq!(DICTIONARY.len(), 1423);
        let block = Deflater::new().compress(&Headers::new().with("streamType", "error"));
        assert_eq!(block[2..6], CHECKSUM.to_be_bytes(), "the stream names its dictionary");
    }

    #[test]
    fn blocks_of_all_sizes_survive_one_after_another() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for length in (0..2_000).chain([5_000, 20_000, 60_000]) {
            let value: String = (0..length).map(|at: u32| char::from(b' ' + (at * at % 90) as u8)).collect();
            let headers = Headers::new().with("streamType", "stdout").with("x", value);
            assert_eq!(inflater.inflate(&deflater.compress(&headers).into()).unwrap(), headers);
        }
    }

    #[test]
    fn a_small_block_that_inflates_without_end_is_refused() {
        let bomb = Headers::new().with("x", "a".repeat(10 * BLOCK_MAX));
        let block = Deflater::new().compress(&bomb);
        assert!(block.len() < BLOCK_MAX / 10);
        assert_eq!(Inflater::new().inflate(&block.into()), Err(Error::Protocol("headers are too large")));
    }

    #[test]
    fn names_are_found_in_any_case_and_values_of_one_name_are_apart() {
        let headers = Headers::new().with("streamType", "data\0error");
        assert_eq!(headers.get("StreamType"), Some("data"));
        assert_eq!(headers.get("port"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_headers_or_an_error(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Headers::decode(&bytes);
            let _ = Inflater::new().inflate(&bytes.clone().into());
            // Behind the right beginning zlib gets to see the rest.
            let mut block = Deflater::new().compress(&Headers::new().with("streamType", "error"));
            block.truncate(bytes.len() % block.len());
            block.extend(bytes);
            let _ = Inflater::new().inflate(&block.into());
        }
    }
}
