//! Names of fields and types, each kept once in one text.

use std::collections::HashMap;

/// A name; a cheap handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(u32);

/// Every name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    /// Where each name ends.
    ends: Vec<u32>,
}

/// Names while they are collected.
#[derive(Default)]
pub(crate) struct Interner {
    names: Names,
    known: HashMap<String, Name>,
}

// === impl Names ===

impl Names {
    pub(crate) fn get(&self, name: Name) -> &str {
        let at = name.0 as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    fn push(&mut self, name: &str) -> Name {
        self.text.push_str(name);
        self.ends.push(u32::try_from(self.text.len()).expect("names of one API fit into 4 GB"));
        Name(u32::try_from(self.ends.len() - 1).expect("fewer names than bytes"))
    }
}

// === impl Interner ===

impl Interner {
    pub(crate) fn intern(&mut self, name: &str) -> Name {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let new = self.names.push(name);
        self.known.insert(name.to_owned(), new);
        new
    }

    pub(crate) fn finish(mut self) -> Names {
        self.names.text.shrink_to_fit();
        self.names.ends.shrink_to_fit();
        self.names
    }
}
