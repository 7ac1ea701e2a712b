//! Request bodies: from bytes of a media type to an object of the expected kind.
//!
//! ```text
//!  bytes ── inflate, limit ──> JSON | YAML | protobuf ──> value ──> right kind? ──> fields known? ──> Body
//! ```
//! What is wrong is said in upstream's words, since clients show them and some read them.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use model::{Object, Reason, Status};
use schema::Schemas;
use serde_json::Value;

use crate::registry::body;
use crate::verbs::{Body, Patch, PatchKind};

/// Bytes of a request body at most, after decompression, as upstream: an object of 1.5 MB fits in any encoding,
/// and what fits here fits into one message of the log.
pub const BODY_MAX: usize = 3 * 1024 * 1024;

/// Bodies from this size on are decoded on a thread that may block: it takes milliseconds.
const OFFLOAD_FROM: usize = 256 * 1024;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// The kind that a body has to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Empty for the core group.
    pub group: String,
    /// As `v1`.
    pub version: String,
    /// As `Pod`.
    pub kind: String,
}

const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const PATCH_TYPES: &str = "application/json-patch+json, application/merge-patch+json, \
                           application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Reads a request's body; 413 when it is too large, compressed or not.
pub async fn read(headers: &HeaderMap, mut sent: hyper::body::Incoming) -> Result<Bytes, Status> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = sent.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("cannot read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    match headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()) {
        None | Some("" | "identity") => Ok(bytes.freeze()),
        Some("gzip") => inflate(&bytes),
        Some(other) => {
            Err(unsupported(format!("the body's content encoding {other:?} is not known: use gzip")))
        }
    }
}

/// The media type of a body; 415 for one that is not known.
pub fn media(headers: &HeaderMap) -> Result<Media, Status> {
    match content_type(headers).as_str() {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(unknown_format(MEDIA_TYPES)),
    }
}

/// Decodes an object that has to be of the expected kind.
pub async fn object(
    schemas: &'static Schemas,
    media: Media,
    bytes: Bytes,
    expected: Expected,
) -> Result<Body, Status> {
    if bytes.len() < OFFLOAD_FROM {
        return decode(schemas, media, &bytes, &expected);
    }
    let decoded = tokio::task::spawn_blocking(move || decode(schemas, media, &bytes, &expected));
    decoded.await.unwrap_or_else(|error| Err(Status::internal(error)))
}

/// The options in the body of a DELETE; `None` without a body.
pub fn delete_options(
    schemas: &'static Schemas,
    media: Media,
    bytes: &Bytes,
) -> Result<Option<Object>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let expected = Expected::new("", "v1", "DeleteOptions");
    let decoded = value(schemas, media, bytes, &expected)?;
    // Clients also write it in the group of what they delete.
    match decoded.value.get("kind").and_then(Value::as_str) {
        None | Some("" | "DeleteOptions") => Ok(Object::from_value(decoded.value)),
        Some(kind) => Err(Status::bad_request(format!("expected DeleteOptions, got {kind}"))),
    }
}

/// The patch in a body; 415 for a format that is none of the four.
pub fn patch(headers: &HeaderMap, bytes: Bytes) -> Result<Patch, Status> {
    let kind = match content_type(headers).as_str() {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" => PatchKind::Strategic,
        "application/apply-patch+yaml" => PatchKind::Apply,
        _ => return Err(unknown_format(PATCH_TYPES)),
    };
    let body = match kind {
        PatchKind::Apply => yaml(&bytes).map_err(Status::bad_request)?.to_string().into(),
        _ => bytes,
    };
    Ok(Patch { kind, body })
}

struct Decoded {
    value: Value,
    duplicate: Vec<String>,
}

fn decode(
    schemas: &'static Schemas,
    media: Media,
    bytes: &Bytes,
    expected: &Expected,
) -> Result<Body, Status> {
    let Decoded { value, duplicate } = value(schemas, media, bytes, expected)?;
    let mut object = Object::from_value(value).unwrap_or_default();
    let api_version = expected.api_version();
    body::check_type(&mut object, &api_version, &expected.kind)?;
    body::typed(schemas, &api_version, &expected.kind, object, duplicate)
}

fn value(schemas: &Schemas, media: Media, bytes: &Bytes, expected: &Expected) -> Result<Decoded, Status> {
    let unrecognized = |why: String| expected.unrecognized(&why, bytes);
    let decoded = match media {
        Media::Json => {
            let (value, duplicate) = schema::json::decode(bytes)
                .map_err(|why| unrecognized(format!("couldn't get version/kind; json parse error: {why}")))?;
            Decoded { value, duplicate }
        }
        Media::Yaml => {
            let value = yaml(bytes).map_err(unrecognized)?;
            Decoded { value, duplicate: Vec::new() }
        }
        Media::Protobuf => {
            let decoded = schema::proto::decode(schemas, bytes).map_err(unrecognized)?;
            Decoded { value: decoded.value, duplicate: Vec::new() }
        }
    };
    if !decoded.value.is_object() {
        let why =
            format!("couldn't get version/kind; json parse error: {} is no object", name_of(&decoded.value));
        return Err(expected.unrecognized(&why, bytes));
    }
    Ok(decoded)
}

fn yaml(bytes: &Bytes) -> Result<Value, String> {
    serde_saphyr::from_slice(bytes).map_err(|error| format!("yaml: {error}"))
}

