//! A server and a store on it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use store::jetstream::{JetStream, JetStreamOptions};
use store::{Options, Store};
use testkit::nats::NatsServer;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Common;
use crate::measure::{disk, processor_seconds, resident};
use crate::objects::Objects;
use crate::report::Report;

/// What a load runs on.
pub struct Bench {
    server: Option<NatsServer>,
    url: String,
    checkpoints: bool,
    replicas: usize,
    store: Option<Store>,
    pub objects: Objects,
    size: u64,
}

/// The most that was seen of the server.
#[derive(Clone, Copy, Default)]
pub struct Peaks {
    pub memory: u64,
    pub disk: u64,
}

/// A task that looks at the server.
pub struct Watched {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<Peaks>,
}

/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(200);

impl Bench {
    /// Starts a server, unless there is one, and opens a store on it.
    pub async fn start(common: &Common, checkpoints: bool) -> Result<Self> {
        let server = match common.url {
            Some(_) => None,
            None => Some(NatsServer::start().context("cannot start a server of our own")?),
        };
        let url = match (&common.url, &server) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => server.url(),
            (None, None) => unreachable!("without an address a server was started"),
        };
        let objects = Objects::of_size(common.size);
        let size = objects.value(0).len() as u64;
        let mut bench =
            Bench { server, url, checkpoints, replicas: common.replicas, store: None, objects, size };
        bench.open().await?;
        Ok(bench)
    }

    /// Opens a store, after closing the one before.
    pub async fn open(&mut self) -> Result<()> {
        self.store = None;
        let client = async_nats::connect(&self.url).await.context("cannot connect")?;
        let log =
            JetStream::connect(client, JetStreamOptions { replicas: self.replicas, create: true }).await?;
        let options = Options { checkpoints: self.checkpoints, ..Options::default() };
        self.store = Some(Store::open(log, options).await?);
        Ok(())
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("a bench starts with a store")
    }

    /// Closes the store, kills the server, starts it again.
    pub async fn restart_server(&mut self) -> Result<()> {
        self.store = None;
        match &mut self.server {
            Some(server) => server.restart(),
            None => Ok(()),
        }
    }

    /// Bytes of all objects.
    pub fn live_bytes(&self) -> u64 {
        self.store().page("core/pods/", None, 0).remaining as u64 * self.size
    }

    /// Bytes that the server has on the disk.
    pub fn disk(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| disk(&server.data()))
    }

    /// Messages in the log so far.
    pub fn messages(&self) -> u64 {
        self.store().revision().sequence()
    }

    /// Seconds of processor time that the server and this process have used.
    pub fn processor_seconds(&self) -> (f64, f64) {
        let server = self.server.as_ref().and_then(NatsServer::pid).map_or(0.0, processor_seconds);
        (server, processor_seconds(std::process::id()))
    }

    pub fn add_memory(&self, report: &mut Report) {
        if let Some(pid) = self.server.as_ref().and_then(NatsServer::pid) {
            report.add_bytes("server_memory", resident(pid));
        }
        report.add_bytes("own_memory", resident(std::process::id()));
    }

    /// Watches the server's memory and disk.
    pub fn watch_server(&self) -> Watched {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let server: Option<(u32, PathBuf)> =
            self.server.as_ref().and_then(|server| Some((server.pid()?, server.data())));
        let task = tokio::spawn(async move {
            let mut peaks = Peaks::default();
            loop {
                if let Some((pid, data)) = server.clone() {
                    let look = move || (resident(pid), disk(&data));
                    let (memory, disk) = tokio::task::spawn_blocking(look).await.unwrap_or_default();
                    peaks = Peaks { memory: peaks.memory.max(memory), disk: peaks.disk.max(disk) };
                }
                tokio::select! {
                    () = sleep(LOOK) => {}
                    _ = &mut stopped => return peaks,
                }
            }
        });
        Watched { stop, task }
    }
}

impl Watched {
    /// Ends it and tells what it saw.
    pub async fn end(self) -> Peaks {
        let _ = self.stop.send(());
        self.task.await.unwrap_or_default()
    }
}
