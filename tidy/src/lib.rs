//! The tree as data, for the tests about it (`tests/tree.rs`): its crates, what they depend on, and their files.

use std::fs;
use std::path::{Path, PathBuf};

/// One crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The crates that it depends on, without those for its tests alone.
    pub dependencies: Vec<String>,
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every crate, in the order in which the workspace lists them.
pub fn crates() -> Vec<Crate> {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.split_once("members = [").map_or("", |(_, rest)| rest);
    let members = members.split_once(']').map_or("", |(list, _)| list);
    members.split('"').skip(1).step_by(2).map(|member| load(&root().join(member))).collect()
}

/// The Rust files under a folder.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The text of a file that must be there.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files that `mod` lines reach from a crate root, the root included.
pub fn reached(crate_root: &Path) -> Vec<PathBuf> {
    let mut found = vec![crate_root.to_owned()];
    let name = crate_root.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let beside = crate_root.parent().unwrap_or(Path::new("."));
    let children = if ["lib", "main", "mod"].contains(&name) || is_test_root(crate_root) {
        beside.to_owned()
    } else {
        beside.join(name)
    };
    for line in read(crate_root).lines() {
        let Some(module) = module_of(line) else { continue };
        let flat = children.join(format!("{module}.rs"));
        let nested = children.join(module).join("mod.rs");
        if let Some(path) = [flat, nested].into_iter().find(|path| path.is_file()) {
            found.extend(reached(&path));
        }
    }
    found
}

fn is_test_root(path: &Path) -> bool {
    path.parent()
        .and_then(Path::file_name)
        .is_some_and(|folder| folder == "tests" || folder == "bin" || folder == "benches")
}

/// The module of a line as `pub(crate) mod x;`.
fn module_of(line: &str) -> Option<&str> {
    let declaration = line.trim().strip_suffix(';')?;
    let (before, module) = declaration.rsplit_once("mod ")?;
    let visible = before.is_empty() || (before.starts_with("pub") && before.ends_with(' '));
    (visible && module.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(module)
}

fn load(folder: &Path) -> Crate {
    let manifest = read(&folder.join("Cargo.toml"));
    let name = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = \""))
        .map_or("", |rest| rest.trim_end_matches('"'))
        .to_owned();
    let section = manifest.split_once("\n[dependencies]\n").map_or("", |(_, rest)| rest);
    let section = section.split("\n[").next().unwrap_or("");
    let dependencies = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect();
    Crate { name, folder: folder.to_owned(), dependencies }
}
