//! Figures of a local cluster: time until it is ready, time from `kubectl run` to Running, memory and CPU when idle.
//!
//! ```text
//! cargo run --release -p e2e --bin figures -- --runs 20
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl};

/// How long the idle cluster is looked at.
const IDLE: Duration = Duration::from_secs(30);
/// How long a cluster that has nothing to do takes to come to rest.
const REST: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let runs = runs()?;
    let began = Instant::now();
    let cluster = Cluster::up()?;
    println!("first start, images loaded     {:>8.2} s", began.elapsed().as_secs_f64());
    println!("start to ready, median of {}    {:>8.2} s", STARTS, starts(&cluster)?);
    let mut times = (0..runs).map(|n| run_to_running(cluster.kubectl(), n)).collect::<Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    println!("kubectl run to Running, median {:>8.3} s", median(&times));
    println!("                        worst  {:>8.3} s", times.last().copied().unwrap_or_default());
    cluster.kubectl().ok("delete pods --all --grace-period=0 --force")?;
    std::thread::sleep(REST);
    idle(&cluster)
}

const STARTS: usize = 5;

fn runs() -> Result<usize> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(20),
        [flag, count] if flag == "--runs" => count.parse().context("--runs takes a number"),
        other => anyhow::bail!("unknown arguments {other:?}: only --runs N"),
    }
}

/// From `sampan up` to every service ready, with the data of the first start there.
fn starts(cluster: &Cluster) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        cluster.sampan_with(&["down"])?;
        let began = Instant::now();
        cluster.sampan_with(&["up"])?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(median(&times))
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// As a user would see it: from typing the command to the row that says Running, the start of kubectl included.
fn run_to_running(kubectl: &Kubectl, n: usize) -> Result<f64> {
    let name = format!("figure-{n}");
    let mut rows =
        kubectl.follow("get pods -w --no-headers -o custom-columns=N:.metadata.name,P:.status.phase")?;
    let began = Instant::now();
    let run = format!("run {name} --image=busybox:1 --restart=Never -- sleep 3600");
    kubectl.ok(&run)?;
    rows.line("it runs", |line| line.starts_with(&name) && line.ends_with("Running"))?;
    Ok(began.elapsed().as_secs_f64())
}

/// What one process takes.
struct Usage {
    unit: String,
    rss_kb: u64,
    pss_kb: u64,
    ticks: u64,
}

fn idle(cluster: &Cluster) -> Result<()> {
    let before = usage(cluster)?;
    std::thread::sleep(IDLE);
    let after = usage(cluster)?;
    ensure!(before.len() == after.len(), "a unit was restarted while idle");
    println!("\nidle                        RSS MB   PSS MB    CPU %");
    let (mut rss, mut pss, mut cpu) = (0.0, 0.0, 0.0);
    for (first, last) in before.iter().zip(&after) {
        let megabytes = |kb: u64| kb as f64 / 1024.0;
        let percent = last.ticks.saturating_sub(first.ticks) as f64 / TICKS / IDLE.as_secs_f64() * 100.0;
        println!(
            "{:<25} {:>8.1} {:>8.1} {:>8.2}",
            last.unit,
            megabytes(last.rss_kb),
            megabytes(last.pss_kb),
            percent
        );
        rss += megabytes(last.rss_kb);
        pss += megabytes(last.pss_kb);
        cpu += percent;
    }
    println!("{:<25} {rss:>8.1} {pss:>8.1} {cpu:>8.2}", "all without containerd");
    println!("RSS counts the pages of the one binary once for each process that runs it, PSS once in all.");
    Ok(())
}

/// Clock ticks a second in `/proc/<pid>/stat`, as every Linux has it.
const TICKS: f64 = 100.0;

fn usage(cluster: &Cluster) -> Result<Vec<Usage>> {
    let mut usage = Vec::new();
    for unit in cluster.units()?.into_iter().filter(|unit| !unit.starts_with("containerd")) {
        let process = format!("/proc/{}", cluster.pid(&unit)?);
        let process = Path::new(&process);
        let (rss_kb, pss_kb) =
            (field(&process.join("status"), "VmRSS:")?, field(&process.join("smaps_rollup"), "Pss:")?);
        let stat = std::fs::read_to_string(process.join("stat")).context("the process ended")?;
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        // Fields 14 and 15 of stat, the name being the second: user and system time.
        let ticks = after_name.split(' ').skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
        usage.push(Usage { unit, rss_kb, pss_kb, ticks });
    }
    Ok(usage)
}

fn field(path: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no number: {line}"))
}
