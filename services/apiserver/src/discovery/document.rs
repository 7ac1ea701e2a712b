//! A document that is kept: packed, since it is large, seldom asked for, and mostly by clients that take gzip.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

/// A document and the hash of its content.
#[derive(Clone, Debug)]
pub struct Document {
    packed: Bytes,
    /// Strong validator, with its quotes.
    pub etag: String,
}

// === impl Document ===

impl Document {
    /// Packs a document. `hash` is its validator without quotes.
    pub fn new(bytes: &[u8], hash: &str) -> Document {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::default());
        encoder.write_all(bytes).expect("memory takes every byte");
        let packed = encoder.finish().expect("memory takes every byte");
        Document { packed: packed.into(), etag: format!("\"{hash}\"") }
    }

    /// The document as gzip.
    pub fn packed(&self) -> Bytes {
        self.packed.clone()
    }

    /// The document as it is.
    pub fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.packed.len() * 8);
        GzDecoder::new(&self.packed[..]).read_to_end(&mut bytes).expect("what was packed here unpacks");
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was() {
        let text = "openapi ".repeat(10_000);
        let document = Document::new(text.as_bytes(), "AB");
        assert_eq!(document.bytes(), text);
        assert!(document.packed().len() < 1_000);
        assert_eq!(document.etag, "\"AB\"");
    }
}
