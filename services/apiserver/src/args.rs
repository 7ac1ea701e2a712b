//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use runtime::{AdminArguments, BusArguments};

/// What the API server is told at start.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The bus.
    #[command(flatten)]
    pub bus: BusArguments,

    /// The admin endpoint.
    #[command(flatten)]
    pub admin: AdminArguments,

    /// Address of the HTTPS API
    #[arg(long, env = "SAMPAN_BIND", default_value = "0.0.0.0:6443", value_name = "ADDRESS")]
    pub bind: SocketAddr,

    /// Further addresses of the HTTPS API, as one that only pods reach
    #[arg(long, env = "SAMPAN_BIND_ALSO", value_name = "ADDRESS", value_delimiter = ',')]
    pub bind_also: Vec<SocketAddr>,

    /// Folder of the cluster CA and the server's certificate; made on first start
    #[arg(long, env = "SAMPAN_DATA_DIR", default_value = "/var/lib/sampan/apiserver", value_name = "FOLDER")]
    pub data_dir: PathBuf,

    /// Where to write the administrator's kubeconfig; not written when left out
    #[arg(long, env = "SAMPAN_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The server that the kubeconfig names, as https://host:6443; by default the address that is bound
    #[arg(long, env = "SAMPAN_KUBECONFIG_SERVER", value_name = "URL")]
    pub kubeconfig_server: Option<String>,

    /// A further host name or IP address in the server's certificate
    #[arg(
        long = "tls-san",
        env = "SAMPAN_TLS_SAN",
        value_name = "NAME",
        value_delimiter = ',',
        num_args = 1
    )]
    pub tls_sans: Vec<String>,

    /// The address at which pods reach this server, shown in the endpoints of the service `kubernetes`;
    /// by default the bound address, or this machine's own when all addresses are bound
    #[arg(long, env = "SAMPAN_ADVERTISE_ADDRESS", value_name = "IP")]
    pub advertise_address: Option<IpAddr>,

    /// A file of tokens besides those of service accounts: token,user,uid,"group,group" a line
    #[arg(long, env = "SAMPAN_TOKEN_AUTH_FILE", value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,

    /// Machines that want to become nodes.
    #[command(flatten)]
    pub joining: JoinArguments,

    /// On how many nats-servers the streams are kept: 1 or 3 or 5
    #[arg(long, env = "SAMPAN_STREAM_REPLICAS", default_value_t = 1, value_name = "COUNT")]
    pub stream_replicas: usize,
}

/// What machines that become nodes are given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct JoinArguments {
    /// The key that credentials of nodes are signed with, as `sampan bus config` makes it; without it nobody can join
    #[arg(long, env = "SAMPAN_NODE_SIGNER", value_name = "FILE")]
    pub node_signer: Option<PathBuf>,

    /// Where machines outside reach the bus, shown by `sampan token create --print-join-command`
    #[arg(long, env = "SAMPAN_BUS_ADVERTISE", value_name = "URL")]
    pub bus_advertise: Option<String>,

    /// Range of all pods' addresses, which nodes are told
    #[arg(long, env = "SAMPAN_CLUSTER_CIDR", value_name = "CIDR")]
    pub cluster_cidr: Option<String>,

    /// A file with a bootstrap token that is made known at the start and never expires
    #[arg(long, env = "SAMPAN_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    pub bootstrap_token_file: Option<PathBuf>,
}
