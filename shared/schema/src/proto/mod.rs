//! Protobuf request bodies: the envelope, and any built-in type out of one table of field numbers.
//!
//! ```text
//!   "k8s\0" + Unknown { TypeMeta { apiVersion, kind }, raw } ── message ─> struct ─> fields by number
//!                                                                  └ special: times, quantities, embedded JSON
//! ```
//! Go writes zero values of fields that are no pointers; the JSON that the same client would have sent leaves
//! most of them out, and so does this ([`presence`]). A body that is no protobuf, or not of its type, is an
//! error with the path at which it was noticed.

use serde_json::{Map, Value};

use crate::{Schemas, TypeId};

mod message;
mod presence;
mod reader;
mod special;

use message::Decoder;
use reader::{Reader, Wire};

/// What a protobuf body begins with.
pub const MAGIC: &[u8] = b"k8s\0";

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// As `apps/v1`.
    pub api_version: String,
    /// As `Deployment`.
    pub kind: String,
    /// The object, with `apiVersion` and `kind`.
    pub value: Value,
}

/// The envelope, as far as it is read.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    encoding: String,
}

/// Decodes a body that starts with [`MAGIC`].
pub fn decode(schemas: &Schemas, bytes: &[u8]) -> Result<Decoded, String> {
    decode_at(schemas, bytes, 0)
}

fn decode_at(schemas: &Schemas, bytes: &[u8], depth: usize) -> Result<Decoded, String> {
    let Some(unknown) = bytes.strip_prefix(MAGIC) else {
        return Err("the body does not begin as Kubernetes protobuf does".to_owned());
    };
    let envelope = envelope(unknown).map_err(|why| format!("the envelope is no protobuf: {why}"))?;
    if !envelope.encoding.is_empty() {
        return Err(format!("the content encoding {:?} of the envelope is not known", envelope.encoding));
    }
    let Envelope { api_version, kind, raw, .. } = envelope;
    let ty = resolve(schemas, &api_version, &kind)
        .ok_or_else(|| format!("no kind {kind:?} is registered for version {api_version:?}"))?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.clone().into());
    object.insert("kind".to_owned(), kind.clone().into());
    Decoder::new(schemas, depth).root(ty, raw, &mut object)?;
    Ok(Decoded { api_version, kind, value: Value::Object(object) })
}

fn resolve(schemas: &Schemas, api_version: &str, kind: &str) -> Option<TypeId> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schemas.resource(group, version, kind)
}

fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, String> {
    let mut envelope = Envelope::default();
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.next()? {
        match (tag, wire) {
            (1, Wire::Bytes(meta)) => type_meta(meta, &mut envelope)?,
            (2, Wire::Bytes(raw)) => envelope.raw = raw,
            (3, Wire::Bytes(encoding)) => envelope.encoding = reader::text(encoding)?.to_owned(),
            _ => {}
        }
    }
    Ok(envelope)
}

fn type_meta(bytes: &[u8], envelope: &mut Envelope<'_>) -> Result<(), String> {
    let mut reader = Reader::new(bytes);
    while let Some((tag, wire)) = reader.next()? {
        match (tag, wire) {
            (1, Wire::Bytes(text)) => envelope.api_version = reader::text(text)?.to_owned(),
            (2, Wire::Bytes(text)) => envelope.kind = reader::text(text)?.to_owned(),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
