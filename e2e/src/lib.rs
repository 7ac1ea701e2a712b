//! A local cluster of the built binary, and the real kubectl to walk through it.
//!
//! ```text
//!  walk (a list of steps) ──> Cluster ── sampan up, image load, kill -9 ──> .sampan of its own
//!                        ├──> outage ── a node's link or power ──> one of several nodes
//!                        └──> Kubectl ── the machine's kubectl ──> the cluster's API server
//! ```

pub mod cluster;
pub mod kubectl;
pub mod outage;
pub mod registry;
pub mod replica;
pub mod steps;

pub use cluster::{Cluster, images};
pub use kubectl::{Kubectl, Ran};
pub use replica::Replica;
pub use steps::{Step, walk};

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a busy machine of two cores, short enough to notice that it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// Asks until `ask` says `Ok(Some)`; an error or `None` is asked again until the time is over.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    eventually_within(PATIENCE, what, ask)
}

/// As [`eventually`], with another patience.
pub fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let last = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("{what}: not within {patience:?}: {last}");
        }
        std::thread::sleep(POLL);
    }
}

/// A port of 127.0.0.1 on which nobody listens now.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
