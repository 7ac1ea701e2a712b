//! What a local cluster runs: one [`Unit`] a process, derived from the layout alone.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::layout::{Cluster, Layout};
use super::{containerd, network};

/// When a unit is stopped: later groups hold what earlier ones need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// nats-server: first to start, last to stop.
    Bus,
    /// containerd: stopped after the containers.
    Runtime,
    /// Our own services.
    Service,
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// `apiserver`, `node-agent-1`, …; names the log and the pid file.
    pub name: String,
    /// When it starts and stops.
    pub group: Group,
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Environment beyond the supervisor's own.
    pub environment: Vec<(&'static str, String)>,
    /// The network namespace it runs in, if not the machine's.
    pub namespace: Option<String>,
    /// Where it answers `/readyz`; `None` when something else tells.
    pub admin: Option<SocketAddr>,
}

/// The paths that units start from.
pub struct Programs {
    /// This very binary.
    pub sampan: PathBuf,
    /// nats-server.
    pub nats: PathBuf,
}

/// The address of the Service kube-dns, which pods have as their name server.
const DNS_ADDRESS: &str = "10.96.0.10";

/// Every unit of the cluster in the order of starting.
pub fn all(layout: &Layout, cluster: &Cluster, programs: &Programs) -> Vec<Unit> {
    let mut units = vec![nats(layout, programs)];
    units.extend((1..=cluster.nodes).map(|node| runtime(layout, cluster, node)));
    let services = [
        "apiserver",
        "scheduler",
        "replica-controller",
        "stateful-controller",
        "batch-controller",
        "cluster-controller",
        "dns",
    ];
    for (name, port) in services.into_iter().zip(cluster.admin_port..) {
        units.push(service(layout, cluster, programs, name, port));
    }
    let agents = cluster.admin_port + services.len() as u16;
    for (node, port) in (1..=cluster.nodes).zip(agents..) {
        units.push(agent(layout, cluster, programs, node, port));
    }
    units
}

// === impl Unit ===

impl Unit {
    /// A part of the command line that tells this unit from a stranger that was given its process id.
    pub fn mark(&self) -> &str {
        match self.group {
            Group::Bus => "nats.conf",
            Group::Runtime => "containerd.toml",
            Group::Service => "--admin-addr",
        }
    }

    /// Program and arguments with the entry into the unit's network namespace before them.
    pub fn full_command(&self) -> Vec<OsString> {
        let mut command: Vec<OsString> = match &self.namespace {
            // Not `ip netns exec`: that would also give a mount namespace, and volumes must be seen by both
            // the agent and its containerd.
            Some(namespace) => {
                vec!["nsenter".into(), format!("--net=/run/netns/{namespace}").into(), "--".into()]
            }
            None => Vec::new(),
        };
        command.extend(self.command.iter().cloned());
        command
    }
}

/// From here on nats-server's collector works harder instead of letting garbage pile up. What it must keep is far less,
/// since its streams are only appended to; without a limit a checkpoint of a million objects takes it to 2.7 GB.
const NATS_MEMORY: &str = "1GiB";

fn nats(layout: &Layout, programs: &Programs) -> Unit {
    Unit {
        name: "nats".to_owned(),
        group: Group::Bus,
        command: vec![programs.nats.clone().into(), "-c".into(), layout.root().join("bus/nats.conf").into()],
        environment: vec![("GOMEMLIMIT", NATS_MEMORY.to_owned())],
        namespace: None,
        admin: None,
    }
}

fn runtime(layout: &Layout, cluster: &Cluster, node: u8) -> Unit {
    let config = layout.root().join(format!("nodes/{}/containerd.toml", Cluster::node_name(node)));
    Unit {
        name: format!("containerd-{node}"),
        group: Group::Runtime,
        command: vec!["containerd".into(), "--config".into(), config.into()],
        environment: Vec::new(),
        namespace: network::namespace(cluster, node),
        admin: None,
    }
}

