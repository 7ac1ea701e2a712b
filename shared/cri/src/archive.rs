//! Images as docker archives, made without any tool: what `docker save` writes, with one layer.

use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

/// An image of one layer.
#[derive(Clone, Debug, Default)]
pub struct ImageSpec {
    /// Full names, as `docker.io/library/redis:latest`.
    pub names: Vec<String>,
    /// What runs before the command, empty for nothing.
    pub entrypoint: Vec<String>,
    /// What runs when a pod says nothing else.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// The files, as a tar.
    pub layer: Vec<u8>,
}

/// A layer that holds one file at `path` (relative to the root) and the folders above it.
pub fn single_file_layer(path: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let written: io::Result<Vec<u8>> = path
        .match_indices('/')
        .try_for_each(|(at, _)| append(&mut tar, &path[..=at], 0o755, None))
        .and_then(|()| append(&mut tar, path, mode, Some(content)))
        .and_then(|()| tar.into_inner());
    written.expect("a tar of one short path always fits into memory")
}

/// Writes `image` as a docker archive. The same image gives the same bytes.
pub fn write_docker_archive(out: &mut impl Write, image: &ImageSpec) -> io::Result<()> {
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": image.entrypoint, "Cmd": image.command, "Env": image.environment},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&image.layer))]},
    })
    .to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()));
    let manifest =
        json!([{"Config": config_name, "RepoTags": image.names, "Layers": ["layer.tar"]}]).to_string();
    let mut tar = tar::Builder::new(out);
    append(&mut tar, &config_name, 0o644, Some(config.as_bytes()))?;
    append(&mut tar, "layer.tar", 0o644, Some(&image.layer))?;
    append(&mut tar, "manifest.json", 0o644, Some(manifest.as_bytes()))?;
    tar.into_inner()?.flush()
}

/// Appends a file, or a folder when there is no content, owned by root and without a time.
fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    mode: u32,
    content: Option<&[u8]>,
) -> io::Result<()> {
    let content_type = if content.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory };
    let content = content.unwrap_or_default();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(content_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn a_layer_holds_the_file_and_its_folders() {
        let layer = single_file_layer("usr/bin/tool", 0o755, b"x");
        let names: Vec<String> = files(&layer).into_keys().collect();
        assert_eq!(names, ["usr/", "usr/bin/", "usr/bin/tool"]);
    }

    #[test]
    fn an_archive_names_its_config_and_layer_by_their_digests() {
        let image = ImageSpec {
            names: vec!["sampan.local/tool:1".to_owned()],
            layer: single_file_layer("tool", 0o755, b"x"),
            ..Default::default()
        };
        let mut archive = Vec::new();
        write_docker_archive(&mut archive, &image).unwrap();
        let files = files(&archive);
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "sampan.local/tool:1");
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        assert_eq!(manifest[0]["Config"], format!("{}.json", digest(config)));
        let config: serde_json::Value = serde_json::from_slice(config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(&files["layer.tar"])));
    }
}
