//! Dashboards as Grafana reads them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A dashboard: the part of it that says what it shows.
#[derive(Debug, Deserialize)]
pub struct Board {
    /// Names it in addresses and files.
    pub uid: String,
    /// As people see it.
    pub title: String,
    /// In reading order.
    pub panels: Vec<Panel>,
}

/// One diagram.
#[derive(Debug, Deserialize)]
pub struct Panel {
    /// What it is about.
    pub title: String,
    /// Its queries.
    pub targets: Vec<Target>,
}

/// One query.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// PromQL, with Grafana's variables.
    #[serde(rename = "expr")]
    pub query: String,
}

// === impl Board ===

impl Board {
    /// Every dashboard in a folder, by name.
    pub fn all(folder: &Path) -> Result<Vec<Board>> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Result<Board> {
        let text = std::fs::read(file).with_context(|| format!("no {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no dashboard", file.display()))
    }

    /// Every query with the panel that it belongs to.
    pub fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.panels.iter().flat_map(|panel| {
            panel.targets.iter().map(|target| (panel.title.as_str(), target.query.as_str()))
        })
    }
}
