//! A node's own containerd: its configuration, its pod network, and the image of pod sandboxes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use cri::v1::ContainerState;
use node_agent::network::cni;
use tokio::task::JoinSet;

use super::layout::{Cluster, Layout};
use super::network;

/// The sandbox image, made by this binary itself: no registry is asked for it.
pub const PAUSE_IMAGE: &str = "sampan.local/pause:1";

const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// What a container gets to end in when the cluster is stopped; `down` itself is not patient for much longer.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where Debian's containernetworking-plugins and the upstream archive put the CNI plugins.
const CNI_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Writes the configuration of a node's containerd and pod network; returns the configuration's path.
pub fn configure(layout: &Layout, cluster: &Cluster, node: u8) -> Result<PathBuf> {
    let name = Cluster::node_name(node);
    let home = layout.folder(&format!("nodes/{name}"))?;
    let leases = PathBuf::from(format!("/run/sampan-{}/node-{node}/cni", cluster.id));
    let plugins = home.join("cni");
    cni::write(&plugins, &cni::conflist(&network::pod_cidr(node), &leases))
        .with_context(|| format!("cannot write into {}", plugins.display()))?;
    write_config(&home, &plugins, &layout.containerd_socket(cluster, node))
}

/// Writes the configuration of a containerd that keeps its data in `home`, looks for its pod network in `plugins` and
/// listens at `socket`.
pub fn write_config(home: &Path, plugins: &Path, socket: &Path) -> Result<PathBuf> {
    let run = socket.parent().context("the socket lies in a folder")?;
    for folder in [run, plugins, &home.join("certs.d")] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let path = home.join("containerd.toml");
    std::fs::write(&path, config(home, run, plugins, socket))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Puts the pause image into a node's containerd.
pub async fn load_pause(socket: &Path, folder: &Path) -> Result<()> {
    let archive = folder.join("pause.tar");
    let image = cri::archive::ImageSpec {
        names: vec![PAUSE_IMAGE.to_owned()],
        entrypoint: vec!["/pause".to_owned()],
        layer: cri::archive::single_file_layer("pause", 0o755, PAUSE),
        ..Default::default()
    };
    let mut file =
        std::fs::File::create(&archive).with_context(|| format!("cannot write {}", archive.display()))?;
    cri::archive::write_docker_archive(&mut file, &image)?;
    cri::images::import(socket, &archive).await.with_context(|| format!("cannot load {PAUSE_IMAGE}"))
}

/// Stops every pod of a node's containerd. All of them at once, so that it takes as long as the slowest.
pub async fn stop_pods(socket: &Path) -> Result<()> {
    let client = cri::Client::new(socket);
    let mut stops = JoinSet::new();
    for sandbox in client.list_sandboxes(HashMap::new()).await? {
        stops.spawn(stop_pod(client.clone(), sandbox.id));
    }
    while let Some(stopped) = stops.join_next().await {
        stopped.context("a stop was cut short")??;
    }
    Ok(())
}

async fn stop_pod(client: cri::Client, sandbox: String) -> Result<()> {
    let mut stops = JoinSet::new();
    for container in client.list_containers(HashMap::new()).await? {
        if container.pod_sandbox_id == sandbox && container.state() == ContainerState::ContainerRunning {
            let client = client.clone();
            stops.spawn(async move { client.stop_container(&container.id, STOP_GRACE).await });
        }
    }
    while let Some(stopped) = stops.join_next().await {
        stopped.context("a stop was cut short")??;
    }
    Ok(client.stop_sandbox(&sandbox).await?)
}

/// `restrict_oom_score_adj` lets pods start where the machine forbids lowering the score, as in many VMs and
/// containers. The streaming server listens on loopback only: the node opens no port.
fn config(home: &Path, run: &Path, plugins: &Path, socket: &Path) -> String {
    let cni = CNI_FOLDERS.iter().find(|folder| Path::new(folder).is_dir()).unwrap_or(&CNI_FOLDERS[0]);
    let home = home.display();
    let (run, plugins, socket) = (run.display(), plugins.display(), socket.display());
    format!(
        r#"# Written by sampan; changes are lost at the next start.
version = 2
root = "{home}/containerd"
state = "{run}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{plugins}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{home}/certs.d"
"#
    )
}
