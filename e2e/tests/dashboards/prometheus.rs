//! A real Prometheus, and its own tool to ask it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, eventually};
use serde::Deserialize;
use tempfile::TempDir;

/// A Prometheus that scrapes every service of a cluster each second; it ends when this is dropped.
pub struct Prometheus {
    url: String,
    child: Child,
    _folder: TempDir,
}

/// A line of an answer.
#[derive(Debug, Deserialize)]
pub struct Series {
    /// Labels, as `job`.
    #[serde(default)]
    pub metric: std::collections::BTreeMap<String, String>,
    /// Time in seconds and number, of a query over a range.
    #[serde(default)]
    pub values: Vec<(f64, String)>,
}

/// What Grafana puts for `$__rate_interval` when everything is scraped each second.
const RATE_INTERVAL: &str = "10s";

// === impl Prometheus ===

impl Prometheus {
    /// Starts one with these rules and waits until it has heard of every service.
    pub fn start(cluster: &Cluster, rules: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let targets = targets(cluster)?;
        let jobs: Vec<String> = targets
            .iter()
            .map(|(job, address)| {
                format!("  - job_name: {job}\n    static_configs: [{{ targets: [\"{address}\"] }}]\n")
            })
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\nscrape_configs:\n{}",
            rules.canonicalize()?,
            jobs.concat()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config)?;
        let address = format!("127.0.0.1:{}", e2e::free_port()?);
        let log = std::fs::File::create(folder.path().join("log"))?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run prometheus: run `make setup`")?;
        let prometheus = Prometheus { url: format!("http://{address}"), child, _folder: folder };
        eventually("prometheus scrapes every service", || {
            Ok((prometheus.now("up == 1")?.len() == targets.len()).then_some(()))
        })?;
        Ok(prometheus)
    }

    /// What a query gives now.
    pub fn now(&self, query: &str) -> Result<Vec<Series>> {
        self.ask(&["instant"], query)
    }

    /// What it gave over the last while: some forty points, which is what a small picture shows.
    pub fn over(&self, query: &str, while_: Duration) -> Result<Vec<Series>> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let start = end - while_.as_secs();
        let step = format!("--step={}s", (while_.as_secs() / 40).max(1));
        self.ask(&["range", &format!("--start={start}"), &format!("--end={end}"), &step], query)
    }

    fn ask(&self, how: &[&str], query: &str) -> Result<Vec<Series>> {
        let query = query.replace("$__rate_interval", RATE_INTERVAL);
        let output = Command::new("promtool")
            .args(["query", "-o", "json"])
            .args(how)
            .args([&self.url, &query])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).with_context(|| format!("{query}: {text}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each service's job, as docker-compose and the chart name it, and where its metrics are.
fn targets(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let mut targets = Vec::new();
    for unit in cluster.units()? {
        let command = std::fs::read_to_string(format!("/proc/{}/cmdline", cluster.pid(&unit)?))?;
        let mut words = command.split('\0');
        if words.any(|word| word == "--admin-addr") {
            let address = words.next().with_context(|| format!("{unit} has an address"))?;
            let job = unit.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
            targets.push((job.to_owned(), address.to_owned()));
        }
    }
    ensure!(targets.len() >= 8, "services: {targets:?}");
    Ok(targets)
}

/// Whether `promtool check` finds a file right.
pub fn check(what: &str, file: &Path) -> Result<()> {
    let output = Command::new("promtool")
        .args(["check", what])
        .arg(file)
        .output()
        .context("cannot run promtool: run `make setup`")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
