//! Response bodies: chunks that are made as the client takes them.

use std::convert::Infallible;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

/// The body of every response.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Bytes of a chunk: large enough that its overhead vanishes, small enough that many slow clients can each
/// hold one.
pub const CHUNK: usize = 64 * 1024;

/// Compressing less costs more than it saves on a fast network.
pub const GZIP_FROM: usize = 128 * 1024;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body whose chunks are computed one after the other; other tasks run in between.
pub fn chunked(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    let stream = futures::stream::unfold(chunks, |mut chunks| async move {
        tokio::task::consume_budget().await;
        chunks.next().map(|chunk| (chunk, chunks))
    });
    streamed(stream)
}

/// A body that goes on as long as the stream does; each item goes out at once.
pub fn streamed(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(stream.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)))).boxed_unsync()
}

/// The chunks of a gzip file with the content of `chunks`.
pub fn gzip(chunks: impl Iterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    let mut encoder = Some(GzEncoder::new(Vec::with_capacity(CHUNK / 4), Compression::fast()));
    let mut chunks = chunks;
    std::iter::from_fn(move || {
        loop {
            let Some(chunk) = chunks.next() else {
                return encoder
                    .take()
                    .map(|encoder| encoder.finish().expect("memory takes every byte").into());
            };
            let out = encoder.as_mut()?;
            out.write_all(&chunk).expect("memory takes every byte");
            if !out.get_ref().is_empty() {
                return Some(std::mem::take(out.get_mut()).into());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_gives_back_what_went_in() {
        let text: Vec<Bytes> = (0..1000).map(|n| format!("line {n} of many;").repeat(20).into()).collect();
        let packed: Vec<u8> = gzip(text.clone().into_iter()).flatten().collect();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, text.concat());
        assert!(packed.len() * 4 < unpacked.len());
    }

    #[test]
    fn nothing_is_a_valid_gzip_file_too() {
        let packed: Vec<u8> = gzip(std::iter::empty()).flatten().collect();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked.is_empty());
    }
}
