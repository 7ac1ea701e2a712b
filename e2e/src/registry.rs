//! Debian's image registry on loopback.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A registry with its data in a folder; it ends when this is dropped.
pub struct Registry {
    child: Child,
    port: u16,
}

// === impl Registry ===

impl Registry {
    /// Starts one on a free port.
    pub fn start(folder: &Path) -> Result<Self> {
        let port = crate::free_port()?;
        let (config, data) = (folder.join("registry.yml"), folder.join("registry"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data:?}}}}}\n\
             http: {{addr: 127.0.0.1:{port}}}\n"
        );
        std::fs::write(&config, text).context("cannot write the registry's configuration")?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run docker-registry: run `make setup`")?;
        let registry = Registry { child, port };
        crate::eventually("the registry listens", || {
            Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
        })?;
        Ok(registry)
    }

    /// The name of an image in this registry.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Pushes an image that the containerd at `socket` has as `local`; its name here is `name`.
    pub fn push(&self, socket: &Path, local: &str, name: &str) -> Result<()> {
        let image = self.image(name);
        ctr(socket, &["images", "tag", local, &image])?;
        ctr(socket, &["images", "push", "--plain-http", &image])?;
        ctr(socket, &["images", "rm", &image])
    }
}

fn ctr(socket: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io"])
        .args(arguments)
        .output()
        .context("cannot run ctr")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ctr {}: {text}", arguments.join(" "));
    Ok(())
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
