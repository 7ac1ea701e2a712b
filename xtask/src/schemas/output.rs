//! The committed file: gzip of one line of JSON a type, in the order of their names.
//!
//! A line is `{"name": …, "schema": {…}, "wire": [[number, field], …]}`, so that a reader needs the memory of a
//! line, not of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde_json::{Map, Value, json};

use super::definitions::Definitions;

/// The text of the file.
pub fn lines(definitions: &Definitions, wires: &BTreeMap<String, Value>) -> String {
    let mut text = String::new();
    for (name, schema) in definitions {
        let mut line = json!({"name": name, "schema": schema});
        if let Some(wire) = wires.get(name) {
            line["wire"] = wire.clone();
        }
        text.push_str(&sorted(&line).to_string());
        text.push('\n');
    }
    text
}

/// Writes the file.
pub fn write(text: &str) -> anyhow::Result<()> {
    // No time and no name in the header: the same text gives the same bytes.
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    let bytes = encoder.finish()?;
    fs::write(path(), &bytes).with_context(|| format!("writing {}", path().display()))?;
    eprintln!("{}: {} bytes", path().display(), bytes.len());
    Ok(())
}

/// Compares the file's text: its bytes may differ between versions of the compressor.
pub fn compare(text: &str) -> anyhow::Result<()> {
    let file = fs::File::open(path()).with_context(|| format!("reading {}", path().display()))?;
    let mut committed = String::new();
    GzDecoder::new(file).read_to_string(&mut committed).context("the committed file is not gzip")?;
    for (line, (ours, theirs)) in text.lines().zip(committed.lines()).enumerate() {
        if ours != theirs {
            bail!("line {} differs: the inputs give {ours:.200}, committed is {theirs:.200}", line + 1);
        }
    }
    if text.len() != committed.len() {
        bail!("the inputs give {} lines, committed are {}", text.lines().count(), committed.lines().count());
    }
    eprintln!("{} is what the inputs give", path().display());
    Ok(())
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/schema/data/v1.35.jsonl.gz"))
}

/// With the fields of every object in order, whatever order the JSON library keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, &Value> = fields.iter().collect();
            let mut out = Map::new();
            for (name, value) in ordered {
                out.insert(name.clone(), sorted(value));
            }
            Value::Object(out)
        }
        value => value.clone(),
    }
}
