//! A log as the body of a response: each part goes out as it comes.

use bus::stream::{Chunk, Event, Stream};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use tracing::debug;

use super::Session;
use crate::http::body::{self, Body};

/// A log on its way to the client. When the client goes, the body is dropped, and with it the stream.
struct Log {
    stream: Stream,
    /// Given to the connection; its credit goes back when the connection asks for more.
    passed_on: Option<Chunk>,
    _session: Session,
}

/// `200 OK` with the log.
pub(super) fn response(stream: Stream, session: Session) -> Response<Body> {
    let log = Log { stream, passed_on: None, _session: session };
    let chunks = futures::stream::unfold(log, |mut log| async move {
        let bytes = log.next().await?;
        Some((bytes, log))
    });
    let mut response = Response::new(body::streamed(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

// === impl Log ===

impl Log {
    async fn next(&mut self) -> Option<Bytes> {
        self.passed_on = None;
        loop {
            match self.stream.recv().await {
                Ok(Event::Data(_, chunk)) => {
                    let bytes = Bytes::clone(&chunk);
                    self.passed_on = Some(chunk);
                    return Some(bytes);
                }
                Ok(Event::Eof(_)) => {}
                Ok(Event::Close(_)) => return None,
                Err(error) => {
                    debug!("a log breaks off: {error}");
                    return None;
                }
            }
        }
    }
}
