//! From an answer to an HTTP response: form, code, headers, compression.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderValue, Response, StatusCode};
use model::{Reason, Status};
use serde_json::Value;

use super::body::{self, Body, GZIP_FROM};
use super::list_body::ListChunks;
use super::negotiate::{Format, Output};
use super::pretty;
use crate::discovery::document::Document;

/// Upstream sends warnings of at most so many bytes altogether, since clients limit their headers.
const WARNINGS_MAX: usize = 4096;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One document, an object or anything else that is JSON.
pub fn json(code: StatusCode, bytes: Bytes, output: Output) -> Response<Body> {
    let (bytes, content_type) = match output.format {
        Format::Json { pretty: false } => (bytes, JSON),
        Format::Json { pretty: true } => (pretty::indent(&bytes).into(), JSON),
        Format::Yaml => (yaml(&bytes), HeaderValue::from_static("application/yaml")),
    };
    document(code, bytes, content_type, output.gzip)
}

/// 304: the client has it. Nothing is said of its length, which is that of what the client has.
pub fn not_modified(content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body::full(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    common(response)
}

/// A document that is kept packed, as it is kept if the client takes gzip.
pub fn kept(document: &Document, content_type: HeaderValue, gzip: bool) -> Response<Body> {
    let bytes = if gzip { document.packed() } else { document.bytes() };
    let length = bytes.len();
    let mut response = Response::new(body::full(bytes));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    common(response)
}

/// One document with its media type, compressed if it is large and the client takes that.
pub fn document(code: StatusCode, bytes: Bytes, content_type: HeaderValue, gzip: bool) -> Response<Body> {
    let mut response = if gzip && bytes.len() >= GZIP_FROM {
        compressed(std::iter::once(bytes))
    } else {
        let length = bytes.len();
        let mut response = Response::new(body::full(bytes));
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        response
    };
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    common(response)
}

/// A list.
pub fn list(chunks: ListChunks, output: Output) -> Response<Body> {
    if output.format != (Format::Json { pretty: false }) {
        let whole: Vec<u8> = chunks.flatten().collect();
        return json(StatusCode::OK, whole.into(), output);
    }
    let mut response = if output.gzip && chunks.rough_len() >= GZIP_FROM {
        compressed(chunks)
    } else {
        let length = chunks.exact_len();
        let mut response = Response::new(body::chunked(chunks));
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        response
    };
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    common(response)
}

/// A stream that goes on: every item goes out at once, uncompressed.
pub fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    common(response)
}

/// A refusal.
pub fn status(status: &Status, output: Output) -> Response<Body> {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, status.to_json().to_string().into(), output);
    let seconds = match (status.retry_after_seconds, status.reason) {
        (0, Reason::TooManyRequests | Reason::ServiceUnavailable) => 1,
        (seconds, _) => seconds,
    };
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        document(code, text.into(), HeaderValue::from_static("text/plain; charset=utf-8"), false);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Adds `Warning` headers, as `299 - "text"`.
pub fn with_warnings(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    let mut room = WARNINGS_MAX;
    for warning in warnings {
        let text: String = warning.chars().filter(|c| !c.is_control()).collect();
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()) else { continue };
        let Some(rest) = room.checked_sub(value.len()) else { break };
        room = rest;
        response.headers_mut().append(WARNING, value);
    }
    response
}

fn compressed(chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(body::chunked(body::gzip(chunks)));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

fn common(mut response: Response<Body>) -> Response<Body> {
    // What a server knows changes at any moment; the documents that may be kept say so themselves.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn yaml(json: &[u8]) -> Bytes {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    serde_saphyr::to_string(&value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::negotiate::PLAIN;

    #[test]
    fn a_refusal_carries_its_code_and_when_to_try_again() {
        let response = status(&Status::unavailable("the bus is gone"), PLAIN);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(status(&Status::bad_request("no"), PLAIN).headers().get(RETRY_AFTER), None);
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let many: Vec<String> = (0..1000).map(|n| format!("unknown field \"spec.field{n}\"")).collect();
        let response = with_warnings(text(StatusCode::OK, "x"), &many);
        let warnings: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(warnings[0], "299 - \"unknown field \\\"spec.field0\\\"\"");
        assert!((50..200).contains(&warnings.len()), "{}", warnings.len());
    }

    #[test]
    fn only_large_documents_are_compressed() {
        let gzip = Output { gzip: true, ..PLAIN };
        let small = json(StatusCode::OK, Bytes::from_static(b"{}"), gzip);
        assert_eq!(small.headers().get(CONTENT_ENCODING), None);
        let large = json(StatusCode::OK, vec![b'1'; GZIP_FROM].into(), gzip);
        assert_eq!(large.headers()[CONTENT_ENCODING], "gzip");
        let unwanted = json(StatusCode::OK, vec![b'1'; GZIP_FROM].into(), PLAIN);
        assert_eq!(unwanted.headers().get(CONTENT_ENCODING), None);
    }
}