fn inflate(bytes: &[u8]) -> Result<Bytes, Status> {
    let mut out = Vec::new();
    // One byte more than allowed tells the difference between full and too large.
    let mut limited = MultiGzDecoder::new(bytes).take(BODY_MAX as u64 + 1);
    limited
        .read_to_end(&mut out)
        .map_err(|error| Status::bad_request(format!("the body is not gzip: {error}")))?;
    if out.len() > BODY_MAX { Err(too_large()) } else { Ok(out.into()) }
}

/// The media type without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn too_large() -> Status {
    Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {BODY_MAX}"))
}

fn unknown_format(accepted: &str) -> Status {
    unsupported(format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    ))
}

fn unsupported(message: String) -> Status {
    Status::new(Reason::UnsupportedMediaType, message)
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

// === impl Expected ===

impl Expected {
    /// This kind.
    pub fn new(group: &str, version: &str, kind: &str) -> Expected {
        Expected { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// As `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// 400 for a body whose kind could not be told, with its beginning.
    fn unrecognized(&self, why: &str, bytes: &[u8]) -> Status {
        const SHOWN: usize = 30;
        let hex: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
        let more = if bytes.len() > SHOWN { " ..." } else { "" };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {why} ({hex}{more})",
            self.kind
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        headers
    }

    fn config_map(media: Media, text: &str) -> Result<Body, Status> {
        let expected = Expected::new("", "v1", "ConfigMap");
        decode(Schemas::builtin(), media, &Bytes::copy_from_slice(text.as_bytes()), &expected)
    }

    #[test]
    fn media_types_are_told_by_name_without_their_parameters() {
        let cases = [
            ("", Some(Media::Json)),
            ("application/json", Some(Media::Json)),
            ("application/json; charset=utf-8", Some(Media::Json)),
            ("Application/JSON", Some(Media::Json)),
            ("application/yaml", Some(Media::Yaml)),
            ("application/vnd.kubernetes.protobuf", Some(Media::Protobuf)),
            ("text/plain", None),
        ];
        for (text, expected) in cases {
            let found = media(&headers(text));
            match expected {
                Some(expected) => assert_eq!(found, Ok(expected), "{text}"),
                None => assert_eq!(found.unwrap_err().code(), 415, "{text}"),
            }
        }
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let from_json = config_map(
            Media::Json,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#,
        );
        let from_yaml =
            config_map(Media::Yaml, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n");
        assert_eq!(from_json.unwrap().object, from_yaml.unwrap().object);
    }

    #[test]
    fn a_body_without_a_kind_is_of_the_expected_one() {
        let body = config_map(Media::Json, r#"{"metadata":{"name":"a"}}"#).unwrap();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        assert_eq!(body.object.into_value(), expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_upstreams_words() {
        let cases = [
            (
                "{",
                "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ",
            ),
            (
                "",
                "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ",
            ),
            ("[]", "the object provided is unrecognized (must be of type ConfigMap): "),
            (r#"{"apiVersion":"v1","kind":"Pod"}"#, "Pod in version \"v1\" cannot be handled as a ConfigMap"),
            (
                r#"{"apiVersion":"apps/v1","kind":"ConfigMap"}"#,
                "the API version in the data (apps/v1) does not match the expected API version (v1)",
            ),
        ];
        for (text, beginning) in cases {
            let refused = config_map(Media::Json, text).unwrap_err();
            assert_eq!(refused.code(), 400, "{text}");
            assert!(refused.message.starts_with(beginning), "{text}: {}", refused.message);
        }
    }

    #[test]
    fn delete_options_come_in_any_group() {
        let options = |text: &str| {
            delete_options(Schemas::builtin(), Media::Json, &Bytes::copy_from_slice(text.as_bytes()))
        };
        assert_eq!(options(""), Ok(None));
        let decoded = options(r#"{"kind":"DeleteOptions","apiVersion":"apps/v1","gracePeriodSeconds":0}"#);
        assert_eq!(decoded.unwrap().unwrap()["gracePeriodSeconds"], 0);
        assert_eq!(options(r#"{"kind":"Pod","apiVersion":"v1"}"#).unwrap_err().code(), 400);
    }

    #[test]
    fn patches_are_told_by_their_content_type() {
        let kind = |text: &str| patch(&headers(text), Bytes::from_static(b"{}")).map(|patch| patch.kind);
        assert_eq!(kind("application/json-patch+json"), Ok(PatchKind::Json));
        assert_eq!(kind("application/merge-patch+json; charset=utf-8"), Ok(PatchKind::Merge));
        assert_eq!(kind("application/strategic-merge-patch+json"), Ok(PatchKind::Strategic));
        assert_eq!(kind("application/apply-patch+yaml"), Ok(PatchKind::Apply));
        assert_eq!(kind("application/json").unwrap_err().code(), 415);
        let applied =
            patch(&headers("application/apply-patch+yaml"), Bytes::from_static(b"kind: Pod")).unwrap();
        assert_eq!(applied.body, Bytes::from_static(b"{\"kind\":\"Pod\"}"));
    }

    #[test]
    fn a_gzip_bomb_is_too_large() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b' '; BODY_MAX + 1]).unwrap();
        assert_eq!(inflate(&encoder.finish().unwrap()).unwrap_err().code(), 413);
        assert_eq!(inflate(b"not gzip").unwrap_err().code(), 400);
    }
}
