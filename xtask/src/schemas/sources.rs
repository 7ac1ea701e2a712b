//! The inputs: fetched through the ordinary clients of their registries, and checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

const VALIDATE: &str = "kubernetes-validate";
const VALIDATE_VERSION: &str = "1.37.0";
const VALIDATE_SHA256: &str = "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9";
/// The definitions of the minor version that Sampan serves.
const DEFINITIONS: &str = "kubernetes_validate/kubernetes-json-schema/v1.35.0-local/_definitions.json";

const K8S_PB_VERSION: &str = "0.9.0";
const K8S_PB_CHECKSUM: &str = "43b6ba14400b62feaa58ebbbd32ce2d9a4601339b2820af393f68033b9cea620";

/// The definitions as kubernetes-validate has them.
pub fn definitions(wheel: Option<&Path>, scratch: &Path) -> anyhow::Result<Value> {
    let wheel = match wheel {
        Some(path) => path.to_owned(),
        None => download_wheel(scratch)?,
    };
    let bytes = fs::read(&wheel).with_context(|| format!("reading {}", wheel.display()))?;
    let sum = hex(&Sha256::digest(&bytes));
    ensure!(sum == VALIDATE_SHA256, "{} has the checksum {sum}, not {VALIDATE_SHA256}", wheel.display());

    let folder = scratch.join("wheel");
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&folder))?;
    let json = fs::read(folder.join(DEFINITIONS)).context("the wheel lacks the definitions of v1.35")?;
    let mut document: Value = serde_json::from_slice(&json).context("the definitions are not JSON")?;
    Ok(document["$defs"].take())
}

fn download_wheel(scratch: &Path) -> anyhow::Result<PathBuf> {
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, format!("{VALIDATE}=={VALIDATE_VERSION} --hash=sha256:{VALIDATE_SHA256}\n"))?;
    let folder = scratch.join("download");
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
        .arg(&requirements)
        .arg("--dest")
        .arg(&folder))?;
    let entry = fs::read_dir(&folder)?.next().context("pip downloaded nothing")??;
    Ok(entry.path())
}

/// The `src` folder of k8s-pb.
pub fn k8s_pb(source: Option<&Path>, scratch: &Path) -> anyhow::Result<PathBuf> {
    if let Some(source) = source {
        return Ok(source.join("src"));
    }
    // A throw-away package that depends on it: cargo fetches and verifies the source, nothing is built.
    let package = scratch.join("package");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    let manifest = package.join("Cargo.toml");
    fs::write(
        &manifest,
        format!(
            "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [dependencies]\nk8s-pb = \"={K8S_PB_VERSION}\"\n[workspace]\n"
        ),
    )?;
    run(Command::new("cargo").args(["fetch", "--quiet", "--manifest-path"]).arg(&manifest))?;
    let lock = fs::read_to_string(package.join("Cargo.lock"))?;
    ensure!(lock.contains(K8S_PB_CHECKSUM), "k8s-pb {K8S_PB_VERSION} does not have the pinned checksum");

    let metadata = output(
        Command::new("cargo").args(["metadata", "--format-version", "1", "--manifest-path"]).arg(&manifest),
    )?;
    let metadata: Value = serde_json::from_slice(&metadata).context("cargo metadata gave no JSON")?;
    let package = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "k8s-pb")
        .context("cargo metadata does not list k8s-pb")?;
    let manifest = PathBuf::from(package["manifest_path"].as_str().context("a package without a manifest")?);
    Ok(manifest.with_file_name("src"))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let done = command.output().with_context(|| format!("starting {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(done.stdout)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
