//! What a run found: names and numbers, as lines or as JSON.

use serde_json::{Map, Value, json};

/// The numbers of one run, in the order in which they were added.
pub struct Report {
    title: String,
    lines: Vec<(String, f64, &'static str)>,
}

impl Report {
    /// A report without numbers.
    pub fn new(title: impl Into<String>) -> Self {
        Report { title: title.into(), lines: Vec::new() }
    }

    /// Adds a number with its unit.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.lines.push((name.into(), value, unit));
    }

    /// Adds bytes as megabytes.
    pub fn add_bytes(&mut self, name: impl Into<String>, bytes: u64) {
        self.add(name, bytes as f64 / 1e6, "MB");
    }

    /// Prints it.
    pub fn print(&self, as_json: bool) {
        if as_json {
            let mut map = Map::new();
            map.insert("run".into(), json!(self.title));
            map.extend(self.lines.iter().map(|(name, value, _)| (name.clone(), Value::from(*value))));
            return println!("{}", Value::Object(map));
        }
        println!("{}", self.title);
        for (name, value, unit) in &self.lines {
            println!("  {name:<28} {value:>14.2} {unit}");
        }
    }
}
