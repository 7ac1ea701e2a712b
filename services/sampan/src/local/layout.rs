//! Where a local cluster keeps what, and which ports it was given.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::network;

/// What `up` decided once and every later start reads again: `cluster.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Tells this cluster's bridge and namespaces from another's on the same machine: four hex digits.
    pub id: String,
    /// Number of nodes.
    pub nodes: u8,
    /// Port of the API server.
    pub api_port: u16,
    /// Port of nats-server.
    pub nats_port: u16,
    /// First of the ports for `/readyz` and `/metrics`, one a unit.
    pub admin_port: u16,
    /// What pods do not get of a node, by its number.
    #[serde(default)]
    pub system_reserved: BTreeMap<u8, String>,
    /// Where other machines reach this one, if they are to: bus, API server and name server listen there.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
}

/// The folders and files of a cluster, from its data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// Ports for `/readyz` and `/metrics` that a cluster sets aside: seven services and up to 32 nodes.
const ADMIN_PORTS: u16 = 40;
/// Ports that it sets aside in one piece: those, and the name server's.
const PORTS: u16 = ADMIN_PORTS + 1;

// === impl Layout ===

impl Layout {
    /// The layout under `data_dir`, which is made when it is not there.
    pub fn open(data_dir: &Path) -> Result<Self> {
        fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
        let root = data_dir.canonicalize().with_context(|| format!("cannot open {}", data_dir.display()))?;
        Ok(Layout { root })
    }

    /// The data directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of the cluster, made when it is not there.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    /// Where the supervisor or a unit says its process id.
    pub fn pid_file(&self, unit: &str) -> PathBuf {
        self.root.join("run").join(format!("{unit}.pid"))
    }

    /// What a unit prints.
    pub fn log_file(&self, unit: &str) -> PathBuf {
        self.root.join("logs").join(format!("{unit}.log"))
    }

    /// The socket of a node's containerd. Unix socket paths are limited to 108 bytes, so it lies under /run.
    pub fn containerd_socket(&self, cluster: &Cluster, node: u8) -> PathBuf {
        PathBuf::from(format!("/run/sampan-{}/node-{node}/containerd.sock", cluster.id))
    }

    /// The cluster as it was first started, if it was.
    pub fn cluster(&self) -> Result<Option<Cluster>> {
        let path = self.root.join("cluster.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Keeps the cluster for later starts.
    pub fn keep(&self, cluster: &Cluster) -> Result<()> {
        self.write("cluster.json", &serde_json::to_string_pretty(cluster)?).map(drop)
    }

    /// The credentials of a node's agent on the bus.
    pub fn node_credentials(&self, node: u8) -> PathBuf {
        self.root.join("nodes").join(Cluster::node_name(node)).join("bus.creds")
    }

    /// Writes a file under the data directory.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

// === impl Cluster ===

impl Cluster {
    /// A new cluster with ports that are free now.
    pub fn new(nodes: u8, api_port: u16) -> Result<Self> {
        let mut random = rand::rng();
        Ok(Cluster {
            id: format!("{:04x}", random.random::<u16>()),
            nodes,
            api_port,
            nats_port: free_ports(1)?,
            admin_port: free_ports(PORTS)?,
            system_reserved: BTreeMap::new(),
            address: None,
        })
    }

    /// The nodes' names: `node-1`, …
    pub fn node_name(node: u8) -> String {
        format!("node-{node}")
    }

    /// Port of the name server. Pods ask at port 53 of the Service; this machine may have a server there already.
    pub fn dns_port(&self) -> u16 {
        self.admin_port + ADMIN_PORTS
    }

    /// Where nats-server listens: where other machines reach this one, or on loopback, and with several nodes where
    /// their namespaces reach it.
    pub fn nats_host(&self) -> Ipv4Addr {
        let own = if self.nodes > 1 { network::GATEWAY } else { Ipv4Addr::LOCALHOST };
        self.address.unwrap_or(own)
    }

    /// Where the cluster's parts find the bus. What leaves the machine is nobody's to read.
    pub fn bus_url(&self) -> String {
        let scheme = if self.address.is_some() { "tls" } else { "nats" };
        format!("{scheme}://{}:{}", self.nats_host(), self.nats_port)
    }

    /// Where pods of every node reach what runs on this machine.
    pub fn host(&self) -> Ipv4Addr {
        self.address.unwrap_or(network::GATEWAY)
    }
}

/// The first of `count` adjoining ports of 127.0.0.1 on which nobody listens.
fn free_ports(count: u16) -> Result<u16> {
    // The kernel hands out 32768 and up to clients; below it a port stays free between looking and listening.
    const RANGE: std::ops::Range<u16> = 20_000..32_000;
    const ATTEMPTS: usize = 200;
    let mut random = rand::rng();
    (0..ATTEMPTS)
        .map(|_| random.random_range(RANGE))
        .find(|first| {
            (*first..*first + count)
                .all(|port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok())
        })
        .context("no free ports between 20000 and 32000")
}
