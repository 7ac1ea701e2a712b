//! `up`, `down`, `clean` and `image load`, as the user types them, and how the units are.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::layout::{Cluster, Layout};
use super::units::{self, Group, Programs, Unit};
use super::{ClusterArguments, UpArguments, nats, network, process};

/// Services, then containers (which get their grace period), then containerd and nats-server.
const DOWN_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Starts the cluster and waits until every unit is ready.
pub async fn up(arguments: UpArguments) -> Result<()> {
    let began = Instant::now();
    let layout = Layout::open(&arguments.cluster.data_dir)?;
    let programs = check_machine()?;
    let cluster = open_cluster(&layout, &arguments)?;
    layout.folder("run")?;
    layout.folder("logs")?;
    let units = units::all(&layout, &cluster, &programs);
    if process::running(&layout.pid_file("supervisor"), "supervise").is_none() {
        stop_leftovers(&layout, &units).await?;
        start_supervisor(&layout, &programs.sampan)?;
    }
    let deadline = began + Duration::from_secs(arguments.timeout);
    for unit in &units {
        wait_ready(&layout, unit, deadline).await?;
        println!("  ready  {:<20} {:.1} s", unit.name, began.elapsed().as_secs_f32());
    }
    let kubeconfig = shown(&layout.kubeconfig());
    println!(
        "\nThe cluster is up with {} node(s) after {:.1} s.",
        cluster.nodes,
        began.elapsed().as_secs_f32()
    );
    println!(
        "Now type:\n\n  export KUBECONFIG={kubeconfig}\n  kubectl get nodes\n  kubectl run redis --image=redis\n"
    );
    Ok(())
}

/// Stops the cluster; its data stays.
pub async fn down(arguments: &ClusterArguments) -> Result<()> {
    let layout = Layout::open(&arguments.data_dir)?;
    let Some(cluster) = layout.cluster()? else {
        println!("There is no cluster in {}.", layout.root().display());
        return Ok(());
    };
    process::stop(&layout.pid_file("supervisor"), "supervise", DOWN_PATIENCE).await?;
    let programs = Programs { sampan: "sampan".into(), nats: "nats-server".into() };
    stop_leftovers(&layout, &units::all(&layout, &cluster, &programs)).await?;
    println!("The cluster is down. Its data stays in {}.", layout.root().display());
    Ok(())
}

/// Stops the cluster and removes its data.
pub async fn clean(arguments: &ClusterArguments) -> Result<()> {
    let layout = Layout::open(&arguments.data_dir)?;
    if let Some(cluster) = layout.cluster()? {
        down(arguments).await?;
        network::remove(&cluster)?;
        let run = PathBuf::from(format!("/run/sampan-{}", cluster.id));
        unmount_below(&run)?;
        remove_folder(&run)?;
    }
    unmount_below(layout.root())?;
    remove_folder(layout.root())?;
    println!("Removed {}.", layout.root().display());
    Ok(())
}

/// How a unit is.
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// Why it is not ready, if it is not.
    pub problem: Option<String>,
    /// Its metrics, where it has any.
    pub metrics: String,
}

/// How each unit of the cluster is.
pub async fn unit_states(arguments: &ClusterArguments) -> Result<Vec<UnitState>> {
    let layout = Layout::open(&arguments.data_dir)?;
    let Some(cluster) = layout.cluster()? else {
        bail!("there is no cluster in {}", layout.root().display())
    };
    let programs = Programs { sampan: "sampan".into(), nats: "nats-server".into() };
    let mut states = Vec::new();
    for unit in units::all(&layout, &cluster, &programs) {
        let pid = process::running(&layout.pid_file(&unit.name), unit.mark());
        let problem = state(&layout, &unit).await.err();
        let metrics = match unit.admin.filter(|_| pid.is_some()) {
            Some(address) => ask(address, "/metrics").await.unwrap_or_default(),
            None => String::new(),
        };
        states.push(UnitState { name: unit.name, pid, problem, metrics });
    }
    Ok(states)
}

/// Loads image archives on every node.
pub async fn image_load(arguments: &ClusterArguments, archives: &[PathBuf]) -> Result<()> {
    let layout = Layout::open(&arguments.data_dir)?;
    let Some(cluster) = layout.cluster()? else {
        bail!("there is no cluster in {}", layout.root().display())
    };
    for archive in archives {
        std::fs::File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
        for node in 1..=cluster.nodes {
            let socket = layout.containerd_socket(&cluster, node);
            cri::images::import(&socket, archive).await.with_context(|| {
                format!("cannot load {} on {}", archive.display(), Cluster::node_name(node))
            })?;
        }
        println!("Loaded {} on {} node(s).", archive.display(), cluster.nodes);
    }
    Ok(())
}

