//! Types whose protobuf form is not that of their fields.

use jiff::Timestamp;
use serde_json::Value;

use super::message::{Decoder, bytes_of};
use super::reader::{self, Reader, Wire};
use super::{MAGIC, decode_at};
use crate::Schemas;
use crate::time::{self, Precision};
use crate::types::{Choice, Scalar};

/// Times, quantities and ports.
pub(super) fn scalar(scalar: Scalar, bytes: &[u8]) -> Result<Value, String> {
    match scalar {
        Scalar::Time => timestamp(bytes, Precision::Seconds),
        Scalar::MicroTime => timestamp(bytes, Precision::Micros),
        Scalar::Quantity => quantity(bytes),
        Scalar::IntOrString => int_or_string(bytes),
        _ => Err("the wire type is not that of the field".to_owned()),
    }
}

/// Seconds and nanoseconds; nothing at all is the zero time.
fn timestamp(bytes: &[u8], precision: Precision) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next()? {
        match field {
            (1, Wire::Varint(number)) => seconds = number as i64,
            (2, Wire::Varint(number)) => nanos = number as i32,
            _ => {}
        }
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| "the time is out of range".to_owned())?;
    Ok(time::write(time, precision).map_or(Value::Null, Value::String))
}

fn quantity(bytes: &[u8]) -> Result<Value, String> {
    let mut text = "0";
    let mut reader = Reader::new(bytes);
    while let Some((tag, content)) = reader.next()? {
        if tag == 1 {
            text = reader::text(bytes_of(content)?)?;
        }
    }
    let quantity = model::quantity::Quantity::parse(text).map_err(|error| error.to_string())?;
    Ok(quantity.to_string().into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0_i32, "");
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.next()? {
        match field {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value as i32,
            (3, Wire::Bytes(value)) => text = reader::text(value)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// JSON in the message's only field; or protobuf again, when a client embeds an object that it has as a struct.
pub(super) fn embedded(schemas: &Schemas, bytes: &[u8], depth: usize) -> Result<Value, String> {
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((tag, content)) = reader.next()? {
        if tag == 1 {
            raw = bytes_of(content)?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(MAGIC) {
        return decode_at(schemas, raw, depth).map(|decoded| decoded.value);
    }
    serde_json::from_slice(raw).map_err(|error| format!("the embedded JSON is none: {error}"))
}

/// `JSONSchemaProps` in one field, what it may be instead in another.
pub(super) fn choice(decoder: &mut Decoder<'_>, choice: Choice, bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader::new(bytes);
    let mut props = None;
    let mut list: Vec<Value> = Vec::new();
    let mut allows = false;
    while let Some((tag, content)) = reader.next()? {
        match (choice, tag, content) {
            (Choice::Bool(_), 1, Wire::Varint(flag)) => allows = flag != 0,
            (Choice::Bool(inner), 2, content)
            | (Choice::List(inner) | Choice::Strings(inner), 1, content) => {
                props = Some(decoder.value(inner, content)?);
            }
            (Choice::List(inner), 2, content) => list.push(decoder.value(inner, content)?),
            (Choice::Strings(_), 2, content) => list.push(reader::text(bytes_of(content)?)?.into()),
            _ => {}
        }
    }
    Ok(match (props, choice) {
        (Some(props), _) => props,
        (None, Choice::Bool(_)) => allows.into(),
        (None, _) => list.into(),
    })
}
