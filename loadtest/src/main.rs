//! How fast, how much memory, how much disk: the numbers that the documentation states, as commands.
//!
//! ```text
//!  loadtest store cas        many writers, each replacing its own objects under a condition
//!  loadtest store fill       objects created, a checkpoint written
//!  loadtest store overwrite  objects replaced at random, the log kept short meanwhile
//!  loadtest store restart    a store opened from a checkpoint
//!  loadtest cluster density  a Deployment from nothing to thousands of pods that run on hollow nodes, and back
//!  loadtest cluster churn    its pods replaced again and again
//!  loadtest cluster idle     thousands of hollow nodes with nothing to do
//!  loadtest cluster schedule pods for thousands of node objects: what the schedulers alone can do
//! ```
//! Every command starts a nats-server of its own in a temporary folder (or uses `--url`), with an fsync before each
//! acknowledgement. Run with `--release`.

mod cluster_load;
mod measure;
mod objects;
mod plot;
mod report;
mod store_load;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "Measures Sampan")]
struct Args {
    /// Print one JSON object instead of lines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// The store alone.
    #[command(subcommand)]
    Store(store_load::Load),
    /// The whole control plane with hollow nodes.
    #[command(subcommand)]
    Cluster(cluster_load::Load),
}

#[tokio::main]
async fn main() -> Result<()> {
    // The connections of thousands of agents end with the run, which each of them would say.
    let levels = Targets::new().with_default(LevelFilter::WARN).with_target("bus", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(levels).init();
    let args = Args::parse();
    let report = match args.part {
        Part::Store(load) => store_load::run(load).await?,
        Part::Cluster(load) => cluster_load::run(load).await?,
    };
    report.print(args.json);
    Ok(())
}
