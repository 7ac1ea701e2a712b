//! `/version`: what this server is compatible with.

use serde_json::{Value, json};

/// The API whose types this build serves.
const MAJOR: &str = "1";
const MINOR: &str = "35";

/// The document; clients read major and minor from it, and parse `gitVersion` as a semantic version.
pub fn document() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": MAJOR, "minor": MINOR, "gitVersion": format!("v{MAJOR}.{MINOR}.0+sampan.{version}"),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("linux/{architecture}"),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_semantic_with_our_own_as_build_metadata() {
        let version = super::document();
        let text = version["gitVersion"].as_str().unwrap();
        assert!(text.starts_with("v1.35.0+sampan."), "{text}");
    }
}
