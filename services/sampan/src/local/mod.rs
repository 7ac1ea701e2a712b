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

mod containerd;
mod layout;
mod lifecycle;
mod nats;
mod network;
mod process;
mod supervisor;
mod units;

use std::path::PathBuf;

pub use lifecycle::{clean, down, image_load, status, up};
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
    /// How long to wait until everything is ready, in seconds
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
}
