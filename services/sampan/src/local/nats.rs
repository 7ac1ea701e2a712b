//! The configuration of the local nats-server, and where its binary is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::layout::{Cluster, Layout};

/// The oldest release with what the store needs (a stream that begins above a sequence, ordered consumers by push).
const OLDEST: (u32, u32) = (2, 12);

/// The text of the server's configuration file.
///
/// `sync_interval: always`: one server alone acknowledges a write after it is on the disk.
/// `max_payload`: the API takes objects of 3 MB, and a transaction with one travels alone.
pub fn config(layout: &Layout, cluster: &Cluster) -> String {
    let store = layout.root().join("nats");
    let host = cluster.nats_host();
    let Cluster { nats_port, bus_password, .. } = cluster;
    format!(
        r#"# Written by `sampan up`; changes are lost at the next start.
server_name: "sampan"
listen: "{host}:{nats_port}"
max_payload: 8MB
max_pending: 64MB
jetstream {{
  store_dir: {store:?}
  sync_interval: always
}}
authorization {{
  users: [
    {{ user: "apiserver", password: "{bus_password}" }}
    # Everybody reads the log; only API servers write it.
    {{ user: "service", password: "{bus_password}", permissions: {{
        publish: {{ deny: ["state.>", "events.>", "checkpoint.>", "$JS.API.STREAM.CREATE.>",
                          "$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.UPDATE.>",
                          "$JS.API.STREAM.MSG.DELETE.>"] }} }} }}
    {{ user: "node", password: "{bus_password}", permissions: {{
        publish: {{ allow: ["attach.>", "report.>", "token.>", "hb.>", "stream.>", "_INBOX.>"] }}
        subscribe: {{ allow: ["node.>", "stream.>", "_INBOX.>"] }} }} }}
  ]
}}
"#
    )
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
