//! The command line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::node::reserved::Reserved;
use crate::proxy::cidr::Cidr;

/// How a node agent is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where the bus is
    #[command(flatten)]
    pub bus: runtime::BusArguments,
    /// Where the agent tells of itself
    #[command(flatten)]
    pub admin: runtime::AdminArguments,
    /// Name of the Node object; the machine's host name by default
    #[arg(long, env = "SAMPAN_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address that the node is known by; by default the one it reaches others from
    #[arg(long, env = "SAMPAN_NODE_IP", value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    /// Labels of the Node object, as key=value, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = label, value_name = "KEY=VALUE")]
    pub node_labels: Vec<(String, String)>,
    /// Where volumes and logs of pods lie
    #[arg(long, default_value = "/var/lib/sampan/agent", env = "SAMPAN_AGENT_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The socket of containerd
    #[arg(long, default_value = "/run/containerd/containerd.sock", value_name = "PATH")]
    pub containerd_socket: PathBuf,
    /// Image of pod sandboxes, as containerd's own configuration names it: never counted as unused
    #[arg(long, default_value = "sampan.local/pause:1", value_name = "IMAGE")]
    pub pause_image: String,
    /// Pods that the node takes at most
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
    /// What the node's own programs need of the machine and pods do not get, as cpu=500m,memory=1Gi
    #[arg(long, value_name = "RESOURCE=QUANTITY,…")]
    pub system_reserved: Option<Reserved>,
    /// Addresses of the cluster's name servers; pods use the node's own without
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    pub cluster_dns: Vec<IpAddr>,
    /// Range of all pods' addresses: what pods send out of it is seen with the node's address; without it that is
    /// left to the CNI plugins
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<Cidr>,
    /// Range of this node's pods, where it is decided beforehand; without it the cluster gives the node one
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<Cidr>,
    /// Where to write the CNI plugins' configuration once the node has a range of addresses for its pods; without it
    /// somebody else does
    #[arg(long, value_name = "DIR")]
    pub cni_conf_dir: Option<PathBuf>,
    /// Range of Services' addresses: what nobody answers for there is refused
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub service_cidr: Cidr,
    /// Leave Services to another program on this node
    #[arg(long)]
    pub no_services: bool,
    /// Domain of the cluster's services
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Pretend to run pods: no containers, no volumes, no root needed
    #[arg(long)]
    pub hollow: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written key=value".to_owned()),
    }
}

// === impl Config ===

impl Config {
    /// What pods do not get.
    pub fn reserved(&self) -> Reserved {
        self.system_reserved.unwrap_or_default()
    }

    /// The labels as a map.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.node_labels.iter().cloned().collect()
    }
}
