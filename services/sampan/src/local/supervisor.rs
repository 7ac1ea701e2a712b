//! Runs the units, restarts those that end, and stops them in order.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::layout::{Cluster, Layout};
use super::units::{self, Group, Programs, Unit};
use super::{ClusterArguments, containerd, nats, network, process};

/// A unit that ends at once is started again after this long, doubled each time up to [`RESTART_LATEST`].
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_LATEST: Duration = Duration::from_secs(5);
/// A unit that ran this long has recovered: its next restart is quick again.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// How long a unit may take to end by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// nats-server recovers its streams before it listens; a million objects take it a few seconds.
const BUS_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the cluster of `arguments` until SIGTERM or SIGINT, then stops it in order.
pub async fn supervise(arguments: &ClusterArguments) -> Result<()> {
    let layout = Layout::open(&arguments.data_dir)?;
    let Some(cluster) = layout.cluster()? else { bail!("{} holds no cluster", layout.root().display()) };
    process::record(&layout.pid_file("supervisor"), std::process::id())?;
    prepare(&layout, &cluster)?;
    let programs = Programs {
        sampan: std::env::current_exe().context("cannot find this program")?,
        nats: nats::binary()?,
    };
    let units = units::all(&layout, &cluster, &programs);

    let bus = Started::new(&layout, &units, Group::Bus);
    listens(SocketAddr::from((cluster.nats_host(), cluster.nats_port)), BUS_PATIENCE).await?;
    let runtimes = Started::new(&layout, &units, Group::Runtime);
    for node in 1..=cluster.nodes {
        tokio::spawn(provide_pause(layout.clone(), cluster.clone(), node));
    }
    let services = Started::new(&layout, &units, Group::Service);

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping");
    services.stop().await;
    for node in 1..=cluster.nodes {
        stop_containers(&layout.containerd_socket(&cluster, node)).await;
    }
    network::end_services(&cluster);
    runtimes.stop().await;
    bus.stop().await;
    std::fs::remove_file(layout.pid_file("supervisor")).context("cannot remove the supervisor's pid file")
}

fn prepare(layout: &Layout, cluster: &Cluster) -> Result<()> {
    network::prepare(cluster)?;
    nats::configure(layout, cluster)?;
    for node in 1..=cluster.nodes {
        containerd::configure(layout, cluster, node)?;
    }
    Ok(())
}

/// The running units of one group.
struct Started {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

// === impl Started ===

impl Started {
    fn new(layout: &Layout, units: &[Unit], group: Group) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for unit in units.iter().filter(|unit| unit.group == group) {
            tasks.spawn(keep_running(layout.clone(), unit.clone(), stop.clone()));
        }
        Started { stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.join_all().await;
    }
}

async fn keep_running(layout: Layout, unit: Unit, stop: CancellationToken) {
    let mut delay = RESTART_FIRST;
    loop {
        let began = Instant::now();
        match start(&layout, &unit) {
            Ok(mut child) => {
                tokio::select! {
                    ended = child.wait() => warn!(unit = unit.name, ?ended, "ended"),
                    () = stop.cancelled() => return end(&layout, &unit, child).await,
                }
            }
            Err(error) => warn!(unit = unit.name, "cannot start: {error:#}"),
        }
        if began.elapsed() > HEALTHY_AFTER {
            delay = RESTART_FIRST;
        }
        tokio::select! {
            () = sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        delay = (delay * 2).min(RESTART_LATEST);
    }
}

fn start(layout: &Layout, unit: &Unit) -> Result<Child> {
    let log = open_log(&layout.log_file(&unit.name))?;
    let command = unit.full_command();
    let child = Command::new(&command[0])
        .args(&command[1..])
        .envs(unit.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", command[0].display()))?;
    if let Some(pid) = child.id() {
        process::record(&layout.pid_file(&unit.name), pid)?;
        info!(unit = unit.name, pid, "started");
    }
    Ok(child)
}

async fn end(layout: &Layout, unit: &Unit, mut child: Child) {
    if let Some(pid) = child.id()
        && let Err(error) = process::signal(pid as i32, nix::sys::signal::Signal::SIGTERM)
    {
        warn!(unit = unit.name, "cannot ask it to end: {error:#}");
    }
    if timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        warn!(unit = unit.name, "does not end by itself, killing it");
        if let Err(error) = child.kill().await {
            warn!(unit = unit.name, "cannot kill it: {error}");
        }
    }
    if let Err(error) = std::fs::remove_file(layout.pid_file(&unit.name)) {
        warn!(unit = unit.name, "cannot remove its pid file: {error}");
    }
}

fn open_log(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// Waits until somebody listens at `address`.
async fn listens(address: SocketAddr, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > deadline {
            bail!("nats-server does not listen at {address}: see its log");
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Loads the pause image as soon as the node's containerd answers, which a first start needs.
async fn provide_pause(layout: Layout, cluster: Cluster, node: u8) {
    const ATTEMPTS: u32 = 120;
    const PAUSE_BETWEEN: Duration = Duration::from_millis(250);
    let socket = layout.containerd_socket(&cluster, node);
    let folder = layout.root().join("nodes").join(Cluster::node_name(node));
    for attempt in 1..=ATTEMPTS {
        match containerd::load_pause(&socket, &folder).await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS => warn!(node, "no pause image: {error:#}"),
            Err(_) => sleep(PAUSE_BETWEEN).await,
        }
    }
}

/// Stops every pod of a node; its next start finds them ended, as after a reboot.
async fn stop_containers(socket: &Path) {
    if let Err(error) = containerd::stop_pods(socket).await {
        warn!(socket = %socket.display(), "cannot stop the pods: {error:#}");
    }
}
