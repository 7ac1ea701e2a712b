//! The control plane under load: nats-server and the services, each a process of its own, as `sampan up` runs them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;
use testkit::NatsServer;

use crate::measure;

/// A cold start with an empty log takes a second.
const START_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The services besides the schedulers, of which there may be several.
const SERVICES: [&str; 3] = ["apiserver", "replica-controller", "cluster-controller"];

/// The running control plane; it ends, and its data goes, when this is dropped.
pub struct Plane {
    folder: TempDir,
    services: Vec<Service>,
    nats: NatsServer,
}

struct Service {
    name: String,
    child: Child,
}

/// What a process has used.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The service.
    pub name: String,
    /// Bytes resident, of which files shared with others count in full.
    pub resident: u64,
    /// Seconds of processor time since its start.
    pub processor: f64,
}

// === impl Plane ===

impl Plane {
    /// Starts nats-server and the services of `binary`, and waits until the API answers that it is ready.
    pub async fn start(binary: &Path, schedulers: usize) -> Result<Self> {
        ensure!(binary.is_file(), "{} is not there: run `make build`", binary.display());
        let folder =
            tempfile::Builder::new().prefix("sampan-load-").tempdir().context("no temporary folder")?;
        let mut plane = Plane { folder, services: Vec::new(), nats: NatsServer::start()? };
        for name in SERVICES {
            plane.spawn(binary, name, name)?;
            // The first one makes what the others need.
            plane.wait_ready(name).await?;
        }
        for number in 1..=schedulers {
            let name = format!("scheduler-{number}");
            plane.spawn(binary, "scheduler", &name)?;
            plane.wait_ready(&name).await?;
        }
        Ok(plane)
    }

    fn spawn(&mut self, binary: &Path, service: &str, name: &str) -> Result<()> {
        let log = File::create(self.path(&format!("{name}.log"))).context("cannot write a log")?;
        let mut command = Command::new(binary);
        let admin = testkit::free_port()?;
        command.arg(service).args(["--admin-addr", &format!("127.0.0.1:{admin}")]);
        std::fs::write(self.path(&format!("{name}.admin")), admin.to_string())?;
        command.args(["--nats-url", &self.nats.url()]);
        if service == "apiserver" {
            command.arg("--bind").arg(format!("127.0.0.1:{}", testkit::free_port()?));
            command.arg("--data-dir").arg(self.path("apiserver"));
            command.arg("--kubeconfig").arg(self.kubeconfig());
        }
        if service == "cluster-controller" {
            // Pods with the volume of a token need it in their namespace.
            command.arg("--ca-file").arg(self.path("apiserver").join("ca.crt"));
        }
        let child = command
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        self.services.push(Service { name: name.to_owned(), child });
        Ok(())
    }

    async fn wait_ready(&mut self, name: &str) -> Result<()> {
        let port: u16 = std::fs::read_to_string(self.path(&format!("{name}.admin")))?.parse()?;
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        while !is_ready(port).await {
            let service = self.services.iter_mut().find(|service| service.name == name);
            let ended = service.and_then(|service| service.child.try_wait().ok().flatten());
            if ended.is_some() || tokio::time::Instant::now() > deadline {
                bail!("{name} does not get ready:\n{}", self.log(name));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Where the bus is.
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// A client of the API, as the administrator.
    pub async fn client(&self) -> Result<kube::Client> {
        let file = Kubeconfig::read_from(self.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// What each process has used so far, nats-server first.
    pub fn usage(&self) -> Vec<Usage> {
        let nats = self.nats.pid().map(|pid| ("nats-server".to_owned(), pid));
        let services = self.services.iter().map(|service| (service.name.clone(), service.child.id()));
        let usage = |(name, pid)| Usage {
            name,
            resident: measure::resident(pid),
            processor: measure::processor_seconds(pid),
        };
        nats.into_iter().chain(services).map(usage).collect()
    }

    /// Ends a service for good.
    pub fn stop(&mut self, name: &str) {
        if let Some(index) = self.services.iter().position(|service| service.name == name) {
            self.services.remove(index).end();
        }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.services.drain(..).for_each(Service::end);
    }
}

impl Service {
    fn end(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `/readyz` on this port of loopback says 200.
async fn is_ready(port: u16) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer.ends_with(b" 200"))
    };
    ask.await.unwrap_or(false)
}
