//! The committed file: every type as the Kubernetes project publishes it, descriptions and extensions included.
//!
//! It is 1.2 MB of text in 0.2 MB of gzip, so it is never held unpacked: readers take it line by line.

use std::io::{BufRead, BufReader};

use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

const FILE: &[u8] = include_bytes!("../data/v1.35.jsonl.gz");
/// The version of the API that the file describes.
pub const VERSION: &str = "v1.35.0";

const HEAD: &str = "{\"name\":\"";

/// The packed file's own checksum, which is its last eight bytes: another file, another checksum.
pub fn checksum() -> &'static [u8] {
    &FILE[FILE.len() - 8..]
}

/// Hands every type whose name (as `io.k8s.api.core.v1.Pod`) is wanted to `visit`, in the order of the names.
///
/// The schema is that of OpenAPI v2, with references into `#/definitions/`.
pub fn each(wanted: impl Fn(&str) -> bool, mut visit: impl FnMut(&str, Value)) {
    #[derive(Deserialize)]
    struct Line {
        schema: Value,
    }
    lines(|line| {
        let name = name_of(line);
        if wanted(name) {
            let line: Line = serde_json::from_str(line).expect("the committed file is well formed");
            visit(name, line.schema);
        }
    });
}

/// Hands every line to `visit`.
pub(crate) fn lines(mut visit: impl FnMut(&str)) {
    let mut reader = BufReader::new(GzDecoder::new(FILE));
    let mut line = String::new();
    while reader.read_line(&mut line).expect("the committed file is gzip of text") > 0 {
        visit(&line);
        line.clear();
    }
}

/// The name that a line begins with: fields are in order, and names need no escapes.
fn name_of(line: &str) -> &str {
    let rest = line.strip_prefix(HEAD).unwrap_or_default();
    rest.split_once('"').map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_types_come_with_their_descriptions() {
        let mut seen = Vec::new();
        each(|name| name == "io.k8s.api.core.v1.Pod", |name, schema| seen.push((name.to_owned(), schema)));
        let [(name, schema)] = seen.as_slice() else { panic!("one type was wanted") };
        assert_eq!(name, "io.k8s.api.core.v1.Pod");
        assert_eq!(schema["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()));
    }
}
