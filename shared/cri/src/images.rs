//! Putting archives into a node's image store.

use std::path::Path;
use std::process::Stdio;

use tokio::net::UnixStream;
use tokio::process::Command;

/// Where CRI keeps its images.
const NAMESPACE: &str = "k8s.io";

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nobody answers on containerd's socket.
    #[error("containerd does not answer at {socket}")]
    Down {
        /// Where it should.
        socket: String,
        /// Why it does not.
        #[source]
        source: std::io::Error,
    },
    /// `ctr` does not run.
    #[error("cannot run ctr, which comes with containerd")]
    NoCtr(#[source] std::io::Error),
    /// `ctr` refused the archive.
    #[error("cannot import {archive}: {reason}")]
    Refused {
        /// The file.
        archive: String,
        /// What `ctr` printed.
        reason: String,
    },
}

/// Imports a docker or OCI archive into the containerd behind `socket`, under the names that the archive gives.
///
/// `ctr` does it: it comes with containerd in the same version, and containerd's own interface for this differs from
/// version to version.
pub async fn import(socket: &Path, archive: &Path) -> Result<(), ImportError> {
    // ctr would wait ten seconds for a containerd that is not there.
    if let Err(source) = UnixStream::connect(socket).await {
        return Err(ImportError::Down { socket: socket.display().to_string(), source });
    }
    let output = Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", NAMESPACE, "images", "import"])
        .arg(archive)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(ImportError::NoCtr)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ImportError::Refused { archive: archive.display().to_string(), reason })
}
