//! What holds of the tree itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tidy::{Crate, crates, reached, read, rust_files};

/// Services, which know the shared crates and never each other.
fn is_service(one: &Crate) -> bool {
    one.folder.components().any(|part| part.as_os_str() == "services") && one.name != "sampan"
}

fn is_shared(one: &Crate) -> bool {
    one.folder.components().any(|part| part.as_os_str() == "shared")
}

#[test]
fn no_service_depends_on_another_and_no_shared_crate_on_a_service() {
    let all = crates();
    let services: HashSet<&str> =
        all.iter().filter(|one| is_service(one)).map(|one| one.name.as_str()).collect();
    assert!(services.len() >= 5, "the services were not found: {services:?}");
    for one in all.iter().filter(|one| is_service(one) || is_shared(one)) {
        let wrong: Vec<&String> = one
            .dependencies
            .iter()
            .filter(|name| services.contains(name.as_str()) || *name == "sampan")
            .collect();
        assert!(wrong.is_empty(), "{} depends on {wrong:?}", one.name);
    }
}

#[test]
fn dependencies_among_shared_crates_point_to_earlier_ones() {
    let all = crates();
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    for (place, one) in all.iter().enumerate() {
        for dependency in &one.dependencies {
            if let Some(theirs) = names.iter().position(|name| name == dependency) {
                assert!(
                    theirs < place,
                    "{} depends on {dependency}, which the workspace lists after it",
                    one.name
                );
            }
        }
    }
}

#[test]
fn only_the_store_and_the_bus_know_nats() {
    let allowed = ["store", "bus", "testkit", "loadtest"];
    for one in crates() {
        let knows = one.dependencies.iter().any(|name| name == "async-nats");
        assert!(!knows || allowed.contains(&one.name.as_str()), "{} depends on async-nats", one.name);
    }
}

#[test]
fn every_file_belongs_to_a_crate() {
    for one in crates() {
        let roots = ["src/lib.rs", "src/main.rs"].map(|name| one.folder.join(name));
        let mut roots: Vec<PathBuf> = roots.into_iter().filter(|path| path.is_file()).collect();
        for folder in ["tests", "benches", "src/bin"] {
            roots.extend(test_roots(&one.folder.join(folder)));
        }
        let known: HashSet<PathBuf> = roots.iter().flat_map(|root| reached(root)).collect();
        for folder in ["src", "tests", "benches"] {
            for file in rust_files(&one.folder.join(folder)) {
                assert!(known.contains(&file), "no mod line reaches {}", file.display());
            }
        }
    }
}

/// `tests/a.rs` and `tests/b/main.rs`.
fn test_roots(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .map(|path| if path.is_dir() { path.join("main.rs") } else { path })
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn names_say_what_a_module_is_about() {
    let empty = ["util", "utils", "helper", "helpers", "common", "misc", "manager"];
    for file in crates().iter().flat_map(|one| rust_files(&one.folder.join("src"))) {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(!empty.contains(&stem), "{} says nothing", file.display());
    }
}

#[test]
fn files_stay_readable() {
    const LINES_MAX: usize = 800;
    for file in crates().iter().flat_map(|one| rust_files(&one.folder)) {
        let lines = read(&file).lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: two rooms in one?", file.display());
    }
}

/// Decisions are the same in production, in tests and in simulation because nothing in them asks what time it is.
#[test]
fn pure_code_takes_time_and_chance_as_arguments() {
    let asks = ["Timestamp::now", "Instant::now", "SystemTime::now", "rand::rng()", "Uuid::new_v4", ".await"];
    let pure = |path: &Path| {
        let text = path.to_string_lossy().replace('\\', "/");
        ["/shared/model/src/", "/shared/kinds/src/", "/decide/", "/decide.rs", "/store/src/apply.rs"]
            .iter()
            .any(|part| text.contains(part))
    };
    let files: Vec<PathBuf> = crates()
        .iter()
        .flat_map(|one| rust_files(&one.folder.join("src")))
        .filter(|path| pure(path))
        .collect();
    assert!(files.len() > 10, "the pure files were not found");
    for file in files {
        let text = read(&file);
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in asks {
            assert!(!product.contains(word), "{} has {word}", file.display());
        }
    }
}