/// What `up` needs of the machine, each with how to get it.
fn check_machine() -> Result<Programs> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a node runs containers, which needs root: try `sudo`");
    }
    for program in ["containerd", "runc", "ip", "nft", "nsenter"] {
        if !on_path(program) {
            bail!("{program} is not on PATH: run `make setup`");
        }
    }
    let sampan = std::env::current_exe().context("cannot find this program")?;
    Ok(Programs { sampan, nats: nats::binary()? })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn open_cluster(layout: &Layout, arguments: &UpArguments) -> Result<Cluster> {
    let reserved: BTreeMap<u8, String> = arguments.system_reserved.iter().cloned().collect();
    match layout.cluster()? {
        Some(cluster) if cluster.nodes != arguments.nodes => bail!(
            "the cluster in {} has {} node(s), not {}: `sampan clean` removes it",
            layout.root().display(),
            cluster.nodes,
            arguments.nodes
        ),
        Some(cluster) if !arguments.system_reserved.is_empty() && cluster.system_reserved != reserved => {
            bail!(
                "the nodes of the cluster in {} have other reservations: `sampan clean` removes it",
                layout.root().display()
            )
        }
        Some(cluster) if arguments.address.is_some() && cluster.address != arguments.address => bail!(
            "the cluster in {} is not reached at {}: `sampan clean` removes it",
            layout.root().display(),
            arguments.address.map_or_else(String::new, |address| address.to_string())
        ),
        Some(_) if !layout.root().join("bus").exists() => bail!(
            "the cluster in {} was made before nodes had credentials of their own: `sampan clean` removes it",
            layout.root().display()
        ),
        Some(cluster) => Ok(cluster),
        None => {
            check_address(arguments)?;
            let address = SocketAddr::from(([127, 0, 0, 1], arguments.api_port));
            std::net::TcpListener::bind(address)
                .with_context(|| format!("cannot listen at {address}: choose another with --api-port"))?;
            if let Some(node) = reserved.keys().find(|node| !(1..=arguments.nodes).contains(node)) {
                bail!("there is no node {node} to reserve anything of: --nodes is {}", arguments.nodes);
            }
            let new = Cluster::new(arguments.nodes, arguments.api_port)?;
            let cluster = Cluster { system_reserved: reserved, address: arguments.address, ..new };
            layout.folder("bus")?;
            layout.keep(&cluster)?;
            Ok(cluster)
        }
    }
}

/// Nodes in namespaces of this machine have addresses that nobody else reaches.
fn check_address(arguments: &UpArguments) -> Result<()> {
    let Some(address) = arguments.address else { return Ok(()) };
    if arguments.nodes > 1 {
        bail!("--address is for one node: several have a network of their own inside this machine");
    }
    std::net::TcpListener::bind((address, 0))
        .with_context(|| format!("{address} is not an address of this machine"))?;
    Ok(())
}

/// Ends units whose supervisor died before them; the new one starts its own.
async fn stop_leftovers(layout: &Layout, units: &[Unit]) -> Result<()> {
    let ranks = [Group::Service, Group::Runtime, Group::Bus];
    for unit in ranks.iter().flat_map(|group| units.iter().filter(move |unit| unit.group == *group)) {
        process::stop(&layout.pid_file(&unit.name), unit.mark(), Duration::from_secs(10)).await?;
    }
    Ok(())
}

/// Starts the supervisor in a session of its own, so that it outlives the terminal.
fn start_supervisor(layout: &Layout, sampan: &Path) -> Result<()> {
    let log =
        std::fs::File::create(layout.log_file("supervisor")).context("cannot write the supervisor's log")?;
    let mut command = Command::new(sampan);
    command
        .arg("supervise")
        .arg("--data-dir")
        .arg(layout.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .process_group(0);
    let child = command.spawn().context("cannot start the supervisor")?;
    process::record(&layout.pid_file("supervisor"), child.id())
}

async fn wait_ready(layout: &Layout, unit: &Unit, deadline: Instant) -> Result<()> {
    loop {
        let Err(why) = state(layout, unit).await else { return Ok(()) };
        if process::running(&layout.pid_file("supervisor"), "supervise").is_none() {
            bail!("the supervisor ended:\n{}", last_lines(&layout.log_file("supervisor")));
        }
        if Instant::now() > deadline {
            let log = layout.log_file(&unit.name);
            bail!("{} is not ready: {why}\n{}\n(all of it: {})", unit.name, last_lines(&log), log.display());
        }
        sleep(POLL).await;
    }
}

/// `Ok` when the unit is ready, else why it is not.
async fn state(layout: &Layout, unit: &Unit) -> Result<(), String> {
    if process::running(&layout.pid_file(&unit.name), unit.mark()).is_none() {
        return Err("does not run".to_owned());
    }
    match unit.admin {
        Some(address) => ready(address).await,
        None => Ok(()),
    }
}

async fn ready(address: SocketAddr) -> Result<(), String> {
    let reply = ask(address, "/readyz").await?;
    match reply.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(reply.split("\r\n\r\n").nth(1).unwrap_or("not ready").trim().to_owned()),
    }
}

/// The whole answer of a unit, its head included.
async fn ask(address: SocketAddr, path: &str) -> Result<String, String> {
    const PATIENCE: Duration = Duration::from_secs(2);
    /// A report is short and metrics are some hundred kilobytes; more than this is neither.
    const ANSWER_BYTES: u64 = 4 << 20;
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut reply = String::new();
        stream.take(ANSWER_BYTES).read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    match timeout(PATIENCE, ask).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address} does not answer")),
    }
}

fn last_lines(path: &Path) -> String {
    const LINES: usize = 12;
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A path as short as the user would type it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// Unmounts what containers and volumes left mounted below `folder`, innermost first.
fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let mut points: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|point| Path::new(point).starts_with(folder))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH)
            .with_context(|| format!("cannot unmount {point}"))?;
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => std::io::stdout().flush().context("cannot print"),
    }
}
