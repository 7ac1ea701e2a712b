//! The protobuf form of OpenAPI v2, as far as this API's documents use it: JSON in, bytes out.
//!
//! Numbers are those of the published messages: a document has its paths in field 8 and its types in field 9,
//! maps are lists of named values, and whatever has no form of its own is kept as YAML, which JSON is.

use serde_json::{Map, Value};

/// A message while it is written.
#[derive(Default, Debug)]
pub struct Message {
    bytes: Vec<u8>,
}

// === impl Message ===

impl Message {
    /// A message in a field.
    pub fn message(&mut self, tag: u32, inner: &Message) {
        self.field(tag, &inner.bytes);
    }

    /// The encoded fields.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn field(&mut self, tag: u32, content: &[u8]) {
        self.varint(u64::from(tag << 3 | 2));
        self.varint(content.len() as u64);
        self.bytes.extend_from_slice(content);
    }

    /// Text, unless there is none.
    fn text(&mut self, tag: u32, text: Option<&Value>) {
        if let Some(text) = text.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.field(tag, text.as_bytes());
        }
    }

    fn texts(&mut self, tag: u32, list: Option<&Value>) {
        for text in list.and_then(Value::as_array).into_iter().flatten() {
            self.text(tag, Some(text));
        }
    }

    fn flag(&mut self, tag: u32, flag: Option<&Value>) {
        if flag.and_then(Value::as_bool) == Some(true) {
            self.varint(u64::from(tag << 3));
            self.varint(1);
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Fields whose names begin with `x-`.
    fn extensions(&mut self, tag: u32, of: &Map<String, Value>) {
        for (name, value) in of.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(tag, &named(name, &any(value)));
        }
    }
}

/// The whole document.
pub fn document(info: &Value, paths: &Message, definitions: &Message) -> Message {
    let mut header = Message::default();
    header.text(1, info.get("title"));
    header.text(2, info.get("version"));
    let mut document = Message::default();
    document.text(1, Some(&Value::from("2.0")));
    document.message(2, &header);
    document.message(8, paths);
    document.message(9, definitions);
    document
}

/// An entry of a map.
pub fn named(name: &str, value: &Message) -> Message {
    let mut entry = Message::default();
    entry.field(1, name.as_bytes());
    entry.message(2, value);
    entry
}

/// The operations of a path.
pub fn path_item(item: &Value) -> Message {
    const METHODS: [(u32, &str); 5] = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")];
    let mut message = Message::default();
    for (tag, method) in METHODS {
        if let Some(Value::Object(one)) = item.get(method) {
            message.message(tag, &operation(one));
        }
    }
    parameters(&mut message, 9, item.get("parameters"));
    message
}

fn operation(one: &Map<String, Value>) -> Message {
    let mut message = Message::default();
    message.texts(1, one.get("tags"));
    message.text(3, one.get("description"));
    message.text(5, one.get("operationId"));
    message.texts(6, one.get("produces"));
    message.texts(7, one.get("consumes"));
    parameters(&mut message, 8, one.get("parameters"));
    let mut responses = Message::default();
    for (code, value) in one.get("responses").and_then(Value::as_object).into_iter().flatten() {
        responses.message(1, &named(code, &wrapped(1, &response(value))));
    }
    message.message(9, &responses);
    message.texts(10, one.get("schemes"));
    message.extensions(13, one);
    message
}

fn response(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, value.get("description"));
    if let Some(of) = value.get("schema") {
        message.message(2, &wrapped(1, &schema(of)));
    }
    message
}

fn parameters(message: &mut Message, tag: u32, list: Option<&Value>) {
    for one in list.and_then(Value::as_array).into_iter().flatten() {
        message.message(tag, &wrapped(1, &parameter(one)));
    }
}

fn parameter(one: &Value) -> Message {
    match one.get("in").and_then(Value::as_str) {
        Some("body") => {
            let mut body = Message::default();
            body.text(2, one.get("name"));
            body.text(3, one.get("in"));
            body.flag(4, one.get("required"));
            body.message(5, &schema(&one["schema"]));
            wrapped(1, &body)
        }
        Some("path") => wrapped(2, &wrapped(4, &plain_parameter(one, 5, 19))),
        _ => wrapped(2, &wrapped(3, &plain_parameter(one, 6, 20))),
    }
}

fn plain_parameter(one: &Value, kind: u32, unique: u32) -> Message {
    let mut message = Message::default();
    message.flag(1, one.get("required"));
    message.text(2, one.get("in"));
    message.text(3, one.get("description"));
    message.text(4, one.get("name"));
    message.text(kind, one.get("type"));
    message.flag(unique, one.get("uniqueItems"));
    message
}

/// A type.
pub fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    let Some(words) = value.as_object() else { return message };
    message.text(1, words.get("$ref"));
    message.text(2, words.get("format"));
    message.text(4, words.get("description"));
    if let Some(default) = words.get("default") {
        message.message(5, &any(default));
    }
    message.texts(19, words.get("required"));
    if let Some(values) = words.get("additionalProperties") {
        message.message(21, &wrapped(1, &schema(values)));
    }
    if let Some(kind) = words.get("type") {
        let mut kinds = Message::default();
        kinds.text(1, Some(kind));
        message.message(22, &kinds);
    }
    if let Some(items) = words.get("items") {
        message.message(23, &wrapped(1, &schema(items)));
    }
    if let Some(Value::Object(fields)) = words.get("properties") {
        let mut properties = Message::default();
        for (name, property) in fields {
            properties.message(1, &named(name, &schema(property)));
        }
        message.message(25, &properties);
    }
    message.extensions(31, words);
    message
}

fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.field(2, value.to_string().as_bytes());
    message
}

fn wrapped(tag: u32, inner: &Message) -> Message {
    let mut outer = Message::default();
    outer.message(tag, inner);
    outer
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// The fields of a message that has only texts and messages.
    pub fn fields(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..64).step_by(7) {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            assert_eq!(key & 7, 2, "only texts and messages");
            let len = varint(&mut bytes) as usize;
            found.push(((key >> 3) as u32, bytes[..len].to_vec()));
            bytes = &bytes[len..];
        }
        found
    }

    #[test]
    fn a_type_keeps_its_words() {
        let encoded = schema(&json!({
            "type": "object",
            "description": "d",
            "properties": {"a": {"$ref": "#/definitions/B"}},
            "x-kubernetes-list-type": "map",
        }));
        let words = fields(&encoded.into_bytes());
        let tags: Vec<u32> = words.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [4, 22, 25, 31]);
        let property = fields(&fields(&words[2].1)[0].1);
        assert_eq!(property[0], (1, b"a".to_vec()));
        assert_eq!(fields(&property[1].1), [(1, b"#/definitions/B".to_vec())]);
        let extension = fields(&words[3].1);
        assert_eq!(extension[0], (1, b"x-kubernetes-list-type".to_vec()));
        assert_eq!(fields(&extension[1].1), [(2, b"\"map\"".to_vec())]);
    }
}
