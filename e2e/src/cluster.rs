//! A local cluster in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Kubectl;

/// A running cluster; it is taken down and removed when this is dropped.
pub struct Cluster {
    folder: TempDir,
    sampan: PathBuf,
    kubectl: Kubectl,
}

// === impl Cluster ===

impl Cluster {
    /// Starts a cluster of the release binary and loads the test images.
    pub fn up() -> Result<Self> {
        Self::up_with(&[], &[])
    }

    /// As [`Cluster::up`], with further arguments of `sampan up` and an environment for its services.
    pub fn up_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let sampan = built("sampan")?;
        let folder =
            tempfile::Builder::new().prefix("sampan-e2e-").tempdir().context("no temporary folder")?;
        let data = folder.path().join("data");
        let kubectl = Kubectl::new(&data.join("admin.kubeconfig"), folder.path());
        let cluster = Cluster { folder, sampan, kubectl };
        let port = crate::free_port()?.to_string();
        let up = [&["up", "--api-port", &port], arguments].concat();
        cluster.run(&up, environment)?;
        for archive in archives()? {
            let archive = archive.to_str().context("the archive's path is text")?.to_owned();
            cluster.sampan_with(&["image", "load", &archive])?;
        }
        Ok(cluster)
    }

    /// kubectl for this cluster.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The program itself.
    pub fn sampan(&self) -> &Path {
        &self.sampan
    }

    /// A folder for the steps' files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("admin.kubeconfig")
    }

    /// Runs `sampan` for this cluster; it must succeed.
    pub fn sampan_with(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments, &[])
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<String> {
        let output = Command::new(&self.sampan)
            .args(arguments)
            .env("SAMPAN_DATA_DIR", self.data())
            .envs(environment.iter().copied())
            .output()
            .with_context(|| format!("cannot run {}", self.sampan.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("sampan {}: {text}{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// The process id of a unit, as `apiserver` or `nats`.
    pub fn pid(&self, unit: &str) -> Result<i32> {
        let path = self.data().join("run").join(format!("{unit}.pid"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} holds no process id", path.display()))
    }

    /// Ends a unit as a crash would; the supervisor starts it again. Returns once the new one runs.
    pub fn crash(&self, unit: &str) -> Result<()> {
        let old = self.pid(unit)?;
        kill(Pid::from_raw(old), Signal::SIGKILL).with_context(|| format!("cannot kill {unit}"))?;
        crate::eventually(&format!("{unit} runs again"), || Ok((self.pid(unit)? != old).then_some(())))
    }

    /// Asks a unit to end; the supervisor starts it again.
    pub fn terminate(&self, unit: &str) -> Result<()> {
        kill(Pid::from_raw(self.pid(unit)?), Signal::SIGTERM).with_context(|| format!("cannot end {unit}"))
    }

    /// One more process of a service.
    pub fn replica(&self, unit: &str) -> Result<crate::Replica> {
        crate::Replica::of(unit, self.pid(unit)?)
    }

    /// Whether the cluster's own process of a service leads.
    pub fn leads(&self, unit: &str) -> Result<bool> {
        crate::replica::process_leads(self.pid(unit)?)
    }

    /// What tells the cluster's links and namespaces from those of others on this machine.
    pub fn id(&self) -> Result<String> {
        let text = std::fs::read(self.data().join("cluster.json")).context("no cluster.json")?;
        let cluster: serde_json::Value = serde_json::from_slice(&text).context("cluster.json is damaged")?;
        Ok(cluster["id"].as_str().context("a cluster has an id")?.to_owned())
    }

    /// The socket of the first node's containerd.
    pub fn containerd_socket(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/run/sampan-{}/node-1/containerd.sock", self.id()?)))
    }

    /// The names of the units that run, sorted; the supervisor is one of them.
    pub fn units(&self) -> Result<Vec<String>> {
        let folder = self.data().join("run");
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut units: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".pid").map(str::to_owned)).collect();
        units.sort();
        Ok(units)
    }

    /// What a unit has logged.
    pub fn log(&self, unit: &str) -> Result<String> {
        let path = self.data().join("logs").join(format!("{unit}.log"));
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("SAMPAN_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            println!("kept: {}", self.folder.path().display());
            return;
        }
        if let Err(error) = self.sampan_with(&["clean"]) {
            eprintln!("cannot clean up: {error:#}");
        }
    }
}

/// `SAMPAN_BINARY`, else the one that `make build` made.
fn built(name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SAMPAN_BINARY") {
        return Ok(path.into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from);
    let path = target.join("release").join(name);
    ensure!(path.is_file(), "{} is not there: run `make build`", path.display());
    Ok(path)
}

/// Where the archives are that `make images` made.
pub fn images() -> PathBuf {
    std::env::var_os("SAMPAN_IMAGES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/images")),
        PathBuf::from,
    )
}

fn archives() -> Result<Vec<PathBuf>> {
    let folder = images();
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("no images in {}: run `make images`", folder.display()))?;
    let mut archives: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "tar"))
        .collect();
    archives.sort();
    ensure!(!archives.is_empty(), "no images in {}: run `make images`", folder.display());
    Ok(archives)
}
