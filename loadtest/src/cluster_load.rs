//! Loads on a whole control plane with hollow nodes, everything on this machine.
//!
//! ```text
//!  this process: driver ──HTTPS──> apiserver ──> nats-server <── schedulers, controllers   (processes of their own)
//!                hollow nodes ──attach, report──^      │
//!                course: counts, latencies <──log──────┘
//! ```

mod course;
mod drive;
mod nodes;
mod plane;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use runtime::{Readiness, Shutdown};

use crate::measure::{self, Latencies};
use crate::plot::{self, Line};
use crate::report::Report;
use course::{Counts, Course, Moment, Recording};
use drive::Driver;
use nodes::Nodes;
use plane::{Plane, Usage};

/// A load on a cluster.
#[derive(Subcommand)]
pub enum Load {
    /// A Deployment goes from nothing to many replicas that run on hollow nodes, and back.
    Density(Density),
    /// The pods of a Deployment are replaced again and again, for a while.
    Churn(Churn),
    /// Hollow nodes have nothing to do.
    Idle(Idle),
    /// Pods get nodes that are objects alone: the API server and the scheduler without anything that starts pods
    /// (upstream's SchedulingBasic).
    Schedule(Schedule),
}

/// Arguments of `density`.
#[derive(Args)]
pub struct Density {
    /// Hollow nodes.
    #[arg(long, default_value_t = 500)]
    nodes: u16,
    /// Pods.
    #[arg(long, default_value_t = 5_000)]
    pods: u32,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `churn`.
#[derive(Args)]
pub struct Churn {
    /// Seconds of it.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    density: Density,
}

/// Arguments of `idle`.
#[derive(Args)]
pub struct Idle {
    /// Hollow nodes.
    #[arg(long, default_value_t = 2_000)]
    nodes: u16,
    /// Seconds to look.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[command(flatten)]
    common: Common,
}

/// Arguments of `schedule`.
#[derive(Args)]
pub struct Schedule {
    /// Node objects of 4 processors, 32 GiB and 110 pods each.
    #[arg(long, default_value_t = 5_000)]
    nodes: u16,
    /// Pods of 100m and 500 MiB that are measured.
    #[arg(long, default_value_t = 10_000)]
    pods: u32,
    /// Pods that are there before.
    #[arg(long, default_value_t = 1_000)]
    init_pods: u32,
    #[command(flatten)]
    common: Common,
}

/// Arguments of all loads.
#[derive(Args)]
pub struct Common {
    /// Schedulers that share the work.
    #[arg(long, default_value_t = 1)]
    schedulers: usize,
    /// The `sampan` binary; by default the one beside this program.
    #[arg(long, env = "SAMPAN_BINARY", value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where to draw the course of the run.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// How long a load may take that ends by itself.
const PATIENCE: Duration = Duration::from_secs(600);
/// Until agents, watches and caches have come to rest.
const REST: Duration = Duration::from_secs(5);

/// Runs a load.
pub async fn run(load: Load) -> Result<Report> {
    // Whoever was first has installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let work = async {
        match load {
            Load::Density(args) => density(&args).await,
            Load::Churn(args) => churn(&args).await,
            Load::Idle(args) => idle(&args).await,
            Load::Schedule(args) => schedule(&args).await,
        }
    };
    tokio::time::timeout(PATIENCE, work).await.context("it does not end")?
}

/// A control plane, who drives it and who looks.
struct Stage {
    driver: Driver,
    course: Course,
    plane: Plane,
    shutdown: Shutdown,
}

/// What is measured from one moment on.
struct Measured {
    began: Instant,
    recording: Recording,
    plane: Vec<Usage>,
    own: f64,
}

// === impl Stage ===

impl Stage {
    async fn set(common: &Common) -> Result<Self> {
        let binary = match &common.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("sampan"),
        };
        let plane = Plane::start(&binary, common.schedulers).await?;
        let shutdown = Shutdown::new();
        let bus = bus::Bus::connect(&bus::Config::new(&plane.nats_url(), "loadtest")).await?;
        let condition = Readiness::new().condition("store");
        let store = client::open(&bus, course::CLASSES, condition, shutdown.clone()).await?;
        let driver = Driver::new(plane.client().await?);
        Ok(Stage { driver, course: Course::follow(store), plane, shutdown })
    }

