//! `sim --seeds 0..2000` runs a cluster from each seed and prints those that break a rule; `sim --seed N --trace` shows
//! one of them step by step.

use std::ops::Range;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use sim::Report;

/// Runs simulated clusters.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds to run, each in a process of its own: FIRST..END
    #[arg(long, value_parser = range, default_value = "0..20", value_name = "RANGE")]
    seeds: Range<u64>,
    /// Runs this seed alone
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Shows every step of it
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Processes at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
}

/// A run takes seconds; one that takes this long turns in a circle in which no virtual time passes.
const STUCK: Duration = Duration::from_secs(300);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    match arguments.seed {
        Some(seed) => Ok(alone(seed, arguments.trace)),
        None => all(arguments.seeds, arguments.jobs),
    }
}

fn alone(seed: u64, shows: bool) -> ExitCode {
    let Report { broken, trace: (steps, sum), took, writes } = sim::run(seed, shows);
    for what in &broken {
        println!("seed {seed} BROKEN {what}");
    }
    println!(
        "seed {seed} had {steps} steps in {} s, {writes} writes were found, trace {sum:016x}",
        took.as_secs()
    );
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(seeds: Range<u64>, jobs: u8) -> Result<ExitCode> {
    let (begun, next, end) = (Instant::now(), AtomicU64::new(seeds.start), seeds.end);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return Ok(());
                }
                if let Some(why) = in_process(seed)? {
                    println!("{why}");
                    failed.lock().expect("nobody panics holding it").push(seed);
                }
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    let failed = failed.into_inner().expect("nobody panics holding it");
    let count = seeds.end.saturating_sub(seeds.start);
    println!("{count} seeds, {} failed, in {} s", failed.len(), begun.elapsed().as_secs());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a seed in a process of its own, so that one run leaves nothing to the next; returns why it failed, if it did.
fn in_process(seed: u64) -> Result<Option<String>> {
    let program = std::env::current_exe().context("this program is not known")?;
    let mut child = Command::new(program)
        .args(["--seed", &seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run a seed")?;
    let begun = Instant::now();
    while child.try_wait().context("cannot wait for a seed")?.is_none() {
        if begun.elapsed() > STUCK {
            child.kill().context("cannot end a seed")?;
            child.wait().context("cannot wait for a seed")?;
            return Ok(Some(format!("seed {seed} BROKEN no end after {} s", STUCK.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().context("cannot read what a seed says")?;
    let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok((!output.status.success()).then(|| match said.is_empty() {
        true => format!("seed {seed} BROKEN it ended with {}", output.status),
        false => said,
    }))
}

fn range(text: &str) -> Result<Range<u64>> {
    let Some((first, end)) = text.split_once("..") else { bail!("FIRST..END is wanted") };
    let (first, end) = (first.parse()?, end.parse()?);
    if first >= end {
        bail!("there is no seed in {text}");
    }
    Ok(first..end)
}
