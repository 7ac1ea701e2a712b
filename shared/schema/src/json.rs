//! JSON in, with the paths of fields that are there twice.
//!
//! Nearly no body has such a field, so a first reading only notices that there is one, and a second finds where.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Decodes JSON; the second part of the result are the paths of duplicate fields, the last of which wins.
///
/// Nesting is bounded by the decoder at 128 levels.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let mut twice = false;
    let value = read(bytes, Build { twice: &mut twice })?;
    let mut duplicates = Vec::new();
    if twice {
        let mut path = String::new();
        read(bytes, Find { path: &mut path, duplicates: &mut duplicates })?;
    }
    Ok((value, duplicates))
}

fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, String> {
    let mut decoder = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut decoder).map_err(describe)?;
    decoder.end().map_err(describe)?;
    Ok(value)
}

fn describe(error: serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Builds the value.
struct Build<'a> {
    twice: &'a mut bool,
}

/// Only looks for duplicate fields.
struct Find<'a> {
    path: &'a mut String,
    duplicates: &'a mut Vec<String>,
}

// === impl Build ===

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<Value, D::Error> {
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Build { twice: self.twice })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(Build { twice: self.twice })?;
            *self.twice |= map.insert(name, value).is_some();
        }
        Ok(Value::Object(map))
    }
}

// === impl Find ===

impl Find<'_> {
    fn inner(&mut self) -> Find<'_> {
        Find { path: self.path, duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, decoder: D) -> Result<(), D::Error> {
        decoder.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let len = self.path.len();
        for at in 0.. {
            self.path.push_str(&format!("[{at}]"));
            let more = items.next_element_seed(self.inner())?;
            self.path.truncate(len);
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let len = self.path.len();
        let mut seen = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if len > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name);
            if !seen.insert(name) && !self.duplicates.contains(self.path) {
                self.duplicates.push(self.path.clone());
            }
            fields.next_value_seed(self.inner())?;
            self.path.truncate(len);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicate_fields_are_named_with_their_paths_and_the_last_wins() {
        let text = br#"{"a": 1, "spec": {"list": [{"x": 1}, {"x": 1, "y": null, "x": 2}]}, "a": {"b": 1.5}, "a": "c"}"#;
        let (value, duplicates) = decode(text).expect("it is JSON");
        assert_eq!(value, json!({"a": "c", "spec": {"list": [{"x": 1}, {"x": 2, "y": null}]}}));
        assert_eq!(duplicates, ["spec.list[1].x", "a"]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(decode(b"{\"a\": ").unwrap_err(), "unexpected end of JSON input");
        assert!(decode(b"{\"a\": 1} trailing").unwrap_err().contains("trailing"));
        assert!(decode(b"{\"a\": \xff}").is_err());
        let deep = "[".repeat(100_000);
        assert!(decode(deep.as_bytes()).unwrap_err().contains("recursion limit"));
    }
}