fn service(layout: &Layout, cluster: &Cluster, programs: &Programs, name: &str, port: u16) -> Unit {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let credentials = if name == "apiserver" { "bus/apiserver.creds" } else { "bus/service.creds" };
    let mut command = command(programs, name, admin);
    let certificates = layout.root().join("apiserver");
    match name {
        "apiserver" => {
            let bind = format!("127.0.0.1:{}", cluster.api_port);
            command.extend(["--bind".into(), bind.into(), "--data-dir".into(), certificates.into()]);
            command.extend(["--kubeconfig".into(), layout.kubeconfig().into()]);
            // Pods do not reach the machine's loopback.
            let pods = format!("{}:{}", cluster.host(), cluster.api_port);
            command.extend(["--bind-also".into(), pods.into()]);
            command.extend(["--advertise-address".into(), cluster.host().to_string().into()]);
            command.extend(["--node-signer".into(), layout.root().join("bus/node-signer.json").into()]);
            command.extend(["--cluster-cidr".into(), network::PODS.into()]);
            if cluster.address.is_some() {
                command.extend(["--bus-advertise".into(), cluster.bus_url().into()]);
            }
        }
        "cluster-controller" => {
            command.extend(["--ca-file".into(), certificates.join("ca.crt").into()]);
            command.extend(["--cluster-cidr".into(), network::FURTHER_PODS.into()]);
        }
        "dns" => {
            let bind = format!("{}:{}", cluster.host(), cluster.dns_port());
            command.extend(["--bind".into(), bind.into(), "--cluster-ip".into(), DNS_ADDRESS.into()]);
        }
        _ => {}
    }
    Unit {
        name: name.to_owned(),
        group: Group::Service,
        command,
        environment: bus(layout, cluster, layout.root().join(credentials)),
        namespace: None,
        admin: Some(admin),
    }
}

fn agent(layout: &Layout, cluster: &Cluster, programs: &Programs, node: u8, port: u16) -> Unit {
    let namespace = network::namespace(cluster, node);
    let own = namespace.as_ref().map(|_| network::node_address(node));
    let admin = SocketAddr::from((own.unwrap_or(Ipv4Addr::LOCALHOST), port));
    let mut command = command(programs, "node-agent", admin);
    let name = Cluster::node_name(node);
    let home = layout.root().join("nodes").join(&name).join("agent");
    command.extend(["--node-name".into(), name.into(), "--data-dir".into(), home.into()]);
    command.extend(["--containerd-socket".into(), layout.containerd_socket(cluster, node).into()]);
    command.extend(["--pause-image".into(), containerd::PAUSE_IMAGE.into()]);
    command.extend(["--cluster-dns".into(), DNS_ADDRESS.into()]);
    command.extend(["--cluster-cidr".into(), network::PODS.into()]);
    if let Some(amounts) = cluster.system_reserved.get(&node) {
        command.extend(["--system-reserved".into(), amounts.into()]);
    }
    command.extend(["--pod-cidr".into(), network::pod_cidr(node).into()]);
    if let Some(address) = own.or(cluster.address) {
        command.extend(["--node-ip".into(), address.to_string().into()]);
    }
    Unit {
        name: format!("node-agent-{node}"),
        group: Group::Service,
        command,
        environment: bus(layout, cluster, layout.node_credentials(node)),
        namespace,
        admin: Some(admin),
    }
}

fn command(programs: &Programs, name: &str, admin: SocketAddr) -> Vec<OsString> {
    vec![programs.sampan.clone().into(), name.into(), "--admin-addr".into(), admin.to_string().into()]
}

/// Where the bus is, and who the unit is on it.
fn bus(layout: &Layout, cluster: &Cluster, credentials: PathBuf) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("SAMPAN_NATS_URL", cluster.bus_url()),
        ("SAMPAN_BUS_CREDENTIALS", credentials.display().to_string()),
    ];
    if cluster.address.is_some() {
        environment.push(("SAMPAN_BUS_CA", layout.root().join("apiserver/ca.crt").display().to_string()));
    }
    environment
}
