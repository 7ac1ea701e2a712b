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
//! Services go from observe/attach to `proxy` alone, which brings the kernel's nftables up to them, and nodes to
//! `network`, which lays the routes to their pods.
//! `spec` turns a pod's spec into what the runtime and the disk are asked for; `node` is about the node itself.
//! Absent on purpose: an open port, an address of the store, and any write but by report.

pub mod act;
pub mod decide;
pub mod network;
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
pub mod traces;

mod arguments;
mod metrics;

pub use arguments::Config;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bus::Bus;
use runtime::{Readiness, Shutdown};
use tracing::warn;

use act::Runtime;
use act::containerd::Containerd;
use act::hollow::Hollow;
use act::tokens::Tokens;
use network::{Network, Plugins};
use node::facts::{self, Facts};
use node::object::{Identity, allocatable};
use node::reserved::Reserved;
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
        hollow(bus, &name, 0, readiness).run(shutdown).await;
        return Ok(());
    }
    let data = make_folders(&config.data_dir)
        .with_context(|| format!("cannot make {}", config.data_dir.display()))?;
    let client = cri::Client::new(&config.containerd_socket);
    let tokens = Tokens::new(bus.clone(), &name);
    let machine = Containerd::new(client.clone(), Paths::new(&data), tokens);
    run_on(&config, bus, readiness, name, machine, client, shutdown).await
}

/// What volumes hold is for the pods alone, not for every user of the node who finds the way.
fn make_folders(data: &Path) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(data)?;
    let data = data.canonicalize()?;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(Paths::new(&data).pods())?;
    Ok(data)
}

/// Said with the node, so that whoever makes a volume for it can say where it lies.
fn folder_of_volumes(paths: &Paths) -> String {
    paths.local_volumes().display().to_string()
}

/// An agent that pretends. `number` tells its pods' addresses from those of others that share its machine.
pub fn hollow(bus: Bus, name: &str, number: u16, readiness: Readiness) -> Agent<Hollow> {
    hollow_on(Hollow::new(hollow_facts(), number), bus, name, number, readiness)
}

/// An agent of a machine that is not this one.
pub fn hollow_on<R: Runtime>(
    runtime: R,
    bus: Bus,
    name: &str,
    number: u16,
    readiness: Readiness,
) -> Agent<R> {
    let facts = runtime.facts();
    let [high, low] = number.to_be_bytes();
    let ips = vec![format!("172.20.{high}.{low}")];
    Agent {
        settings: Settings {
            node_name: name.to_owned(),
            node_ips: ips.clone(),
            resolver: Resolver::default(),
            hosts_file: String::new(),
            allocatable: allocatable(&facts, &Reserved::default()),
            paths: Paths::new(Path::new("/")),
        },
        identity: Identity {
            name: name.to_owned(),
            ips,
            labels: BTreeMap::new(),
            volumes: folder_of_volumes(&Paths::new(Path::new("/"))),
            max_pods: HOLLOW_PODS,
            reserved: Reserved::default(),
            pods: None,
        },
        bus,
        runtime,
        pods: Pods::default(),
        hears_of_services: false,
        proxy: None,
        network: None,
        readiness,
    }
}

async fn run_on(
    config: &Config,
    bus: Bus,
    readiness: Readiness,
    name: String,
    machine: Containerd,
    client: cri::Client,
    shutdown: Shutdown,
) -> Result<()> {
    let ips = vec![config.node_ip.unwrap_or_else(facts::address).to_string()];
    let pods = Pods::default();
    let streams =
        streams::Host { bus: bus.clone(), node: name.clone(), pods: pods.clone(), runtime: Some(client) };
    let serving = tokio::spawn(streams::serve(streams, shutdown.clone()));
    if let Some(file) = config.bus.bus_credentials.clone() {
        tokio::spawn(node::credentials::keep_good(bus.clone(), name.clone(), file, shutdown.clone()));
    }
    let ranges = Ranges { pods: config.cluster_cidr, services: Some(config.service_cidr) };
    let settings = settings(config, &name, &ips, &machine.facts());
    let volumes = folder_of_volumes(&settings.paths);
    let agent = Agent {
        hears_of_services: true,
        proxy: (!config.no_services).then(|| (Proxy::new(&name), ranges)),
        network: network(config, &name),
        settings,
        identity: Identity {
            name,
            ips,
            labels: config.labels(),
            volumes,
            max_pods: config.max_pods,
            reserved: config.reserved(),
            pods: config.pod_cidr,
        },
        bus,
        runtime: machine,
        pods,
        readiness,
    };
    agent.run(shutdown).await;
    serving.await.context("the streams were cut short")?.context("cannot serve streams")
}

/// Without a range of pods the CNI plugins do all of it.
fn network(config: &Config, name: &str) -> Option<(Network, Option<Plugins>)> {
    config.cluster_cidr?;
    let leases = config.data_dir.join("cni");
    let plugins = config.cni_conf_dir.clone().map(|folder| Plugins { folder, leases });
    Some((Network::new(name), plugins))
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
        allocatable: allocatable(facts, &config.reserved()),
        paths: Paths::new(&data),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| {
        warn!("cannot read {}: {error}", path.display());
        String::new()
    })
}

/// What a pretending node takes: more than a real one, whose kernel and runtime set the limit.
const HOLLOW_PODS: u32 = 250;

/// A machine of the usual size in a data centre.
fn hollow_facts() -> Facts {
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
