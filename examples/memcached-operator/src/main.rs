//! An operator as people write one: a kind of its own, and a controller that keeps what an object of it asks for.
//!
//! ```text
//!  Memcached (api) ──watch──> controller ── observe ──> decide (pure) ── actions ──> Deployment, status.nodes
//!                                 │
//!                                 └── serve: /metrics, /healthz, /readyz
//! ```
//! It knows the Kubernetes API and nothing else: no crate of the cluster is among its dependencies.

mod api;
mod controller;
mod decide;
mod serve;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use kube::CustomResourceExt;

/// Keeps a memcached Deployment for each Memcached.
#[derive(Parser)]
#[command(name = "memcached-operator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where /metrics is answered
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    metrics_bind_address: SocketAddr,
    /// Where /healthz and /readyz are answered
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    health_probe_bind_address: SocketAddr,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the definition of the kind, as config/crd has it
    Crd,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Crd) => definition().map(|text| print!("{text}")),
        None => run(&arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memcached-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The kind's definition as YAML.
fn definition() -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(&api::Memcached::crd()).context("a definition is plain data")?;
    Ok(format!("# Made from src/api.rs by `make manifests`.\n{}\n", text.trim_end()))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let colours = std::io::stdout().is_terminal();
    tracing_subscriber::fmt().with_target(false).with_ansi(colours).init();
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok().context("another TLS provider")?;
    let client = kube::Client::try_default().await.context("no cluster to talk to")?;
    let state = serve::State::new()?;
    serve::start(arguments.metrics_bind_address, arguments.health_probe_bind_address, &state).await?;
    controller::run(client, state).await.context("cannot list Memcacheds")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_definition_is_the_one_of_the_code() {
        let committed = include_str!("../config/crd/bases/cache.example.com_memcacheds.yaml");
        assert_eq!(committed, super::definition().unwrap(), "run `make manifests`");
    }
}
