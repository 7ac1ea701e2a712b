//! A real nats-server on a free port with its data in a temporary folder.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A nats-server of this test alone; it ends, and its data goes, when this is dropped.
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

/// Recovery of a large stream takes seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// As `sampan up` limits it.
const MEMORY: &str = "1GiB";

// === impl NatsServer ===

impl NatsServer {
    /// Starts one as `sampan up` configures it: JetStream with an fsync before each acknowledgement.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// Starts one with further lines of configuration.
    pub fn start_with(extra: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let port = crate::free_port().context("no free port")?;
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 8MB\nmax_pending: 64MB\n\
             jetstream {{ store_dir: {:?}, sync_interval: always }}\n{extra}\n",
            folder.path().join("data")
        );
        std::fs::write(folder.path().join("nats.conf"), config).context("cannot write the configuration")?;
        let mut server = NatsServer { folder, port, child: None };
        server.launch()?;
        Ok(server)
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where its data lie.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Ends it as a crash would: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.launch()
    }

    fn launch(&mut self) -> Result<()> {
        let log =
            std::fs::File::create(self.folder.path().join("nats.log")).context("cannot write its log")?;
        let child = Command::new("nats-server")
            .arg("-c")
            .arg(self.folder.path().join("nats.conf"))
            .env("GOMEMLIMIT", MEMORY)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log)
            .spawn()
            .context("cannot run nats-server: run `make setup`")?;
        self.child = Some(child);
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                bail!("nats-server does not listen: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("nats.log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