    /// With hollow nodes, all of them Ready.
    async fn set_with_nodes(common: &Common, count: u16, report: &mut Report) -> Result<(Self, Nodes)> {
        let stage = Self::set(common).await?;
        let began = Instant::now();
        let nodes = Nodes::start(&stage.plane.nats_url(), count).await?;
        stage.course.until(|counts| counts.ready_nodes == usize::from(count)).await;
        report.add("nodes_ready_seconds", began.elapsed().as_secs_f64(), "s");
        Ok((stage, nodes))
    }

    fn begin(&self) -> Measured {
        // What went before counts no more.
        self.course.take_spans();
        Measured {
            began: Instant::now(),
            recording: Recording::start(&self.course),
            plane: self.plane.usage(),
            own: measure::processor_seconds(std::process::id()),
        }
    }

    /// Adds the rates, the latencies, and what the processes used since.
    fn end(&self, measured: Measured, report: &mut Report) -> Vec<Moment> {
        let seconds = measured.began.elapsed().as_secs_f64();
        let moments = measured.recording.end();
        let mut spans = self.course.take_spans();
        add_rates(&moments, report);
        add_latencies("created_to_bound", &mut spans.bound, report);
        add_latencies("created_to_ready", &mut spans.running, report);
        let percent = |now: f64, before: f64| (now - before) / seconds * 100.0;
        let mut memory = measure::resident(std::process::id());
        for (now, before) in self.plane.usage().iter().zip(&measured.plane) {
            report.add(format!("cpu_{}", now.name), percent(now.processor, before.processor), "%");
            report.add_bytes(format!("memory_{}", now.name), now.resident);
            memory += now.resident;
        }
        let own = measure::processor_seconds(std::process::id());
        report.add("cpu_nodes_and_driver", percent(own, measured.own), "%");
        report.add_bytes("memory_nodes_and_driver", measure::resident(std::process::id()));
        report.add_bytes("memory_everything", memory);
        moments
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn density(args: &Density) -> Result<Report> {
    let (nodes, pods) = (args.nodes, args.pods);
    let title =
        format!("a Deployment of {pods} on {nodes} hollow nodes, {} scheduler(s)", args.common.schedulers);
    let mut report = Report::new(&title);
    let (stage, _nodes) = Stage::set_with_nodes(&args.common, nodes, &mut report).await?;
    let measured = stage.begin();
    stage.driver.deploy(pods).await?;
    stage.course.until(|counts| counts.running == pods as usize).await;
    report.add("all_running_seconds", measured.began.elapsed().as_secs_f64(), "s");
    let moments = stage.end(measured, &mut report);
    draw(&args.common, &title, &moments)?;
    let began = Instant::now();
    stage.driver.scale(0).await?;
    stage.course.until(|counts| counts.pods == 0).await;
    report.add("all_gone_seconds", began.elapsed().as_secs_f64(), "s");
    Ok(report)
}

async fn churn(args: &Churn) -> Result<Report> {
    let Density { nodes, pods, common } = &args.density;
    let title = format!("{pods} pods on {nodes} hollow nodes, rolled over for {} s", args.seconds);
    let mut report = Report::new(&title);
    let (stage, _nodes) = Stage::set_with_nodes(common, *nodes, &mut report).await?;
    stage.driver.deploy(*pods).await?;
    stage.course.until(|counts| counts.running == *pods as usize).await;
    let measured = stage.begin();
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut least = *pods as usize;
    for round in 0.. {
        if Instant::now() >= end {
            break;
        }
        let before = stage.course.counts().binds;
        stage.driver.roll(round).await?;
        // Half of it replaced, then the next one: the controllers have two roll-outs in hand all the time.
        let enough = before + *pods as usize / 2;
        let counts = stage.course.until(|counts| counts.binds >= enough || Instant::now() >= end);
        let counts =
            tokio::time::timeout_at(end.into(), counts).await.unwrap_or_else(|_| stage.course.counts());
        least = least.min(counts.running);
    }
    report.add("least_running", least as f64, "pods");
    let moments = stage.end(measured, &mut report);
    draw(common, &title, &moments)?;
    Ok(report)
}

async fn idle(args: &Idle) -> Result<Report> {
    let mut report = Report::new(format!("{} hollow nodes with nothing to do", args.nodes));
    let (stage, _nodes) = Stage::set_with_nodes(&args.common, args.nodes, &mut report).await?;
    tokio::time::sleep(REST).await;
    let measured = stage.begin();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stage.end(measured, &mut report);
    Ok(report)
}

async fn schedule(args: &Schedule) -> Result<Report> {
    let Schedule { nodes, pods, init_pods, common } = args;
    let title = format!("{pods} pods for {nodes} nodes, {} scheduler(s)", common.schedulers);
    let mut report = Report::new(&title);
    let mut stage = Stage::set(common).await?;
    // Nodes without an agent are to stay as they are, as upstream runs it.
    stage.driver.wait_account().await?;
    stage.plane.stop("cluster-controller");
    stage.driver.make_nodes(*nodes).await?;
    stage.driver.make_pods("init", *init_pods).await?;
    stage.course.until(|counts| counts.bound == *init_pods as usize).await;
    let measured = stage.begin();
    stage.driver.make_pods("measured", *pods).await?;
    report.add("created_seconds", measured.began.elapsed().as_secs_f64(), "s");
    let all = (init_pods + pods) as usize;
    stage.course.until(|counts: &Counts| counts.bound == all).await;
    let seconds = measured.began.elapsed().as_secs_f64();
    report.add("all_bound_seconds", seconds, "s");
    report.add("bound_per_second", f64::from(*pods) / seconds, "/s");
    let moments = stage.end(measured, &mut report);
    draw(common, &title, &moments)?;
    Ok(report)
}

fn add_rates(moments: &[Moment], report: &mut Report) {
    let mut rates = course::binds_per_second(moments);
    rates.sort_unstable();
    let at = |part: f64| {
        let index = (rates.len().saturating_sub(1) as f64 * part).round() as usize;
        rates.get(index).copied().unwrap_or_default() as f64
    };
    // A run of less than a second has no whole one.
    if !rates.is_empty() {
        report.add("binds_per_second_mean", rates.iter().sum::<usize>() as f64 / rates.len() as f64, "/s");
        report.add("binds_per_second_p5", at(0.05), "/s");
        report.add("binds_per_second_p50", at(0.5), "/s");
        report.add("binds_per_second_p95", at(0.95), "/s");
    }
}

fn add_latencies(name: &str, latencies: &mut Latencies, report: &mut Report) {
    if latencies.count() > 0 {
        report.add(format!("{name}_p50_ms"), latencies.quantile(0.5), "ms");
        report.add(format!("{name}_p99_ms"), latencies.quantile(0.99), "ms");
    }
}

fn draw(common: &Common, title: &str, moments: &[Moment]) -> Result<()> {
    let Some(file) = &common.svg else { return Ok(()) };
    let line = |name, count: fn(&Counts) -> usize| Line {
        name,
        points: moments
            .iter()
            .map(|moment| (moment.at.as_secs_f64(), count(&moment.counts) as f64))
            .collect(),
    };
    let lines = [
        line("created", |counts| counts.pods),
        line("bound", |counts| counts.bound),
        line("ready", |counts| counts.running),
    ];
    plot::write(file, title, &lines)
}
