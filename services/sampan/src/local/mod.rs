//! A cluster on this machine: nats-server, containerd and every service as children of one supervisor.
//!
//! ```text
//!  sampan up ── starts ──> sampan supervise ── runs, restarts ──> nats-server, containerd × nodes,
//!      │                        │ writes run/<unit>.pid           apiserver, scheduler, controllers,
//!      └─ waits for /readyz     │ and logs/<unit>.log             node-agent × nodes
//!         of every unit         └─ on SIGTERM: services, containers, containerd, nats-server, in this order
//! ```
//! `layout` says where everything lies, `units` what is to run (pure), the rest makes it so.
//! Containers are children of their containerd shims, so they outlive everything here but `down`.

pub mod containerd;
mod layout;
mod lifecycle;
mod nats;
mod network;
pub mod process;
mod supervisor;
mod units;

use std::path::PathBuf;

pub use lifecycle::{UnitState, clean, down, image_load, unit_states, up};
pub use supervisor::supervise;

/// Which local cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArguments {
    /// Where the cluster keeps its data, logs and admin.kubeconfig
    #[arg(long, default_value = ".sampan", env = "SAMPAN_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// How to start it.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArguments {
    /// The cluster
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// Real nodes on this machine; more than one get a containerd and a network namespace each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub nodes: u8,
    /// Port of the API server on 127.0.0.1
    #[arg(long, default_value_t = 6443)]
    pub api_port: u16,
    /// Address of this machine at which other machines reach it and may join; with one node only
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<std::net::Ipv4Addr>,
    /// What pods do not get of a node, as 1:memory=2Gi; may be given for several nodes
    #[arg(long, value_parser = reservation, value_name = "NODE:RESOURCE=QUANTITY,…")]
    pub system_reserved: Vec<(u8, String)>,
    /// How long to wait until everything is ready, in seconds
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
}

/// `1:memory=2Gi`
fn reservation(text: &str) -> Result<(u8, String), String> {
    let (node, amounts) = text.split_once(':').ok_or("it is written node:resource=quantity")?;
    let node = node.parse().map_err(|_| format!("{node:?} is not the number of a node"))?;
    amounts.parse::<node_agent::node::reserved::Reserved>().map_err(|error| error.to_string())?;
    Ok((node, amounts.to_owned()))
}
