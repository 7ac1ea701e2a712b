//! Loads on the store alone.

mod bench;
mod load;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::measure::Busy;
use crate::report::Report;
use bench::Bench;

/// A load on the store.
#[derive(Subcommand)]
pub enum Load {
    /// Writers replace their own objects under a condition, each waiting for the outcome before it goes on.
    Cas(Cas),
    /// Objects are created, then a checkpoint is written.
    Fill(Many),
    /// Objects are created, then replaced at random.
    Overwrite(Overwrite),
    /// Objects are created, a checkpoint is written, the server is killed, and a store is opened.
    Restart(Many),
}

/// Arguments of `cas`.
#[derive(Args)]
pub struct Cas {
    /// Writers at once.
    #[arg(long, default_value_t = 256)]
    writers: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

/// Arguments of loads on many objects.
#[derive(Args)]
pub struct Many {
    /// Objects.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `overwrite`.
#[derive(Args)]
pub struct Overwrite {
    /// Writers at once.
    #[arg(long, default_value_t = 512)]
    writers: u64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    many: Many,
}

/// Arguments of all loads.
#[derive(Args)]
pub struct Common {
    /// Bytes of an object.
    #[arg(long, default_value_t = 1500)]
    size: usize,
    /// A server to use instead of one of our own. It keeps what the run writes.
    #[arg(long)]
    url: Option<String>,
    /// Servers that hold a copy of each stream that the run makes; more than one takes `--url`.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
}

/// Objects that each writer of `cas` takes turns with.
const OBJECTS_EACH: u64 = 16;

/// Runs a load.
pub async fn run(load: Load) -> Result<Report> {
    match load {
        Load::Cas(args) => cas(args).await,
        Load::Fill(args) => fill(args).await,
        Load::Overwrite(args) => overwrite(args).await,
        Load::Restart(args) => restart(args).await,
    }
}

async fn cas(args: Cas) -> Result<Report> {
    let bench = Bench::start(&args.common, false).await?;
    let objects = args.writers * OBJECTS_EACH;
    load::create(&bench, objects).await?;
    let title = format!("compare-and-set of {} bytes, {} writers", args.common.size, args.writers);
    let mut report = Report::new(title);
    let own = move |writer, round| writer * OBJECTS_EACH + round % OBJECTS_EACH;
    replace(&bench, args.writers, args.seconds, own, &mut report).await?;
    bench.add_memory(&mut report);
    Ok(report)
}

/// Replaces objects for a while and reports how fast it went.
async fn replace(
    bench: &Bench,
    writers: u64,
    seconds: u64,
    choose: impl Fn(u64, u64) -> u64 + Copy + Send + 'static,
    report: &mut Report,
) -> Result<()> {
    let (busy, messages, before) = (Busy::start(), bench.messages(), bench.processor_seconds());
    let started = Instant::now();
    let mut latencies = load::replace(bench, writers, Duration::from_secs(seconds), choose).await?;
    let seconds = started.elapsed().as_secs_f64();
    let writes = latencies.count() as f64;
    let after = bench.processor_seconds();
    report.add("writes_per_second", writes / seconds, "/s");
    report.add("p50_ms", latencies.quantile(0.5), "ms");
    report.add("p99_ms", latencies.quantile(0.99), "ms");
    report.add("writes_per_message", writes / (bench.messages() - messages).max(1) as f64, "");
    report.add("server_processor", (after.0 - before.0) * 1e6 / writes.max(1.0), "us/write");
    report.add("own_processor", (after.1 - before.1) * 1e6 / writes.max(1.0), "us/write");
    report.add("machine_busy", busy.part() * 100.0, "%");
    Ok(())
}

async fn fill(args: Many) -> Result<Report> {
    let bench = Bench::start(&args.common, false).await?;
    let mut report = Report::new(format!("{} objects of {} bytes created", args.objects, args.common.size));
    fill_up(&bench, args.objects, &mut report).await?;
    bench.add_memory(&mut report);
    Ok(report)
}

/// Creates objects and writes a checkpoint.
async fn fill_up(bench: &Bench, objects: u64, report: &mut Report) -> Result<()> {
    let started = Instant::now();
    load::create(bench, objects).await?;
    report.add("created_per_second", objects as f64 / started.elapsed().as_secs_f64(), "/s");
    report.add_bytes("log_on_disk", bench.disk());
    let started = Instant::now();
    bench.store().checkpoint().await?;
    report.add("checkpoint_seconds", started.elapsed().as_secs_f64(), "s");
    report.add_bytes("live_bytes", bench.live_bytes());
    report.add_bytes("checkpoint_on_disk", bench.disk());
    Ok(())
}

async fn overwrite(args: Overwrite) -> Result<Report> {
    let objects = args.many.objects;
    let bench = Bench::start(&args.many.common, true).await?;
    let mut report = Report::new(format!(
        "{objects} objects of {} bytes replaced at random, {} writers",
        args.many.common.size, args.writers
    ));
    fill_up(&bench, objects, &mut report).await?;
    let live = bench.live_bytes();
    let watched = bench.watch_server();
    let random = move |_, _| rand::random_range(0..objects);
    replace(&bench, args.writers, args.seconds, random, &mut report).await?;
    let peaks = watched.end().await;
    report.add_bytes("server_memory_peak", peaks.memory);
    report.add_bytes("disk_peak", peaks.disk);
    report.add("disk_peak_to_live", peaks.disk as f64 / live.max(1) as f64, "times");
    bench.add_memory(&mut report);
    Ok(report)
}

async fn restart(args: Many) -> Result<Report> {
    let mut bench = Bench::start(&args.common, false).await?;
    let mut report = Report::new(format!(
        "start with {} objects of {} bytes from a checkpoint",
        args.objects, args.common.size
    ));
    fill_up(&bench, args.objects, &mut report).await?;
    let started = Instant::now();
    bench.restart_server().await?;
    report.add("server_start_seconds", started.elapsed().as_secs_f64(), "s");
    let started = Instant::now();
    bench.open().await?;
    report.add("store_open_seconds", started.elapsed().as_secs_f64(), "s");
    anyhow::ensure!(
        bench.store().page("core/pods/", None, 0).remaining as u64 == args.objects,
        "objects are missing"
    );
    bench.add_memory(&mut report);
    Ok(report)
}
