//! A server of one test alone.

use std::path::Path;
use std::sync::Arc;

use apiserver::Config;
use apiserver::http::state::State;
use apiserver::registry::{Entropy, Registry};
use apiserver::service::{self, Front};
use clap::Parser;
use kinds::Table;
use kube::config::{KubeConfigOptions, Kubeconfig};
use runtime::{Readiness, Shutdown};
use schema::Schemas;
use store::memory::{Faults, MemoryLog};
use store::{HistoryBounds, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::raw::Raw;

/// A running server; it ends when this is dropped.
pub struct Server {
    /// The folder of its CA and kubeconfig.
    pub folder: TempDir,
    /// Where it listens.
    pub port: u16,
    /// What its connections share.
    pub state: Arc<State>,
    /// Its objects.
    pub store: Store,
    serving: Option<JoinHandle<()>>,
}

/// The token of the user `jane`, in the group `dev`.
pub const FIXED_TOKEN: &str = "a-fixed-token";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

// === impl Server ===

impl Server {
    /// Starts one that has its first objects.
    pub async fn start() -> Server {
        Server::start_on(MemoryLog::new(1, Faults::default())).await
    }

    /// Starts one on this log.
    pub async fn start_on(log: MemoryLog) -> Server {
        Server::start_with(log, HistoryBounds::default()).await
    }

    /// Starts one on this log that remembers this much.
    pub async fn start_with(log: MemoryLog, history: HistoryBounds) -> Server {
        let server = Server::start_closed(log, history).await;
        let registry =
            Registry::new(server.store.clone(), Table::builtin(), Schemas::builtin(), Entropy::from_seed(1));
        let file = server.folder.path().join("tokens.csv");
        std::fs::write(&file, format!("{FIXED_TOKEN},jane,7,dev\n")).unwrap();
        let config = config(server.folder.path(), &["--token-auth-file", &file.to_string_lossy()]);
        let tokens = service::prepare_tokens(&config).await.unwrap();
        server.state.open(Arc::new(registry.with_tokens(tokens)));
        let registry = server.state.registry().expect("it was just opened");
        service::first_objects(registry, server.port, None).await.expect("the first objects can be made");
        server
    }

    /// Starts one that is not ready: nothing was opened.
    pub async fn start_without_objects() -> Server {
        Server::start_closed(MemoryLog::new(1, Faults::default()), HistoryBounds::default()).await
    }

    async fn start_closed(log: MemoryLog, history: HistoryBounds) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        let front = Front::prepare(&config).await.unwrap();
        let port = front.address.port();
        let state = Arc::new(State::new(Readiness::new(), Shutdown::new(), None));
        let options = store::Options { history, ..store::Options::default() };
        let store = Store::open(log, options).await.unwrap();
        let serving = tokio::spawn(front.serve(Arc::clone(&state)));
        Server { folder, port, state, store, serving: Some(serving) }
    }

    /// The administrator's client.
    pub async fn client(&self) -> kube::Client {
        let kubeconfig = Kubeconfig::read_from(self.folder.path().join("admin.kubeconfig")).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// The administrator's requests as bytes, over HTTP/1.1.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.folder.path(), self.port, true, "http/1.1").await
    }

    /// Ends it as a signal would, and waits for the end.
    pub async fn end(&mut self) {
        self.state.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.shutdown.cancel();
    }
}

/// The command line of a server on a free port with its data in `folder`, and further arguments.
pub fn config(folder: &Path, more: &[&str]) -> Config {
    let folder_text = folder.to_string_lossy();
    let kubeconfig = folder.join("admin.kubeconfig");
    let kubeconfig = kubeconfig.to_string_lossy();
    let fixed =
        ["apiserver", "--bind", "127.0.0.1:0", "--data-dir", &*folder_text, "--kubeconfig", &*kubeconfig];
    Arguments::parse_from(fixed.iter().chain(more)).config
}
