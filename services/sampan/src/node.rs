//! `node`: a whole node in the foreground, as a container or a service unit runs it.
//!
//! ```text
//!  sampan node ──┬─ containerd   restarted when it ends; stopped last
//!                ├─ images       the pause image, and archives that lie ready
//!                └─ the agent    in this very process
//! ```
//! On a machine with a containerd of its own `sampan node-agent` is enough.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use runtime::Shutdown;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::local::{containerd, process};

/// How it is started.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArguments {
    /// The agent; everything of the node lies in its folder
    #[command(flatten)]
    pub agent: node_agent::Config,
    /// A folder of image archives that are loaded at the start
    #[arg(long, env = "SAMPAN_NODE_IMAGES", value_name = "DIR")]
    images: Option<PathBuf>,
}

/// Between looks for containerd's socket, and before it is started again.
const POLL: Duration = Duration::from_millis(50);
const RESTART: Duration = Duration::from_secs(1);
/// containerd recovers its containers before it listens.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// It ends at once; its shims do not need it.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// What running containers takes, as bits of `CapEff`; whoever has these two was started as privileged.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];
const PROGRAMS: [&str; 4] = ["containerd", "ctr", "runc", "nft"];
const CGROUPS: &str = "/sys/fs/cgroup";

/// Runs until `shutdown`, then ends its pods.
pub async fn run(config: NodeArguments, shutdown: Shutdown) -> Result<()> {
    check()?;
    make_room(Path::new(CGROUPS)).context("cannot use the control groups")?;
    let NodeArguments { mut agent, images } = config;
    std::fs::create_dir_all(&agent.data_dir)
        .with_context(|| format!("cannot make {}", agent.data_dir.display()))?;
    let home = agent.data_dir.canonicalize()?;
    let plugins = agent.cni_conf_dir.get_or_insert_with(|| home.join("cni.d")).clone();
    let socket = agent.containerd_socket.clone();
    let file = containerd::write_config(&home, &plugins, &socket)?;

    let stop = Shutdown::new();
    let running = tokio::spawn(keep_containerd(file, stop.clone()));
    let prepared = tokio::select! {
        prepared = prepare(&socket, images.as_deref(), &home) => prepared,
        () = shutdown.cancelled() => Ok(()),
    };
    let outcome = match prepared {
        Ok(()) if !shutdown.is_cancelled() => node_agent::run(agent, shutdown).await,
        outcome => outcome,
    };
    info!("the node ends its pods");
    if let Err(error) = containerd::stop_pods(&socket).await {
        warn!("cannot stop the pods: {error:#}");
    }
    stop.cancel();
    running.await.context("what runs containerd has panicked")?;
    outcome
}

async fn prepare(socket: &Path, images: Option<&Path>, home: &Path) -> Result<()> {
    timeout(START_PATIENCE, provide_pause(socket, home)).await.context("containerd does not answer")?;
    match images {
        Some(folder) => load(socket, folder).await,
        None => Ok(()),
    }
}

/// A containerd that has just come up says no a few times.
async fn provide_pause(socket: &Path, folder: &Path) {
    while let Err(error) = containerd::load_pause(socket, folder).await {
        tracing::debug!("no pause image yet: {error:#}");
        sleep(POLL).await;
    }
}

/// One that cannot be loaded does not keep the node from working.
async fn load(socket: &Path, folder: &Path) -> Result<()> {
    let list = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut archives: Vec<PathBuf> = list.filter_map(|entry| Some(entry.ok()?.path())).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    for archive in archives {
        match cri::images::import(socket, &archive).await {
            Ok(()) => info!(archive = %archive.display(), "loaded"),
            Err(error) => warn!("{error}"),
        }
    }
    Ok(())
}

async fn keep_containerd(config: PathBuf, stop: Shutdown) {
    loop {
        match Command::new("containerd").arg("--config").arg(&config).arg("--log-level=warn").spawn() {
            Ok(mut child) => tokio::select! {
                ended = child.wait() => warn!(?ended, "containerd ended"),
                () = stop.cancelled() => return end(&mut child).await,
            },
            Err(error) => warn!("cannot run containerd: {error}"),
        }
        tokio::select! {
            () = sleep(RESTART) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn end(child: &mut tokio::process::Child) {
    let asked = child.id().map(|pid| process::signal(pid.cast_signed(), Signal::SIGTERM));
    if let Some(Err(error)) = asked {
        warn!("cannot ask containerd to end: {error:#}");
    }
    if timeout(STOP_PATIENCE, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        warn!("cannot kill containerd: {error}");
    }
}

/// Whether this process can run containers, and has what that takes.
pub fn check() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        bail!(
            "a node runs containers, and this process may not: it lacks {}. Start it as root, and in a container with \
             `--privileged` (`privileged: true` in docker-compose.yml)",
            missing.join(" and ")
        );
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in PROGRAMS {
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            bail!("{program} is not on PATH: a node needs {}", PROGRAMS.join(", "));
        }
    }
    Ok(())
}

/// PURE: what `/proc/self/status` says is missing.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let has = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    NEEDED.iter().filter(|(_, bit)| has & (1 << bit) == 0).map(|(name, _)| *name).collect()
}

/// In a container with control groups of the second version the group at the top holds this process, and a group that
/// holds processes can have none below it that are limited: whatever runs moves into one of its own.
fn make_room(root: &Path) -> std::io::Result<()> {
    // The machine's own top has no type.
    if !root.join("cgroup.type").exists() {
        return Ok(());
    }
    let own = root.join("sampan-node");
    std::fs::create_dir_all(&own)?;
    for process in std::fs::read_to_string(root.join("cgroup.procs"))?.lines() {
        // One that ended meanwhile need not move.
        let _ = std::fs::write(own.join("cgroup.procs"), process);
    }
    let controllers = std::fs::read_to_string(root.join("cgroup.controllers"))?;
    let enable: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
    std::fs::write(root.join("cgroup.subtree_control"), enable.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_lacks_is_named() {
        let status = |capabilities: &str| format!("Name:\tsampan\nCapEff:\t{capabilities}\nCapBnd:\t0\n");
        assert!(missing_capabilities(&status("000001ffffffffff")).is_empty());
        // As Docker starts a container by itself.
        assert_eq!(missing_capabilities(&status("00000000a80425fb")), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
        assert_eq!(missing_capabilities("").len(), 2);
    }

    #[test]
    fn the_top_group_is_left_only_where_it_is_not_the_machines() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        write("cgroup.controllers", "cpu memory\n");
        write("cgroup.procs", "1\n");
        make_room(root.path()).unwrap();
        assert!(!root.path().join("sampan-node").exists(), "of the machine");
        write("cgroup.type", "domain\n");
        make_room(root.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(
            (read("sampan-node/cgroup.procs"), read("cgroup.subtree_control")),
            ("1".into(), "+cpu +memory".into())
        );
    }
}
