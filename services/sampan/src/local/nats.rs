//! The local nats-server's configuration and keys, and where its binary is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use bus::security::{Listen, Server};

use super::layout::{Cluster, Layout};
use crate::bus_keys::BusKeys;

/// The oldest release with what the store needs (a stream that begins above a sequence, ordered consumers by push).
const OLDEST: (u32, u32) = (2, 12);

/// Makes the keys of the bus that are missing, nats-server's configuration, and each node's credentials.
pub fn configure(layout: &Layout, cluster: &Cluster) -> Result<()> {
    let keys = BusKeys::prepare(&layout.root().join("bus"))?;
    let tls = match cluster.address {
        Some(address) => Some(keys.certificate(&layout.root().join("apiserver"), &[address.to_string()])?),
        None => None,
    };
    let server = Server {
        name: "sampan".to_owned(),
        listen: Listen { host: cluster.nats_host().to_string(), port: cluster.nats_port },
        store: layout.root().join("nats"),
        tls,
        monitor: None,
    };
    keys.write_server_config(&server)?;
    for node in 1..=cluster.nodes {
        let file = layout.node_credentials(node);
        layout.folder(&format!("nodes/{}", Cluster::node_name(node)))?;
        keys.issue_node(&Cluster::node_name(node), &file)?;
    }
    Ok(())
}

/// The nats-server on PATH, which `make` extends by what `make setup` installed.
pub fn binary() -> Result<PathBuf> {
    let (major, minor) = OLDEST;
    let candidate = PathBuf::from("nats-server");
    match version(&candidate) {
        Some(found) if found >= OLDEST => Ok(candidate),
        Some((found, release)) => {
            bail!(
                "nats-server {major}.{minor} or newer is needed, but {found}.{release} is on PATH: run `make setup`"
            )
        }
        None => bail!("nats-server {major}.{minor} or newer is not on PATH: run `make setup`"),
    }
}

/// Major and minor of `nats-server: v2.15.1`.
fn version(binary: &PathBuf) -> Option<(u32, u32)> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.trim().rsplit('v').next()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
