//! From a message to the JSON that its type has.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::reader::{self, Reader, Wire};
use super::{presence, special};
use crate::path::{self, Step};
use crate::types::{Scalar, Span, Struct, Target, Type};
use crate::{Schemas, TypeId};

/// Levels of messages within messages: as many as JSON may have. Only types that hold themselves get there.
const MAX_DEPTH: usize = 128;

pub(super) struct Decoder<'a> {
    pub(super) schemas: &'a Schemas,
    path: Vec<Step>,
    depth: usize,
}

impl<'a> Decoder<'a> {
    /// `depth`: how many messages are around the one to decode.
    pub(super) fn new(schemas: &'a Schemas, depth: usize) -> Self {
        Decoder { schemas, path: Vec::new(), depth }
    }

    /// Decodes the outermost message into `object`.
    pub(super) fn root(
        &mut self,
        ty: TypeId,
        bytes: &[u8],
        object: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let Type::Struct(of) = self.schemas.get(ty) else {
            return Err("the kind is not an object".to_owned());
        };
        self.fields(of, of.wire, bytes, object).map_err(|why| {
            match path::exact(self.schemas, &self.path).as_str() {
                "" => why,
                at => format!("{at}: {why}"),
            }
        })
    }

    /// Decodes the fields of `of` that `wire` numbers. On an error the path stays where it happened.
    fn fields(
        &mut self,
        of: Struct,
        wire: Span,
        bytes: &[u8],
        object: &mut Map<String, Value>,
    ) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("messages are nested too deeply".to_owned());
        }
        let schemas = self.schemas;
        let entries = &schemas.wires[wire.range()];
        let mut reader = Reader::new(bytes);
        while let Some((tag, content)) = reader.next()? {
            match entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.target) {
                Some(Target::Field(at)) => self.field(of, at, content, object)?,
                Some(Target::Embedded(span)) => {
                    let inner = bytes_of(content)?;
                    self.fields(of, span, inner, object)?;
                }
                // A newer client's field: ignored, as upstream does.
                None => {}
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        of: Struct,
        at: u32,
        content: Wire<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let schemas = self.schemas;
        let field = schemas.fields[at as usize];
        let name = schemas.names.get(field.name);
        self.path.push(Step::Field(field.name));
        match schemas.get(field.ty) {
            Type::List(inner) => {
                let slot = object.entry(name).or_insert_with(|| json!([]));
                let Value::Array(items) = slot else { return Err("it is given twice".to_owned()) };
                self.items(inner, content, items)?;
            }
            Type::Map(inner) => {
                let slot = object.entry(name).or_insert_with(|| json!({}));
                let Value::Object(entries) = slot else { return Err("it is given twice".to_owned()) };
                self.entry(inner, content, entries)?;
            }
            _ => {
                let value = self.value(field.ty, content)?;
                if !(value.is_null() || !field.required && presence::says_nothing(schemas, of, name, &value))
                {
                    object.insert(name.to_owned(), value);
                }
            }
        }
        self.path.pop();
        Ok(())
    }

    fn items(&mut self, inner: TypeId, content: Wire<'_>, items: &mut Vec<Value>) -> Result<(), String> {
        let packed =
            matches!(self.schemas.get(inner), Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool));
        self.path.push(Step::Index(items.len()));
        match content {
            Wire::Bytes(bytes) if packed => {
                let mut reader = Reader::new(bytes);
                while let Some(number) = reader.packed()? {
                    items.push(self.value(inner, Wire::Varint(number))?);
                }
            }
            content => items.push(self.value(inner, content)?),
        }
        self.path.pop();
        Ok(())
    }

    fn entry(
        &mut self,
        inner: TypeId,
        content: Wire<'_>,
        entries: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader::new(bytes_of(content)?);
        while let Some((tag, content)) = reader.next()? {
            match tag {
                1 => key = reader::text(bytes_of(content)?)?.to_owned(),
                2 => value = Some(content),
                _ => {}
            }
        }
        self.path.push(Step::Key(key.clone()));
        let value = match (value, self.schemas.get(inner)) {
            // A list in a map is masked as a message, as protobuf has no such thing.
            (value, Type::List(item)) => self.masked_list(item, value)?,
            (Some(content), _) => self.value(inner, content)?,
            (None, _) => self.value(inner, self.empty(inner))?,
        };
        self.path.pop();
        entries.insert(key, value);
        Ok(())
    }

    fn masked_list(&mut self, item: TypeId, content: Option<Wire<'_>>) -> Result<Value, String> {
        let mut items = Vec::new();
        let bytes = content.map(bytes_of).transpose()?.unwrap_or_default();
        let mut reader = Reader::new(bytes);
        while let Some((tag, content)) = reader.next()? {
            if tag == 1 {
                self.items(item, content, &mut items)?;
            }
        }
        Ok(Value::Array(items))
    }

    fn empty(&self, ty: TypeId) -> Wire<'static> {
        match self.schemas.get(ty) {
            Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => Wire::Varint(0),
            Type::Scalar(Scalar::Double) => Wire::Fixed64(0),
            _ => Wire::Bytes(&[]),
        }
    }

    /// One value; null if it is a zero that JSON writes as null.
    pub(super) fn value(&mut self, ty: TypeId, content: Wire<'_>) -> Result<Value, String> {
        match (self.schemas.get(ty), content) {
            (Type::Scalar(Scalar::Text), Wire::Bytes(bytes)) => Ok(reader::text(bytes)?.into()),
            (Type::Scalar(Scalar::Bytes), Wire::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
            (Type::Scalar(Scalar::Int64), Wire::Varint(number)) => Ok((number as i64).into()),
            // A negative int32 is sent with 64 bits; what is above 32 bits is cut off, as Go does.
            (Type::Scalar(Scalar::Int32), Wire::Varint(number)) => Ok((number as i32).into()),
            (Type::Scalar(Scalar::Bool), Wire::Varint(number)) => Ok((number != 0).into()),
            (Type::Scalar(Scalar::Double), Wire::Fixed64(bits)) => Ok(f64::from_bits(bits).into()),
            (Type::Scalar(scalar), Wire::Bytes(bytes)) => special::scalar(scalar, bytes),
            (Type::Raw(_), Wire::Bytes(bytes)) => special::embedded(self.schemas, bytes, self.depth),
            (Type::Choice(choice), Wire::Bytes(bytes)) => special::choice(self, choice, bytes),
            (Type::Struct(of), Wire::Bytes(bytes)) => {
                let mut object = Map::new();
                self.fields(of, of.wire, bytes, &mut object)?;
                Ok(Value::Object(object))
            }
            _ => Err("the wire type is not that of the field".to_owned()),
        }
    }
}

pub(super) fn bytes_of(content: Wire<'_>) -> Result<&[u8], String> {
    match content {
        Wire::Bytes(bytes) => Ok(bytes),
        _ => Err("the wire type is not that of the field".to_owned()),
    }
}
