//! The agent of a node: it makes what is wanted of the node so, on containerd, and says how that goes.
//!
//! ```text
//!  API server ── node.<node>.want ──> observe/attach ─┐
//!  containerd ── events, lists ─────> observe/relist ─┤ Input
//!  probes ── verdicts ────────────────────────────────┤
//!                                                     v
//!        service: the loop ──> decide/core ──> one pure state machine a pod (decide/pod)
//!                                   │ Effects
//!         ┌───────────────┬─────────┴──────┬───────────────────┐
//!         v               v                v                   v
//!     act (Runtime)   report (outbox)   probes (prober)   pods ──> streams: exec, attach, logs, port-forward
//!         │ Outcome       │ report.<node>
//!         └─> the loop    v
//!                     API server
//! ```
//! Services go from observe/attach to `proxy` alone, which brings the kernel's nftables up to them.
//! `spec` turns a pod's spec into what the runtime and the disk are asked for; `node` is about the node itself.
//! Absent on purpose: an open port, an address of the store, and any write but by report.

pub mod act;
pub mod decide;
pub mod node;
pub mod observe;
pub mod pods;
pub mod probes;
pub mod proxy;
pub mod report;
pub mod service;
pub mod settings;
pub mod spec;
pub mod streams;

mod arguments;
mod metrics;

pub use arguments::Config;

use std::path::Path;

use anyhow::{Context, Result};
use bus::Bus;
use runtime::{Readiness, Shutdown};
use tracing::warn;

use act::Runtime;
use act::containerd::Containerd;
use act::hollow::Hollow;
use node::facts::{self, Facts};
use node::object::{Identity, allocatable};
use pods::Pods;
use proxy::Proxy;
use proxy::nft::Ranges;
use service::Agent;
use settings::{Paths, Resolver, Settings};

/// Runs the agent until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<()> {
    let name = config.node_name.clone().unwrap_or_else(facts::hostname);
    let readiness = Readiness::new();
    runtime::admin::serve(config.admin.admin_addr, readiness.clone(), shutdown.clone()).await?;
    let bus = Bus::connect(&config.bus.config(&format!("node-agent/{name}"))).await?;
    if config.hollow {
        return run_on(&config, bus, readiness, name, Hollow::new(hollow_facts(), 0), None, shutdown).await;
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot make {}", config.data_dir.display()))?;
    let data = config.data_dir.canonicalize().context("the data directory was just made")?;
    let client = cri::Client::new(&config.containerd_socket);
    let machine = Containerd::new(client.clone(), Paths::new(&data));
    run_on(&config, bus, readiness, name, machine, Some(client), shutdown).await
}

async fn run_on<R: Runtime>(
    config: &Config,
    bus: Bus,
    readiness: Readiness,
    name: String,
    machine: R,
    client: Option<cri::Client>,
    shutdown: Shutdown,
) -> Result<()> {
    let ips = vec![config.node_ip.unwrap_or_else(facts::address).to_string()];
    let pods = Pods::default();
    let streams = streams::Host { bus: bus.clone(), node: name.clone(), pods: pods.clone(), runtime: client };
    let serving = tokio::spawn(streams::serve(streams, shutdown.clone()));
    let has_services = !config.hollow && !config.no_services;
    let ranges = Ranges { pods: config.cluster_cidr, services: Some(config.service_cidr) };
    let agent = Agent {
        proxy: has_services.then(|| (Proxy::new(&name), ranges)),
        settings: settings(config, &name, &ips, &machine.facts()),
        identity: Identity { name, ips, labels: config.labels(), max_pods: config.max_pods },
        bus,
        runtime: machine,
        pods,
        readiness,
    };
    agent.run(shutdown).await;
    serving.await.context("the streams were cut short")?.context("cannot serve streams")
}

fn settings(config: &Config, name: &str, ips: &[String], facts: &Facts) -> Settings {
    let resolver = Resolver {
        cluster_servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
        cluster_domain: config.cluster_domain.clone(),
        ..Default::default()
    };
    let data = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    Settings {
        node_name: name.to_owned(),
        node_ips: ips.to_vec(),
        resolver: resolver.with_host(&read(Path::new("/etc/resolv.conf"))),
        hosts_file: read(Path::new("/etc/hosts")),
        allocatable: allocatable(facts),
        paths: Paths::new(&data),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| {
        warn!("cannot read {}: {error}", path.display());
        String::new()
    })
}

/// A machine of the usual size in a data centre.
pub fn hollow_facts() -> Facts {
    Facts {
        cpus: 32,
        memory: 256 << 30,
        memory_available: 200 << 30,
        disk: 1 << 40,
        disk_available: 900 << 30,
        pids: 4_194_304,
        pids_used: 500,
        kernel: "0.0.0-hollow".to_owned(),
        os_image: "Hollow".to_owned(),
        architecture: "amd64".to_owned(),
        ..Default::default()
    }
}
